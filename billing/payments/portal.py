"""Stripe's customer portal: cards, invoices, billing address, and cancelling. Its configuration is ours, found by a mark on it."""

from typing import Any

from django.conf import settings
from msgspec import Struct, field

from accounts.models import Workspace
from billing.payments import stripe_api
from billing.payments.customers import customer_for
from billing.payments.subscription_objects import PortalPage

_MARK = "lumyx_site"


class Configuration(Struct, frozen=True):
    """bpc_…"""

    id: str
    active: bool = True
    metadata: dict[str, str] = field(default_factory=dict)


def portal_url(workspace: Workspace, *, email: str, return_url: str) -> str:
    """Return a link into the portal, good for a few minutes. Raises PaymentsError."""
    params = {"customer": customer_for(workspace, email=email), "return_url": return_url}
    known = _configuration()
    if known is not None:
        params["configuration"] = known.id
    return stripe_api.send(PortalPage, stripe_api.client().v1.billing_portal.sessions.create, params=params).url


def sync_portal() -> tuple[str, bool]:
    """Make the portal's configuration at Stripe, or bring it up to date; return its id, and whether it is new."""
    configurations = stripe_api.client().v1.billing_portal.configurations
    known = _configuration()
    if known is not None:
        stripe_api.send(Configuration, configurations.update, known.id, params=_wanted())
        return known.id, False
    params = {**_wanted(), "metadata": {_MARK: settings.LUMYX_SITE_URL}}
    made = stripe_api.send(Configuration, configurations.create, params=params, key=f"portal:{settings.LUMYX_SITE_URL}")
    return made.id, True


def _configuration() -> Configuration | None:
    listed = stripe_api.listed(
        Configuration, stripe_api.client().v1.billing_portal.configurations.list, params={"active": True}
    )
    return next((each for each in listed if each.metadata.get(_MARK) == settings.LUMYX_SITE_URL), None)


def _wanted() -> dict[str, Any]:
    # Changes of the plan stay on our own page, which says what they cost and bring.
    return {
        "business_profile": {"headline": "LumyxAI"},
        "features": {
            "customer_update": {"enabled": True, "allowed_updates": ["email", "address", "tax_id"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
            "subscription_update": {"enabled": False},
        },
    }
