"""Low balances: told once a fall below each threshold, and again only after the balance rose above it."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from billing.models import Notice
from billing.selectors.low_balance import fallen_below
from billing.services import ledger, low_balance
from billing.tasks import alert_low_balances
from lumyx.lib.money import NANO_PER_USD, MoneyError
from tests.billing.builders import Account, admit_one, make_account, settle_one

pytestmark = pytest.mark.django_db


def spend(account: Account, nano: int) -> None:
    """Make a request that costs this much."""
    admission = account.request(nano)
    assert admit_one(admission).refusal is None
    settle_one(admission, nano)


def told(account: Account) -> list[tuple[int, int]]:
    """Return what was owed to a workspace, as (threshold, balance) in dollars rounded down, oldest first."""
    notices = Notice.objects.filter(workspace_id=account.id, kind="low_balance").order_by("pk")
    return [tuple(notice.facts[name] // NANO_PER_USD for name in ("threshold", "balance")) for notice in notices]


def dollars(amount: float) -> int:
    """Return nano-USD."""
    return int(amount * NANO_PER_USD)


def test_a_fall_is_told_once_below_each_threshold() -> None:
    account = make_account()
    account.fund(dollars(10))
    spend(account, dollars(4))
    assert alert_low_balances() == 0
    spend(account, dollars(2))
    assert [alert_low_balances(), alert_low_balances()] == [1, 0]
    spend(account, dollars(2))
    assert alert_low_balances() == 0
    spend(account, dollars(1.5))
    assert [alert_low_balances(), alert_low_balances()] == [1, 0]
    assert told(account) == [(5, 4), (1, 0)]


def test_exactly_at_the_threshold_is_not_below_it() -> None:
    account = make_account()
    account.fund(dollars(6))
    spend(account, dollars(1))
    assert alert_low_balances() == 0
    spend(account, 1)
    assert alert_low_balances() == 1


def test_a_fall_past_both_is_one_notice_about_the_lower() -> None:
    account = make_account()
    account.fund(dollars(10))
    spend(account, dollars(9.5))
    assert [alert_low_balances(), alert_low_balances()] == [1, 0]
    assert told(account) == [(1, 0)]


def test_a_rise_that_stays_below_the_threshold_tells_nothing_new() -> None:
    account = make_account()
    account.fund(dollars(10))
    spend(account, dollars(7))
    assert alert_low_balances() == 1
    account.fund(dollars(1))
    spend(account, dollars(0.5))
    assert alert_low_balances() == 0


def test_a_rise_above_and_another_fall_are_told_also_between_two_looks() -> None:
    account = make_account()
    account.fund(dollars(10))
    spend(account, dollars(9.5))
    assert alert_low_balances() == 1
    account.fund(dollars(10))
    spend(account, dollars(7))
    assert [alert_low_balances(), alert_low_balances()] == [1, 0]
    assert told(account) == [(1, 0), (5, 3)]


def test_a_balance_that_was_never_above_has_not_fallen() -> None:
    account = make_account()
    account.fund(dollars(3))
    spend(account, dollars(1))
    assert alert_low_balances() == 0
    spend(account, dollars(1.5))
    assert told(account) == []
    assert alert_low_balances() == 1
    assert told(account) == [(1, 0)]


def test_who_spent_nothing_is_told_nothing() -> None:
    empty, expired = make_account(), make_account()
    admit_one(empty.request(1))
    source = expired.fund(dollars(10), kind="promo", expires_in=3600)
    ledger.end_grants(workspace_id=expired.id, sources=[source])
    assert alert_low_balances() == 0


def test_credit_that_is_taken_back_tells_too_and_debt_is_not_mistaken_for_a_rise() -> None:
    account = make_account()
    source = account.fund(dollars(10))
    spend(account, dollars(3))
    ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1")
    assert [alert_low_balances(), alert_low_balances()] == [1, 0]
    assert told(account) == [(1, -3)]
    account.fund(dollars(3.5))
    assert alert_low_balances() == 0, "the debt is repaid, and nothing rose to a threshold"
    promo = account.fund(dollars(20), kind="promo", expires_in=3600)
    spend(account, dollars(1))
    ledger.end_grants(workspace_id=account.id, sources=[promo])
    assert alert_low_balances() == 1
    ledger.clawback(workspace_id=account.id, grant_source=promo, source="refund:2")
    assert alert_low_balances() == 0, "an expiry that is turned round in a clawback is no rise"


def test_the_thresholds_are_a_setting(settings: Settings) -> None:
    account = make_account()
    account.fund(dollars(30))
    spend(account, dollars(6))
    settings.LUMYX_LOW_BALANCE_USD = []
    assert alert_low_balances() == 0
    settings.LUMYX_LOW_BALANCE_USD = ["25.00"]
    assert alert_low_balances() == 1
    settings.LUMYX_LOW_BALANCE_USD = ["much"]
    with pytest.raises(MoneyError, match="much"):
        alert_low_balances()


def test_one_query_finds_them_however_many_wallets_there_are() -> None:
    for _ in range(3):
        account = make_account()
        account.fund(dollars(10))
        spend(account, dollars(1))
    with CaptureQueriesContext(connection) as queries:
        assert alert_low_balances() == 0
    assert len([query for query in queries if "billing_wallet" in query["sql"]]) == 1
    assert len(queries) <= 3  # it, and its savepoint


def test_two_looks_at_once_owe_one_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    account = make_account()
    account.fund(dollars(10))
    spend(account, dollars(5.5))
    seen = fallen_below(low_balance.thresholds())
    assert alert_low_balances() == 1
    spend(account, dollars(1))
    monkeypatch.setattr(low_balance, "fallen_below", lambda _thresholds: seen)
    assert alert_low_balances() == 0
    assert told(account) == [(5, 4)]


def test_another_workspace_is_not_told_of_it() -> None:
    poor, rich = make_account(), make_account()
    for account in (poor, rich):
        account.fund(dollars(10))
        spend(account, dollars(1))
    spend(poor, dollars(7))
    assert alert_low_balances() == 1
    assert (told(poor), told(rich)) == ([(5, 2)], [])


class Model:
    """A balance, and for each threshold whether it has been there since it was told of (it, or a lower one)."""

    def __init__(self) -> None:
        self.balance, self.spent = 0, False
        self.was_above = {1: False, 5: False}

    def move(self, amount: int) -> None:
        """Add an amount; negative: spend it."""
        self.balance += amount
        self.spent = self.spent or amount < 0
        for threshold in self.was_above:
            self.was_above[threshold] = self.was_above[threshold] or self.balance >= dollars(threshold)

    def look(self) -> int:
        """Return the threshold that is told of now, or 0."""
        for threshold in sorted(self.was_above):
            if self.spent and self.was_above[threshold] and self.balance < dollars(threshold):
                # What is told of a lower threshold tells of the higher ones as well.
                self.was_above = {other: was and other < threshold for other, was in self.was_above.items()}
                return threshold
        return 0


quarters = st.integers(1, 32).map(lambda number: number * NANO_PER_USD // 4)
steps = st.lists(st.one_of(quarters, quarters.map(lambda amount: -amount), st.none()), max_size=14)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_every_fall_is_told_once_whatever_the_balance_does(db: Any, steps: list[int | None]) -> None:
    with transaction.atomic():
        account, model, expected = make_account(), Model(), []
        for step in [*steps, None]:
            if step is None:
                alert_low_balances()
                threshold = model.look()
                expected += [threshold] if threshold else []
            elif step > 0:
                account.fund(step)
                model.move(step)
            elif model.balance >= -step:
                spend(account, -step)
                model.move(step)
            assert [threshold for threshold, _balance in told(account)] == expected
        transaction.set_rollback(True)
