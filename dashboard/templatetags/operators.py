"""The operators' overview, for the front page of the admin."""

from typing import Any

from django import template

from dashboard.operators import Overview, overview_for

register = template.Library()


@register.simple_tag(takes_context=True)
def operator_overview(context: dict[str, Any]) -> Overview | None:
    """Return what the signed-in operator may see of how the installation stands."""
    return overview_for(context["request"].user.has_perm)
