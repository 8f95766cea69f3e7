"""Forms that lead to Stripe's pages. The site's policy lets forms go nowhere else; pages with such a form widen it."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.csp import CSP
from django.views.decorators.csp import csp_override

from billing.payments.stripe_api import payments_are_on

#: Where people pay, and where they look after their card and plan.
STRIPE_PAGES = ("https://checkout.stripe.com", "https://billing.stripe.com")


def stripe_origins() -> list[str]:
    """Return the origins that forms may lead to: none while payments are off; a stand-in's is one of them."""
    if not payments_are_on():
        return []
    base = urlsplit(settings.STRIPE_API_BASE)
    return [*STRIPE_PAGES, *([f"{base.scheme}://{base.netloc}"] if base.netloc else [])]


def leads_to_stripe[**P](
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Let the forms of a view's page lead to Stripe: browsers ask the page's policy about redirects, too."""

    @wraps(view)
    def allowed(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        policy: dict[str, Any] = {**settings.SECURE_CSP, "form-action": [CSP.SELF, *stripe_origins()]}
        response: HttpResponseBase = csp_override(policy)(view)(request, *args, **kwargs)
        return response

    return allowed
