"""The catalog page. Filters are parameters of the address: they work without script, and htmx only swaps the list."""

from typing import cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe
from django_htmx.middleware import HtmxDetails

from accounts.selectors.policies import accepted_policies
from dashboard.catalog import SORTS, filters_from, listed_models, matching, tags_of
from dashboard.guards import MemberRequest, current_membership


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """Show the catalog, or only its list when htmx asks."""
    htmx = cast("HtmxDetails", request.htmx)  # type: ignore[attr-defined]  # set by the middleware
    listed = listed_models()
    filters = filters_from(request.GET)
    context = {
        "models": matching(listed, filters),
        "total": len(listed),
        "filters": filters,
        "tags": tags_of(listed),
        "sorts": SORTS.items(),
        "accepted": _accepted(request),
    }
    is_fragment = bool(htmx) and not htmx.boosted and not htmx.history_restore_request
    response = render(request, "site/models.html#list" if is_fragment else "site/models.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _accepted(request: HttpRequest) -> frozenset[str]:
    """Return the policies that the reader's workspace accepted; none for whoever is not signed in."""
    if not request.user.is_authenticated:
        return frozenset()
    membership = current_membership(cast("MemberRequest", request))
    return accepted_policies(membership.workspace_id) if membership else frozenset()
