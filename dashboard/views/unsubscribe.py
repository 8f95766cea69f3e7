"""The page behind "Stop these alerts" in an e-mail: it works without signing in, and can be undone where it was done."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from billing.services.mutes import is_muted, mute, unmute, wish_of


# Mail programs send the one-click POST of RFC 8058 without a cookie. The token in the address is the secret that a form's would be.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Show the button (GET: mail programs open links by themselves), mute (POST), or undo that (POST with ``undo``)."""
    wish = wish_of(token)
    if wish is None:
        return render(request, "site/unsubscribe_unknown.html", status=HTTPStatus.NOT_FOUND)
    if request.method == "POST":
        if request.POST.get("undo"):
            unmute(wish)
        else:
            mute(wish)
    return render(request, "site/unsubscribe.html", {"is_muted": is_muted(wish), "is_done": request.method == "POST"})
