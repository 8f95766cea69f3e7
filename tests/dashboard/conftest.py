"""A stand-in for Stripe for the pages that lead there."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from billing.payments import sync
from lumyx.celery import app
from rig.stripe.server import FakeStripe


@pytest.fixture
def stripe(settings: LazySettings) -> Iterator[FakeStripe]:
    """The stand-in, with the settings that lead there."""
    app.set_default()  # what is queued runs at once, as the test settings say
    with FakeStripe() as served:
        settings.STRIPE_SECRET_KEY = served.key
        settings.STRIPE_API_BASE = served.url
        yield served


@pytest.fixture
def plans_for_sale(stripe: FakeStripe) -> FakeStripe:
    """The stand-in, which knows what the tiers cost."""
    sync.sync()
    return stripe
