"""Fourteen months at Stripe: in any order, however often, half lost or all lost, its events make the same books."""

import random

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.payments import sync
from proofs.payment_stories import STEPS, Step, differences, play
from rig.stripe.server import FakeStripe
from tests.billing.builders import make_account

pytestmark = pytest.mark.django_db

steps = st.lists(
    st.builds(Step, days=st.sampled_from([0, 1, 3, 15, 31, 70]), what=st.sampled_from(STEPS), which=st.integers(0, 99)),
    min_size=2,
    max_size=12,
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=steps, day=st.integers(0, 30), tier=st.integers(0, 15), seed=st.integers(0, 2**32))
def test_in_any_order_and_whatever_is_lost_the_books_are_the_same(
    fake: FakeStripe, story: list[Step], day: int, tier: int, seed: int
) -> None:
    with transaction.atomic():
        fake.reset()
        sync.sync()
        account = make_account()
        play(fake, account.workspace, [Step(day, "buy", tier), Step(0, "subscribe", tier), *story])
        assert differences(fake, account.workspace, random.Random(seed)) == []
        transaction.set_rollback(True)


def test_books_that_differ_are_seen(fake: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    sync.sync()
    account = make_account()
    play(fake, account.workspace, [Step(0, "buy", 1), Step(0, "subscribe", 1)])
    monkeypatch.setattr("billing.payments.reconcile.compare_with_stripe", lambda since: [])
    found = differences(fake, account.workspace, random.Random(1))
    assert any(text.startswith("all lost: lines") for text in found)
