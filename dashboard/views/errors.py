"""Pages for what went wrong, and the way back for addresses with a slash too many."""

from http import HTTPStatus
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import requires_csrf_token

from dashboard.api.paths import API
from dashboard.api.plain import api_error
from gateway.errors import ApiError, internal_error

#: Read at the start and sent as it is: when this page is needed, templates and database may be what is broken.
SERVER_ERROR_PAGE = (Path(settings.BASE_DIR) / "templates" / "500.html").read_text()


def without_slash(request: HttpRequest, page: str) -> HttpResponse:
    """Send "/models/" to "/models"; anything that has no page without the slash either is a 404."""
    target = f"/{page}"
    try:
        if request.method not in {"GET", "HEAD"} or page.endswith("/"):
            raise Resolver404
        resolve(target)
    except Resolver404 as error:
        raise Http404 from error
    query = request.META.get("QUERY_STRING", "")
    return HttpResponsePermanentRedirect(f"{target}?{query}" if query else target)


@requires_csrf_token
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the 404 page; the exception's text is for the log, not for the visitor."""
    return render(request, "404.html", status=HTTPStatus.NOT_FOUND)


@requires_csrf_token
def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the 403 page. PermissionDenied("…") carries a sentence for the visitor: what is missing and who can give it."""
    return render(request, "403.html", {"reason": str(exception)}, status=HTTPStatus.FORBIDDEN)


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the 400 page, or the API's error; why is in the log only (a suspicious request gets no hints)."""
    if request.path.startswith(API):
        return api_error(ApiError(400, "invalid_parameter", "The request's headers or its address are not valid."))
    return render(request, "400.html", status=HTTPStatus.BAD_REQUEST)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Explain a form that came without its token: the page was open for long, or cookies are off."""
    return render(request, "403_csrf.html", status=HTTPStatus.FORBIDDEN)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the static 500 page; to programs, the API's error."""
    if request.path.startswith(API):
        return api_error(internal_error())
    return HttpResponse(SERVER_ERROR_PAGE, status=HTTPStatus.INTERNAL_SERVER_ERROR)
