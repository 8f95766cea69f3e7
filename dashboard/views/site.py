"""Landing, pricing, and the small files that browsers and crawlers ask for."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from billing.payments.checkout import LEAST, MOST
from billing.payments.stripe_api import payments_are_on
from billing.selectors.tiers import public_tiers
from dashboard.catalog import Filters, listed_models, matching, showcase
from dashboard.snippets import first_call
from dashboard.tiers import saving_of_tier

#: How many models the landing page shows.
STRIP_LENGTH = 6
DAY = 86_400


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """Show the promise, a call that works here, what is free, and what the catalog holds now."""
    listed = listed_models()
    tiers = list(public_tiers())
    strip = showcase(listed, length=STRIP_LENGTH)
    context = {
        # A call that works here: the catalog's first chat model, or the documentation's while there is none.
        "tabs": first_call(model=strip[0].public_id) if strip and strip[0].kind == "chat" else first_call(),
        "strip": strip,
        "total": len(listed),
        "free_tier": tiers[0] if tiers else None,
    }
    return render(request, "site/landing.html", context)


@require_safe
def pricing(request: HttpRequest) -> HttpResponse:
    """Show tiers and model prices, from the same rows that requests are billed by."""
    tiers = list(public_tiers())
    context = {
        "tiers": [(tier, saving_of_tier(tier)) for tier in tiers],
        "has_years": any(tier.yearly_price for tier in tiers),
        "payments_on": payments_are_on(),
        "buy_range": (LEAST, MOST),
        "free_tier": tiers[0] if tiers else None,
        "top_tier": tiers[-1] if tiers else None,
        "models": matching(listed_models(), Filters(sort="price")),
    }
    return render(request, "site/pricing.html", context)


@require_safe
@cache_control(public=True, max_age=DAY)
def robots(request: HttpRequest) -> HttpResponse:
    """Tell crawlers what is public."""
    lines = [
        "User-agent: *",
        f"Disallow: {reverse('admin:index')}",
        "Disallow: /accounts/",
        "Disallow: /dashboard",
        "Disallow: /api/",
        f"# For language models: {settings.LUMYX_SITE_URL}{reverse('site:llms')}",
    ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


@require_safe
@cache_control(public=True, max_age=DAY)
def webmanifest(request: HttpRequest) -> HttpResponse:
    """Describe the site to a phone's home screen."""
    manifest = {
        "name": "LumyxAI",
        "short_name": "LumyxAI",
        "description": "One endpoint, every model.",
        "start_url": reverse("site:landing"),
        "display": "browser",
        "background_color": "#fafafb",
        "theme_color": "#3547e5",
        "icons": [{"src": static("img/favicon.svg"), "type": "image/svg+xml", "sizes": "any"}],
    }
    return JsonResponse(manifest, content_type="application/manifest+json")


@require_safe
@cache_control(public=True, max_age=DAY)
def favicon(request: HttpRequest) -> HttpResponse:
    """Send the browsers that ask for this name to the icon that the pages name."""
    return HttpResponseRedirect(static("img/favicon.svg"))
