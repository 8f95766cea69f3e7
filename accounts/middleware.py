"""Lets the audit log know who acts in a request to the site, and from where; and keeps when a session was seen last."""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import cast

from allauth.core.internal.httpkit import clean_client_ip, get_client_ip
from allauth.usersessions.models import UserSession
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from accounts.models import ActorKind
from lumyx.lib.origin import Origin, acting_as

#: Seconds. A session that is in use is written down so often, and not at each of its requests.
SEEN_EVERY = 300

View = Callable[[HttpRequest], HttpResponse]
AsyncView = Callable[[HttpRequest], Awaitable[HttpResponse]]


@sync_and_async_middleware
def acting_person(get_response: View | AsyncView) -> View | AsyncView:
    """Make the signed-in person the origin of what a view does. Nothing is read unless something is written down."""
    if iscoroutinefunction(get_response):
        answer_later = cast("AsyncView", get_response)

        async def later(request: HttpRequest) -> HttpResponse:
            with acting_as(partial(origin_of, request)):
                return await answer_later(request)

        return later
    answer = cast("View", get_response)

    def now(request: HttpRequest) -> HttpResponse:
        with acting_as(partial(origin_of, request)):
            return answer(request)

    return now


def origin_of(request: HttpRequest) -> Origin:
    """Return who is behind a request: an operator in the admin, a person elsewhere; and their address behind trusted proxies."""
    user = getattr(request, "user", None)
    actor_id = user.pk if user is not None and user.is_authenticated else None
    if request.path.startswith("/webhooks/"):
        kind = ActorKind.SYSTEM
    else:
        kind = ActorKind.OPERATOR if request.path.startswith("/admin/") else ActorKind.USER
    return Origin(kind=kind.value, actor_id=actor_id, address=_address_of(request))


def _address_of(request: HttpRequest) -> str | None:
    found: str | None
    try:
        found = get_client_ip(request)
    except ImproperlyConfigured:  # it did not come through as many proxies as the settings say
        found = clean_client_ip(request.META.get("REMOTE_ADDR", ""))
    return found


@sync_and_async_middleware
def seen_sessions(get_response: View | AsyncView) -> View | AsyncView:
    """Keep when, and from where, each session was used last, for the list that its owner sees."""
    if iscoroutinefunction(get_response):
        answer_later = cast("AsyncView", get_response)

        async def later(request: HttpRequest) -> HttpResponse:
            if settings.SESSION_COOKIE_NAME in request.COOKIES:
                await sync_to_async(_mark_seen)(request)
            return await answer_later(request)

        return later
    answer = cast("View", get_response)

    def now(request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            _mark_seen(request)
        return answer(request)

    return now


def _mark_seen(request: HttpRequest) -> None:
    key = request.session.session_key
    if (
        not key
        or not cache.add(f"session-seen:{hashlib.sha256(key.encode()).hexdigest()}", 1, timeout=SEEN_EVERY)
        or not request.user.is_authenticated
    ):
        return
    with contextlib.suppress(ImproperlyConfigured, PermissionDenied):  # where a request came from cannot be told
        UserSession.objects.create_from_request(request)
