"""What holds for every page: nobody keeps a copy of what a signed-in person saw."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

View = Callable[[HttpRequest], HttpResponse]
AsyncView = Callable[[HttpRequest], Awaitable[HttpResponse]]


@sync_and_async_middleware
def private_pages(get_response: View | AsyncView) -> View | AsyncView:
    """Forbid every cache to store a page that was made for somebody with a session, unless the view said how to cache it.

    The back button of a shared computer would otherwise show addresses and balances after the person has signed out.
    """
    if iscoroutinefunction(get_response):
        answer_later = cast("AsyncView", get_response)

        async def later(request: HttpRequest) -> HttpResponse:
            return _marked(request, await answer_later(request))

        return later
    answer = cast("View", get_response)

    def now(request: HttpRequest) -> HttpResponse:
        return _marked(request, answer(request))

    return now


def _marked(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    if settings.SESSION_COOKIE_NAME in request.COOKIES and not response.has_header("Cache-Control"):
        response["Cache-Control"] = "no-store, private"
    return response
