"""Where forms may lead: Stripe's pages from the pages that have such a form, and nowhere else from any other."""

import pytest
from django.conf import LazySettings
from django.test import Client

from tests.factories import make_cast

pytestmark = pytest.mark.django_db

STRIPE = ["https://checkout.stripe.com", "https://billing.stripe.com"]
LEADING = ("/dashboard/credits", "/dashboard/credits/top-up", "/dashboard/plan")


@pytest.fixture
def alice(client: Client) -> Client:
    client.force_login(make_cast().alice)
    return client


def policy_of(client: Client, address: str) -> dict[str, list[str]]:
    """Return a page's policy by directive."""
    header = client.get(address)["Content-Security-Policy"]
    return {name: values for name, *values in (part.split() for part in header.split(";") if part.strip())}


@pytest.mark.parametrize("address", LEADING)
def test_forms_lead_to_stripe_where_money_is_spent(alice: Client, settings: LazySettings, address: str) -> None:
    plain = policy_of(alice, "/dashboard")
    settings.STRIPE_SECRET_KEY = "sk_test_x"
    settings.STRIPE_API_BASE = ""
    assert policy_of(alice, "/dashboard") == plain
    assert plain["form-action"] == ["'self'"]
    if address.endswith("top-up"):
        settings.STRIPE_API_BASE = "http://127.0.0.1:9"  # nobody is there to ask for the card
        assert policy_of(alice, address)["form-action"] == ["'self'", *STRIPE, "http://127.0.0.1:9"]
        return
    assert policy_of(alice, address) == {**plain, "form-action": ["'self'", *STRIPE]}
    settings.STRIPE_API_BASE = "http://127.0.0.1:12111/"
    assert policy_of(alice, address)["form-action"] == ["'self'", *STRIPE, "http://127.0.0.1:12111"]


def test_with_payments_off_no_form_leads_away(alice: Client) -> None:
    for address in LEADING:
        assert policy_of(alice, address)["form-action"] == ["'self'"]
