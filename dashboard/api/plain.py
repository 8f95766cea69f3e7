"""Answers of the API outside of its endpoints, in the same shape."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from gateway.errors import ApiError, not_found
from gateway.http import id_headers
from lumyx.lib.ids import uuid7


def api_error(error: ApiError) -> HttpResponse:
    """Return an error as a response."""
    request_id = uuid7().hex
    response = HttpResponse(error.body(request_id), status=error.status, content_type="application/json")
    for name, value in [*error.headers, *id_headers(request_id)]:
        response[name.decode()] = value.decode()
    response["Cache-Control"] = "no-store"
    return response


@csrf_exempt
def nothing(request: HttpRequest, rest: str) -> HttpResponse:
    """Answer an address below the management API's that is none of its."""
    return api_error(not_found(request.path))
