"""The end of a request: what is charged to which grant, what is released, and what a second time does."""

import datetime as dt
import uuid

import pytest
from django.db import transaction

from billing.selectors.ledger import balance_of, broken_invariants, entries_of, open_holds
from billing.services import ledger
from billing.types import Settled, Settlement
from lumyx.lib.ids import uuid7
from tests.billing.builders import Account, admit_one, make_account, overdue, run_sql, settle_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """A workspace with a key and nothing else."""
    return make_account()


def lines_of(account: Account) -> list[tuple[str, str, int]]:
    """Return (kind of entry, kind of grant, amount), oldest first."""
    return [(line.kind, line.grant_kind, line.amount) for line in reversed(entries_of(account.id, limit=100))]


def state_of(request_id: uuid.UUID) -> tuple[object, ...]:
    return run_sql("SELECT state, actual FROM billing_hold WHERE id = %s", request_id)[0]


def test_a_charge_below_the_hold_is_taken_and_the_rest_is_free_again(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    assert settle_one(request, 120) == Settled(request.request_id, charge=120, absorbed=0, applied=True)
    balance = balance_of(account.id)
    assert (balance.posted, balance.held, balance.available) == (880, 0, 880)
    assert state_of(request.request_id) == ("settled", 120)
    assert lines_of(account)[-1] == ("usage", "paid", -120)


def test_a_charge_is_never_above_the_hold(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    assert settle_one(request, 450) == Settled(request.request_id, charge=300, absorbed=150, applied=True)
    assert balance_of(account.id).posted == 700


def test_a_charge_of_zero_closes_the_hold_and_writes_no_entry(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    assert settle_one(request, 0) == Settled(request.request_id, charge=0, absorbed=0, applied=True)
    assert state_of(request.request_id) == ("settled", 0)
    assert len(lines_of(account)) == 1
    assert balance_of(account.id).available == 1000


def test_a_release_charges_nothing(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    assert settle_one(request, None) == Settled(request.request_id, charge=0, absorbed=0, applied=True)
    assert state_of(request.request_id) == ("released", None)
    assert balance_of(account.id).available == 1000


def test_what_expires_first_is_spent_first_and_paid_credit_last(account: Account) -> None:
    account.fund(100)
    account.fund(20, kind="promo")
    account.fund(30, kind="vip", expires_in=3600)
    account.fund(40, kind="promo", expires_in=60)
    request = account.request(190)
    admit_one(request)
    settle_one(request, 95)
    spent = [(kind, amount) for entry, kind, amount in lines_of(account) if entry == "usage"]
    assert spent == [("promo", -40), ("vip", -30), ("promo", -20), ("paid", -5)]
    assert balance_of(account.id).by_kind == {"paid": 95}


def test_a_batch_is_cut_over_grants_in_its_order(account: Account) -> None:
    account.fund(50, kind="vip", expires_in=3600)
    account.fund(100)
    requests = [account.request(40) for _ in range(3)]
    ledger.admit(requests)
    settled = ledger.settle([Settlement(request.request_id, 30) for request in requests])
    assert [answer.charge for answer in settled] == [30, 30, 30]
    refs = [(line.ref, line.grant_kind, line.amount) for line in reversed(entries_of(account.id, limit=9))][2:]
    first, second, third = (str(request.request_id) for request in requests)
    assert refs == [(first, "vip", -30), (second, "vip", -20), (second, "paid", -10), (third, "paid", -30)]


def test_settling_twice_charges_once_and_reports_the_first_charge(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    once, twice = ledger.settle([Settlement(request.request_id, 120), Settlement(request.request_id, 250)])
    thrice = settle_one(request, None)
    assert once.applied
    assert twice == thrice == Settled(request.request_id, charge=120, absorbed=0, applied=False)
    assert balance_of(account.id).posted == 880
    assert state_of(request.request_id) == ("settled", 120)


def test_a_released_hold_is_not_charged_afterwards(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    settle_one(request, None)
    assert settle_one(request, 100) == Settled(request.request_id, charge=0, absorbed=0, applied=False)
    assert balance_of(account.id).posted == 1000


def test_a_hold_that_never_was_changes_nothing(account: Account) -> None:
    unknown = uuid7()
    assert ledger.settle([Settlement(unknown, 100)]) == [Settled(unknown, charge=0, absorbed=0, applied=False)]


def test_answers_come_in_the_order_of_the_batch_over_many_wallets() -> None:
    accounts = [make_account() for _ in range(4)]
    for account in accounts:
        account.fund(1000)
    requests = [account.request(100) for _ in range(3) for account in accounts]
    ledger.admit(requests)
    settled = ledger.settle([Settlement(request.request_id, n) for n, request in enumerate(requests)])
    assert [(s.request_id, s.charge) for s in settled] == [(r.request_id, n) for n, r in enumerate(requests)]
    assert [balance_of(account.id).posted for account in accounts] == [988, 985, 982, 979]


def test_a_negative_amount_is_a_mistake_of_the_caller(account: Account) -> None:
    with pytest.raises(ValueError, match="below zero"):
        ledger.settle([Settlement(uuid7(), -1)])


def test_a_late_settlement_is_charged_and_may_become_debt(account: Account) -> None:
    account.fund(100)
    late, prompt = account.request(100), account.request(100)
    admit_one(late)
    overdue(late)
    ledger.expire_holds()
    admit_one(prompt)
    settle_one(prompt, 100)
    assert settle_one(late, 60) == Settled(late.request_id, charge=60, absorbed=0, applied=True)
    balance = balance_of(account.id)
    assert (balance.posted, balance.held, balance.available) == (-60, 0, -60)
    assert balance.by_kind == {"overdraft": -60}
    assert lines_of(account)[-1] == ("usage", "overdraft", -60)
    assert settle_one(late, 60).applied is False


def test_a_request_admitted_on_credit_that_expires_meanwhile_is_paid_with_it(account: Account) -> None:
    account.fund(100, kind="vip", expires_in=3600)
    request = account.request(80)
    admit_one(request)
    run_sql("UPDATE billing_creditgrant SET expires_at = now() - interval '1 second' WHERE kind = 'vip'")
    run_sql("UPDATE billing_wallet SET next_expiry = now() - interval '1 second'")
    assert ledger.sweep_grants() == 1
    assert (balance_of(account.id).posted, balance_of(account.id).available) == (80, 0)
    assert admit_one(account.request(1)).refusal is not None
    settle_one(request, 50)
    assert ledger.sweep_grants() == 1
    assert [amount for _entry, _kind, amount in lines_of(account)] == [100, -20, -50, -30]
    assert balance_of(account.id).posted == 0
    assert balance_of(account.id).next_expiry is None


def test_a_release_gives_the_daily_quota_back(account: Account) -> None:
    requests = [account.free_request(25) for _ in range(3)]
    ledger.admit(requests)
    ledger.settle([Settlement(requests[0].request_id, None), Settlement(requests[1].request_id, 0)])
    assert run_sql("SELECT used FROM billing_dailyquota") == [(2,)]
    assert settle_one(requests[0], None).applied is False
    assert run_sql("SELECT used FROM billing_dailyquota") == [(2,)]


def test_the_quota_goes_back_to_the_day_that_it_was_claimed_on(account: Account) -> None:
    request = account.free_request(25)
    admit_one(request)
    yesterday = dt.date(2024, 2, 29)
    run_sql("INSERT INTO billing_dailyquota VALUES (%s, %s, 5)", f"w:{account.id}", yesterday)
    run_sql("UPDATE billing_hold SET quota_day = %s", yesterday)
    settle_one(request, None)
    assert run_sql("SELECT used FROM billing_dailyquota ORDER BY day") == [(4,), (1,)]


def test_a_hold_expires_once_and_keeps_its_quota(account: Account) -> None:
    account.fund(1000)
    paid, free, fresh = account.request(300), account.free_request(25), account.request(100)
    ledger.admit([paid, free, fresh])
    assert ledger.expire_holds() == []
    overdue(paid, free)
    expired = {hold.request_id: hold for hold in ledger.expire_holds()}
    assert set(expired) == {paid.request_id, free.request_id}
    assert expired[free.request_id].is_free
    assert not expired[paid.request_id].is_free
    hold = expired[paid.request_id]
    assert (hold.workspace_id, hold.api_key_id, hold.model) == (account.id, account.api_key_id, "lumyx-plus_v1")
    assert hold.created_at.tzinfo is not None
    assert ledger.expire_holds() == []
    assert balance_of(account.id).held == 100
    assert run_sql("SELECT used FROM billing_dailyquota") == [(1,)]


def test_a_late_release_of_an_expired_hold_gives_the_quota_back(account: Account) -> None:
    request = account.free_request(25)
    admit_one(request)
    overdue(request)
    ledger.expire_holds()
    assert settle_one(request, None).applied
    assert run_sql("SELECT used FROM billing_dailyquota") == [(0,)]
    assert state_of(request.request_id) == ("released", None)


def test_expiry_takes_the_oldest_first_up_to_its_limit(account: Account) -> None:
    account.fund(1000)
    requests = [account.request(10) for _ in range(5)]
    ledger.admit(requests)
    for age, request in enumerate(reversed(requests)):
        run_sql(
            "UPDATE billing_hold SET expires_at = now() - make_interval(secs => %s) WHERE id = %s",
            age + 1,
            request.request_id,
        )
    assert {hold.request_id for hold in ledger.expire_holds(limit=2)} == {r.request_id for r in requests[:2]}
    assert balance_of(account.id).held == 30
    assert len(ledger.expire_holds()) == 3


def test_an_extended_hold_lives_on(account: Account) -> None:
    account.fund(1000)
    request, other = account.request(10), account.request(10)
    ledger.admit([request, other])
    overdue(request, other)
    ledger.extend_holds([request.request_id], ttl=60.0)
    assert [hold.request_id for hold in ledger.expire_holds()] == [other.request_id]
    ledger.extend_holds([other.request_id, uuid7()], ttl=60.0)
    assert state_of(other.request_id) == ("expired", None)


def test_an_extension_never_shortens(account: Account) -> None:
    account.fund(1000)
    request = account.request(10, ttl=600.0)
    admit_one(request)
    before = open_holds(account.id)[0].expires_at
    ledger.extend_holds([request.request_id], ttl=1.0)
    ledger.extend_holds([], ttl=1.0)
    assert open_holds(account.id)[0].expires_at == before


def test_a_settlement_that_is_rolled_back_leaves_nothing(account: Account) -> None:
    account.fund(1000)
    paid, free = account.request(300), account.free_request(25)
    ledger.admit([paid, free])
    with transaction.atomic():
        ledger.settle([Settlement(paid.request_id, 100), Settlement(free.request_id, None)])
        transaction.set_rollback(True)
    balance = balance_of(account.id)
    assert (balance.posted, balance.held) == (1000, 300)
    assert state_of(paid.request_id) == ("open", None)
    assert run_sql("SELECT used FROM billing_dailyquota") == [(1,)]
    assert broken_invariants() == []
    assert settle_one(paid, 100).applied
