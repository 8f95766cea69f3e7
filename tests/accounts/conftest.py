"""The fixed cast, and what the admin is shown with."""

import pytest
from django.test import Client

from accounts.models import Announcement
from accounts.services.apikeys import NewApiKey, create_api_key
from accounts.services.policies import accept_policy
from accounts.services.users import create_user
from billing.models import StripeEvent
from billing.payments.webhook import RefusedError, count_refusal
from billing.services.ledger import admit
from billing.services.notices import owe
from billing.services.tiers import set_limits, set_tier
from billing.types import Admission
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.accounts.admin_payments import add_payments
from tests.factories import PASSWORD, Cast, fund, make_cast


@pytest.fixture
def cast(db: None) -> Cast:
    """Return Alice, Bob, Charlie and their workspaces."""
    return make_cast()


@pytest.fixture
def key(cast: Cast) -> NewApiKey:
    """Return a key of Alice's workspace, made by Bob."""
    return create_api_key(workspace=cast.workspace, name="CI", created_by=cast.bob)


@pytest.fixture
def furnished(cast: Cast, key: NewApiKey) -> Cast:
    """Return the cast with at least one row behind every page of the admin."""
    fund(cast.workspace, "10")
    set_tier(cast.workspace.pk, tier_slug="vip1")
    set_limits(cast.workspace.pk, requests_per_minute=5)
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by="alice@example.com")
    owe("dispute_opened", workspace_id=cast.workspace.pk, key="dispute_opened:dp_1", facts={"amount": 10**10})
    from_stripe("1")
    add_payments(cast.workspace, "1")
    Announcement.objects.create(text="We are moving on Sunday.")
    admission = Admission(
        request_id=uuid7(),
        workspace_id=cast.workspace.pk,
        api_key_id=key.row.pk,
        model="sandbox/paid",
        amount=1_000_000_000,
        floor=1_000_000_000,
        ttl=600,
    )
    assert [admitted.refusal for admitted in admit([admission])] == [None]
    return cast


@pytest.fixture
def operator(db: None) -> Client:
    """Return a superuser's browser."""
    client = Client()
    client.force_login(create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True))
    return client


def from_stripe(number: str) -> None:
    """Add an event to the inbox, and a delivery that was turned away."""
    StripeEvent.objects.create(
        id=f"evt_{number}", type="customer.created", object_id="cus_1", payload={}, happened_at=clock.now()
    )
    count_refusal(RefusedError(f"forged {number}", "No."), sender="127.0.0.1", body=b"{}")
