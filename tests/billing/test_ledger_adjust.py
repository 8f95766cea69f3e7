"""Operators correct balances: once per source, with a reason, never below zero by accident, and every row stays."""

import datetime as dt
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Adjustment, CreditGrant
from billing.selectors.ledger import balance_of, broken_invariants, entries_of, verify_wallet
from billing.services import ledger
from billing.types import AdjustOutcome
from lumyx.lib.money import MAX_NANO
from tests.billing.builders import Account, admit_one, make_account, run_sql, settle_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """A workspace with a key and nothing else."""
    return make_account()


def adjust(account: Account, amount: int, **changes: Any) -> AdjustOutcome:
    """Adjust with a reason, by the workspace's owner."""
    given = {"reason": "Charged twice", "actor_id": account.workspace.owner_id, "source": "form:1", **changes}
    return ledger.adjust(workspace_id=account.id, amount=amount, **given)


def lines_of(account: Account) -> list[tuple[str, str, int, str]]:
    """Return (kind of entry, kind of grant, amount, reference), oldest first."""
    return [(line.kind, line.grant_kind, line.amount, line.ref) for line in reversed(entries_of(account.id, limit=99))]


def test_credit_that_is_given_can_be_spent_and_says_who_and_why(account: Account) -> None:
    assert adjust(account, 500, note="Sorry") == AdjustOutcome(applied=True)
    assert lines_of(account) == [("adjust", "paid", 500, "adjustment:form:1")]
    balance = balance_of(account.id)
    assert (balance.available, balance.by_kind, balance.next_expiry) == (500, {"paid": 500}, None)
    row = Adjustment.objects.get()
    assert (row.workspace_id, row.amount, row.reason, row.note) == (account.id, 500, "Charged twice", "Sorry")
    assert (row.actor, row.source) == (account.workspace.owner, "form:1")
    assert CreditGrant.objects.get(source="adjustment:form:1").note == "Sorry"
    assert run_sql("SELECT sum(amount) FROM billing_ledgerentry WHERE contra = 'adjustment'") == [(500,)]
    request = account.request(500)
    admit_one(request)
    assert settle_one(request, 500).charge == 500


def test_debt_is_repaid_first(account: Account) -> None:
    adjust(account, -300, may_owe=True)
    assert adjust(account, 500, source="form:2") == AdjustOutcome(applied=True, repaid=300)
    assert balance_of(account.id).by_kind == {"paid": 200}
    assert lines_of(account)[1:] == [
        ("adjust", "paid", 500, "adjustment:form:2"),
        ("debt_repay", "paid", -300, "adjustment:form:2"),
        ("debt_repay", "overdraft", 300, "adjustment:form:2"),
    ]


def test_credit_is_taken_in_the_order_in_which_it_is_spent(account: Account) -> None:
    account.fund(100, kind="paid")
    account.fund(40, kind="vip", expires_in=3600)
    account.fund(30, kind="promo", expires_in=7200)
    assert adjust(account, -90) == AdjustOutcome(applied=True, taken=90)
    assert lines_of(account)[3:] == [
        ("adjust", "vip", -40, "adjustment:form:1"),
        ("adjust", "promo", -30, "adjustment:form:1"),
        ("adjust", "paid", -20, "adjustment:form:1"),
    ]
    balance = balance_of(account.id)
    assert (balance.by_kind, balance.next_expiry) == ({"paid": 80}, None)
    assert run_sql("SELECT next_expiry FROM billing_wallet WHERE workspace_id = %s", account.id) == [(None,)]


@pytest.mark.parametrize("held", [0, 60])
def test_more_than_is_free_is_refused_and_nothing_is_left_of_it(account: Account, held: int) -> None:
    account.fund(100)
    if held:
        admit_one(account.request(held))
    with pytest.raises(ledger.InsufficientCreditError, match=r"Only \$0\.0+.* can be taken"):
        adjust(account, -(101 - held))
    assert not Adjustment.objects.exists()
    assert len(lines_of(account)) == 1
    assert adjust(account, -(100 - held)).taken == 100 - held
    assert balance_of(account.id).available == 0


def test_what_open_holds_were_promised_is_taken_only_where_a_debt_is_allowed(account: Account) -> None:
    account.fund(100)
    request = account.request(60)
    admit_one(request)
    assert adjust(account, -130, may_owe=True) == AdjustOutcome(applied=True, taken=100, owed=30)
    assert balance_of(account.id).by_kind == {"overdraft": -30}
    assert settle_one(request, 60).charge == 60
    assert balance_of(account.id).available == -90


def test_credit_that_has_expired_is_not_there_to_be_taken(account: Account) -> None:
    account.fund(100, kind="promo", expires_in=-1)
    account.fund(50)
    with pytest.raises(ledger.InsufficientCreditError):
        adjust(account, -51)
    assert adjust(account, -50).taken == 50
    assert [line[:3] for line in lines_of(account)[2:]] == [("expire", "promo", -100), ("adjust", "paid", -50)]


@pytest.mark.parametrize("amount", [500, -50])
def test_the_same_source_adjusts_once(account: Account, amount: int) -> None:
    account.fund(60)
    assert adjust(account, amount).applied is True
    assert adjust(account, amount, reason="Another").applied is False
    assert balance_of(account.id).posted == 60 + amount
    with pytest.raises(ledger.SourceConflictError, match="form:1"):
        adjust(account, amount + 1)
    with pytest.raises(ledger.SourceConflictError, match="form:1"):
        adjust(make_account(), amount)
    assert Adjustment.objects.count() == 1


def test_the_source_of_a_grant_is_no_way_in(account: Account) -> None:
    account.fund(5, source="adjustment:form:1")
    with pytest.raises(ledger.SourceConflictError, match="source of a grant"):
        adjust(account, 5)
    assert (balance_of(account.id).posted, Adjustment.objects.count()) == (5, 0)


@pytest.mark.parametrize(
    ("amount", "changes", "message"),
    [
        (0, {}, "not zero"),
        (MAX_NANO + 1, {}, "fits the books"),
        (-MAX_NANO - 1, {"may_owe": True}, "fits the books"),
        (5, {"reason": " "}, "needs a reason"),
        (5, {"source": ""}, "needs a reason, and a source"),
        (5, {"source": "x" * 181}, "at most 180"),
        (5, {"reason": "x" * 501}, "note 500"),
        (MAX_NANO, {}, "The balance would be more"),
        (-MAX_NANO, {"may_owe": True}, "The debt would be more"),
    ],
)
def test_what_the_books_cannot_hold_is_refused(
    account: Account, amount: int, changes: dict[str, Any], message: str
) -> None:
    adjust(account, 10 if amount > 0 else -10, source="before", may_owe=True)
    with pytest.raises(ValueError, match=message):
        adjust(account, amount, **changes)
    assert Adjustment.objects.count() == 1


def test_a_workspace_that_is_not_there_is_refused(account: Account) -> None:
    with pytest.raises(ledger.UnknownWorkspaceError):
        ledger.adjust(workspace_id=2**40, amount=5, reason="x", actor_id=None, source="x")


@pytest.mark.parametrize(
    "statement", ["UPDATE billing_adjustment SET amount = 1", "DELETE FROM billing_adjustment WHERE true"]
)
def test_adjustments_are_append_only(account: Account, statement: str) -> None:
    adjust(account, 5)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run_sql(statement)


@pytest.mark.breaks_the_books
@pytest.mark.parametrize(
    "corruption",
    [
        "ALTER TABLE billing_adjustment DISABLE TRIGGER USER; UPDATE billing_adjustment SET amount = 6",
        "ALTER TABLE billing_adjustment DISABLE TRIGGER USER; DELETE FROM billing_adjustment",
        "INSERT INTO billing_adjustment (workspace_id, amount, reason, note, source)"
        " SELECT workspace_id, 7, 'x', '', 'x' FROM billing_wallet",
    ],
)
def test_an_adjustment_that_is_not_its_entries_is_shown(account: Account, corruption: str) -> None:
    adjust(account, 5)
    run_sql("SET CONSTRAINTS ALL IMMEDIATE")
    run_sql(corruption)
    assert {row["invariant"] for row in broken_invariants()} == {"adjustment_is_its_entries"}
    assert verify_wallet(account.id)[1] == broken_invariants()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    grants=st.lists(st.tuples(st.sampled_from(["vip", "promo", "paid"]), st.integers(1, 50)), max_size=5),
    held=st.integers(0, 40),
    steps=st.lists(st.tuples(st.integers(-80, 80).filter(bool), st.booleans()), min_size=1, max_size=6),
)
def test_adjustments_and_their_entries_always_say_the_same(
    grants: list[tuple[str, int]], held: int, steps: list[tuple[int, bool]]
) -> None:
    with transaction.atomic():
        account = make_account()
        for kind, amount in grants:
            account.fund(amount, kind=kind, expires_in=None if kind == "paid" else 3600.0)
        admit_one(account.request(held, floor=0))
        expected = balance_of(account.id).posted
        for number, (amount, may_owe) in enumerate(steps):
            free = balance_of(account.id).available
            try:
                outcome = adjust(account, amount, source=f"step:{number}", may_owe=may_owe)
            except ledger.InsufficientCreditError:
                assert not may_owe
                assert -amount > free
            else:
                assert may_owe or amount > 0 or -amount <= free
                assert amount > 0 or outcome.taken + outcome.owed == -amount
                expected += amount
            assert balance_of(account.id).posted == expected
            assert broken_invariants() == []
        transaction.set_rollback(True)


def test_a_promised_part_of_expired_credit_stays_with_its_holds(account: Account) -> None:
    account.fund(100, kind="promo", expires_in=3600)
    request = account.request(70)
    admit_one(request)
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    run_sql("UPDATE billing_creditgrant SET expires_at = %s WHERE kind = 'promo'", past)
    run_sql("UPDATE billing_wallet SET next_expiry = %s WHERE workspace_id = %s", past, account.id)
    with pytest.raises(ledger.InsufficientCreditError):
        adjust(account, -1)
    assert settle_one(request, 70).charge == 70
    assert balance_of(account.id).available == 0
