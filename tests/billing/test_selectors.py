"""What pages and commands read of the books."""

import itertools

import pytest

from billing.selectors.ledger import Balance, balance_of, entries_of, open_holds
from billing.services import ledger
from tests.billing.builders import Account, admit_one, make_account, settle_one

pytestmark = pytest.mark.django_db


def spend(account: Account, amount: int) -> None:
    request = account.request(amount)
    admit_one(request)
    settle_one(request, amount)


def test_a_workspace_without_a_wallet_reads_as_zero() -> None:
    account = make_account()
    assert balance_of(account.id) == Balance(0, 0, 0, {}, None, frozen=False)
    assert entries_of(account.id, limit=5) == []
    assert open_holds(account.id) == []


def test_entries_come_newest_first_with_the_balance_after_each() -> None:
    account, other = make_account(), make_account()
    account.fund(1000)
    other.fund(777)
    spend(account, 10)
    account.fund(500, kind="promo")
    spend(account, 20)
    lines = entries_of(account.id, limit=10)
    assert [(line.kind, line.amount, line.balance) for line in lines] == [
        ("usage", -20, 1470),
        ("grant", 500, 1490),
        ("usage", -10, 990),
        ("grant", 1000, 1000),
    ]
    assert [line.grant_kind for line in lines] == ["promo", "promo", "paid", "paid"]


def test_pages_of_entries_join_without_a_gap() -> None:
    account = make_account()
    account.fund(1000)
    for amount in range(1, 8):
        spend(account, amount)
    whole = entries_of(account.id, limit=100)
    pages, before = [], None
    while page := entries_of(account.id, limit=3, before=before):
        pages += page
        before = page[-1].id
    assert pages == whole
    assert whole[0].balance == balance_of(account.id).posted
    for newer, older in itertools.pairwise(whole):
        assert newer.balance - newer.amount == older.balance


def test_a_workspace_sees_its_own_holds_only() -> None:
    account, other = make_account(), make_account()
    account.fund(100)
    mine = account.request(10)
    admit_one(mine)
    admit_one(other.free_request(25))
    assert [hold.id for hold in open_holds(account.id)] == [mine.request_id]
    assert len(open_holds()) == 2
    hold = open_holds(account.id)[0]
    assert hold.workspace_slug == account.workspace.slug
    assert 0 <= hold.age < 60
    assert 540 < hold.ttl <= 600


def test_a_balance_is_told_by_kind_and_debt_is_below_zero() -> None:
    account = make_account()
    refunded = account.fund(100)
    spend(account, 100)
    account.fund(30, kind="promo", expires_in=3600)
    account.fund(20, kind="promo")
    ledger.clawback(workspace_id=account.id, grant_source=refunded, source="refund:1")
    balance = balance_of(account.id)
    assert balance.by_kind == {"promo": 50, "overdraft": -100}
    assert (balance.posted, balance.available) == (-50, -50)
    assert balance.next_expiry is not None
