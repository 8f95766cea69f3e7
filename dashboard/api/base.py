"""What every endpoint of the management API does before and after its own work.

In this order: the key, its pace, the body's size, the right to do this; then the endpoint; then the headers. Changes are one
transaction with their audit lines, done as the key (``acting_as``). Fails closed, in the data plane's error shape.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.middleware import origin_of
from accounts.roles import Permission
from accounts.selectors.management_keys import Bearer
from accounts.services.idempotency import IdempotencyKeyBusyError, IdempotencyKeyReusedError, answer_once
from dashboard.api import bearer as bearers
from dashboard.api import pace
from dashboard.api.cursors import page
from dashboard.api.fields import StrictSerializer
from dashboard.api.problems import error_of, invalid
from gateway.errors import ApiError, Header, retry_after
from gateway.http import id_headers
from gateway.protocols.jsoncheck import InvalidJsonError, check_json
from lumyx.lib.ids import uuid7
from lumyx.lib.origin import Origin, acting_as

#: Bytes of a body.
BODY_LIMIT = 1024 * 1024
IDEMPOTENCY_KEY_MAX = 255
METHODS = ("get", "head", "post", "patch", "delete")

type Answer = tuple[int, Mapping[str, Any]]


class StrictJSONParser(BaseParser):
    """Reads a JSON object, checked as the data plane checks bodies."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the object. Raises ApiError 400."""
        body = stream.read()
        try:
            check_json(body)
            data = msgspec.json.decode(body)
        except (InvalidJsonError, msgspec.DecodeError) as error:
            raise ApiError(400, "invalid_json", f"The body is not valid JSON: {error}") from error
        if not isinstance(data, dict):
            raise ApiError(400, "invalid_json", "The body must be a JSON object.")
        return data


class OnlyJSON(BaseContentNegotiation):
    """Answers JSON, whatever is accepted."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the parser for JSON, None for another type."""
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the one renderer."""
        return renderers[0], renderers[0].media_type


class ManagementView(APIView):
    """An endpoint. ``needs`` says which permission each of its methods takes."""

    http_method_names = list(METHODS)  # noqa: RUF012  the base class's is an instance's
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = (StrictJSONParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = OnlyJSON
    needs: ClassVar[Mapping[str, Permission]] = {}

    bearer: Bearer
    _bearer: Bearer | None = None
    _pace: pace.Pace | None = None
    _request_id = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Serve a request as its key."""
        self._request_id = uuid7().hex

        def origin() -> Origin:
            address = origin_of(request).address
            return Origin(kind="key", actor_id=self._bearer.key.pk if self._bearer else None, address=address)

        with acting_as(origin):
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let the request in, or raise ApiError."""
        super().initial(request, *args, **kwargs)
        django_request: HttpRequest = request._request
        self._bearer = self.bearer = bearers.authenticate(django_request)
        self._pace = pace.take(self.bearer.key.pk)
        pace.check(self._pace)
        if int(django_request.META.get("CONTENT_LENGTH") or 0) > BODY_LIMIT:
            raise ApiError(413, "body_too_large", f"The body is larger than the limit of {BODY_LIMIT} bytes.")
        method = request.method or ""
        permission = self.needs.get("GET" if method == "HEAD" else method)
        if permission is not None:
            bearers.check_right(self.bearer, method=method, permission=permission)

    def handle_exception(self, exc: Exception) -> Response:
        """Return the answer to what was raised."""
        error = error_of(exc, request_id=self._request_id, allowed=self.allowed_methods)
        response = HttpResponse(error.body(self._request_id), status=error.status, content_type="application/json")
        _add(response, error.headers)
        return response  # type: ignore[return-value]  # rendered already; the framework takes any response

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Response:
        """Add what every answer says."""
        finished: Response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[arg-type]
        _add(finished, id_headers(self._request_id))
        if self._pace is not None:
            _add(finished, self._pace.headers)
        finished["Cache-Control"] = "no-store, private"
        finished["Vary"] = "Authorization"
        return finished

    @property
    def workspace_id(self) -> int:
        """The workspace that the key manages: the only one that a request can be about."""
        return self.bearer.key.workspace_id

    def query(self, serializer: type[StrictSerializer]) -> dict[str, Any]:
        """Return the checked query parameters. Raises ApiError, ValidationError."""
        given = self.request.query_params
        twice = [name for name in given if len(given.getlist(name)) > 1]
        if twice:
            raise invalid(f"`{twice[0][:100]}` is there {len(given.getlist(twice[0]))} times. Send it once.")
        return _checked(serializer, given.dict())

    def body(self, serializer: type[StrictSerializer], *, partial: bool = False) -> dict[str, Any]:
        """Return the checked body. Raises ApiError, ValidationError."""
        return _checked(serializer, self.request.data, partial=partial)

    def change(self, act: Callable[[], Answer]) -> Response:
        """Answer with what ``act`` returns; it runs in one transaction."""
        with transaction.atomic():
            status, body = act()
        return Response(None if status == 204 else body, status=status)

    def change_once(self, act: Callable[[], Answer]) -> Response:
        """Answer as ``change`` does, at most once for an Idempotency-Key. Raises ApiError 400, 409, 422."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            return self.change(act)
        if not 1 <= len(key) <= IDEMPOTENCY_KEY_MAX or not key.isascii() or not key.isprintable():
            raise invalid(f"`Idempotency-Key`: Send 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters.")
        try:
            (status, body), is_repeated = answer_once(
                management_key_id=self.bearer.key.pk, key=key, fingerprint=self._fingerprint(), act=act
            )
        except IdempotencyKeyReusedError as error:
            raise ApiError(
                422,
                "idempotency_key_reused",
                "This Idempotency-Key came with another request within the last 24 hours. Use a new one for a new request.",
            ) from error
        except IdempotencyKeyBusyError as error:
            raise ApiError(
                409,
                "idempotency_key_busy",
                "The first request with this Idempotency-Key is still running. Send the same again in a moment.",
                headers=[retry_after(2)],
            ) from error
        response = Response(body, status=status)
        if is_repeated:
            response["Idempotent-Replayed"] = "true"
        return response

    def _fingerprint(self) -> bytes:
        # The same body with other blanks or another order of fields is the same request.
        body = json.dumps(self.request.data, sort_keys=True)
        return hashlib.sha256(f"{self.request.method} {self.request.path}\n{body}".encode()).digest()

    def listed(
        self,
        rows: Any,
        *,
        limit: int,
        kind: str,
        place: Callable[[Any], Any],
        show: Callable[[list[Any]], list[dict[str, Any]]],
    ) -> Response:
        """Answer a page of ``rows``, of which one more than ``limit`` was asked for."""
        found = page(rows, limit=limit, kind=kind, place=place)
        return Response({"data": show(found.pop("rows")), **found})


def _checked(serializer: type[StrictSerializer], data: Any, *, partial: bool = False) -> dict[str, Any]:
    bound = serializer(data=data, partial=partial)
    bound.is_valid(raise_exception=True)
    return dict(bound.validated_data)


def _add(response: HttpResponseBase, headers: list[Header]) -> None:
    for name, value in headers:
        response[name.decode()] = value.decode()
