"""Admission: who is let in, on what, and why not."""

import datetime as dt
from collections.abc import Callable
from copy import replace

import pytest
from django.db import transaction

from accounts.models import ApiKey, Membership, User, Workspace
from accounts.services.apikeys import create_api_key
from billing.selectors.ledger import balance_of, broken_invariants, entries_of, open_holds
from billing.services import ledger
from billing.types import Refusal
from lumyx.lib.ids import uuid7
from tests import factories
from tests.billing.builders import Account, admit_one, database_now, make_account, run_sql, settle_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """A workspace with a key and nothing else."""
    return make_account()


def used_of(account: Account) -> object:
    rows = run_sql("SELECT used FROM billing_dailyquota WHERE subject = %s", f"w:{account.id}")
    return rows[0][0] if rows else None


def test_a_hold_is_set_aside(account: Account) -> None:
    account.fund(1000)
    answer = admit_one(account.request(300))
    assert (answer.refusal, answer.held, answer.available, answer.quota_remaining) == (None, 300, 1000, None)
    balance = balance_of(account.id)
    assert (balance.posted, balance.held, balance.available) == (1000, 300, 700)


def test_the_hold_knows_its_request_and_when_it_expires(account: Account) -> None:
    account.fund(1000)
    request = account.request(300, ttl=42.5)
    answer = admit_one(request)
    hold = open_holds(account.id)[0]
    assert (hold.id, hold.amount, hold.model) == (request.request_id, 300, "lumyx-plus_v1")
    assert hold.created_at == answer.at
    assert hold.expires_at - hold.created_at == dt.timedelta(seconds=42.5)


def test_a_workspace_without_a_wallet_gets_one_and_has_nothing_to_spend(account: Account) -> None:
    answer = admit_one(account.request(1))
    assert (answer.refusal, answer.held, answer.available) == (Refusal.INSUFFICIENT_CREDITS, 0, 0)
    assert run_sql("SELECT posted, held FROM billing_wallet WHERE workspace_id = %s", account.id) == [(0, 0)]


def test_no_admissions_need_no_database(django_assert_num_queries: object) -> None:
    assert ledger.admit([]) == []


def test_a_request_above_the_balance_is_refused_and_names_what_there_is(account: Account) -> None:
    account.fund(1000)
    answer = admit_one(account.request(1001))
    assert (answer.refusal, answer.held, answer.available) == (Refusal.INSUFFICIENT_CREDITS, 0, 1000)
    assert balance_of(account.id).held == 0


def test_the_last_nano_dollar_can_be_held(account: Account) -> None:
    account.fund(1000)
    assert admit_one(account.request(1000)).refusal is None
    assert admit_one(account.request(1)).refusal == Refusal.INSUFFICIENT_CREDITS


def test_a_flexible_request_takes_what_there_is_down_to_its_floor(account: Account) -> None:
    account.fund(100)
    assert admit_one(account.request(500, floor=101)).refusal == Refusal.INSUFFICIENT_CREDITS
    assert admit_one(account.request(60, floor=10)).held == 60
    assert admit_one(account.request(500, floor=10)).held == 40
    assert balance_of(account.id).available == 0


def test_a_batch_shares_one_balance_and_answers_in_order(account: Account) -> None:
    account.fund(700)
    batch = [account.request(100) for _ in range(10)]
    answers = ledger.admit(batch)
    assert [answer.request_id for answer in answers] == [request.request_id for request in batch]
    assert [answer.refusal for answer in answers] == [None] * 7 + [Refusal.INSUFFICIENT_CREDITS] * 3
    assert [answer.available for answer in answers] == [700, 600, 500, 400, 300, 200, 100, 0, 0, 0]


def test_a_big_request_that_is_refused_does_not_refuse_a_small_one_beside_it(account: Account) -> None:
    account.fund(100)
    answers = ledger.admit([account.request(60), account.request(1000), account.request(40), account.request(1)])
    assert [answer.held for answer in answers] == [60, 0, 40, 0]


def test_workspaces_in_one_batch_do_not_touch_each_other(account: Account) -> None:
    other = make_account()
    account.fund(100)
    other.fund(50)
    answers = ledger.admit([account.request(100), other.request(60), other.request(50), account.request(1)])
    assert [answer.held for answer in answers] == [100, 0, 50, 0]


def test_the_same_request_twice_holds_once(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    first, second = ledger.admit([request, request])
    third = admit_one(request)
    assert (first.held, second.held, third.held) == (300, 300, 300)
    assert first.refusal is second.refusal is third.refusal is None
    assert balance_of(account.id).held == 300


def test_a_request_that_was_settled_is_not_admitted_again(account: Account) -> None:
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    settle_one(request, 200)
    assert admit_one(request).held == 300
    assert balance_of(account.id).held == 0


def test_a_free_request_repeated_claims_its_quota_once(account: Account) -> None:
    request = account.free_request(25)
    first, second = ledger.admit([request, request])
    third = admit_one(request)
    assert [first.quota_remaining, second.quota_remaining, third.quota_remaining] == [24, 24, 24]
    assert used_of(account) == 1


@pytest.mark.parametrize("free", [False, True])
def test_a_revoked_key_is_refused(account: Account, free: bool) -> None:
    account.fund(1000)
    ApiKey.objects.filter(pk=account.api_key_id).update(revoked_at=database_now())
    request = account.free_request(25) if free else account.request(1)
    assert admit_one(request).refusal == Refusal.KEY_REVOKED
    assert used_of(account) is None


def test_a_key_that_is_gone_or_belongs_to_another_workspace_is_refused_as_revoked(account: Account) -> None:
    other = make_account()
    account.fund(1000)
    stolen = replace(account.request(1), api_key_id=other.api_key_id)
    assert admit_one(stolen).refusal == Refusal.KEY_REVOKED
    ApiKey.objects.filter(pk=account.api_key_id).delete()
    assert admit_one(account.request(1)).refusal == Refusal.KEY_REVOKED


def test_a_workspace_that_is_not_there_is_refused_as_revoked(account: Account) -> None:
    nowhere = replace(account.request(1), workspace_id=10**12)
    answer = admit_one(nowhere)
    assert answer.refusal == Refusal.KEY_REVOKED
    assert run_sql("SELECT FROM billing_wallet WHERE workspace_id = %s", 10**12) == []


def test_a_key_expires_by_the_clock_of_the_database(account: Account) -> None:
    account.fund(1000)
    key = ApiKey.objects.filter(pk=account.api_key_id)
    key.update(expires_at=database_now() + dt.timedelta(minutes=1))
    assert admit_one(account.request(1)).refusal is None
    key.update(expires_at=database_now() - dt.timedelta(milliseconds=1))
    assert admit_one(account.request(1)).refusal == Refusal.KEY_EXPIRED


def test_a_suspended_workspace_is_refused(account: Account) -> None:
    account.fund(1000)
    Workspace.objects.filter(pk=account.id).update(suspended_at=database_now())
    assert admit_one(account.request(1)).refusal == Refusal.WORKSPACE_SUSPENDED
    assert admit_one(account.free_request(25)).refusal == Refusal.WORKSPACE_SUSPENDED


def test_a_frozen_wallet_holds_nothing_but_lets_free_requests_pass(account: Account) -> None:
    account.fund(1000)
    ledger.set_frozen(workspace_id=account.id, frozen=True)
    assert admit_one(account.request(1)).refusal == Refusal.WALLET_FROZEN
    assert admit_one(account.free_request(25)).refusal is None
    ledger.set_frozen(workspace_id=account.id, frozen=False)
    assert admit_one(account.request(1)).refusal is None


def test_the_first_reason_that_applies_is_given() -> None:
    """Everything is wrong at once, and is put right one by one."""
    workspace = factories.make_workspace()
    made = create_api_key(workspace=workspace, name="k", created_by=workspace.owner)
    account = Account(workspace, made.row.pk)
    admit_one(account.free_request(1))
    request = replace(account.free_request(1), amount=500, floor=500, key_version=9)
    key, owner = ApiKey.objects.filter(pk=made.row.pk), Membership.objects.filter(user=workspace.owner)
    wrong: list[Callable[[], object]] = [
        lambda: set_active(workspace.owner, is_active=True),
        lambda: key.update(revoked_at=None),
        lambda: key.update(expires_at=None),
        lambda: key.update(disabled_at=None),
        lambda: None,
        lambda: Workspace.objects.filter(pk=account.id).update(suspended_at=None),
        lambda: None,
        lambda: ledger.set_frozen(workspace_id=account.id, frozen=False),
        lambda: account.fund(1000),
        lambda: key.update(budget_nano=None, budget_period=""),
        lambda: None,
    ]
    now = database_now()
    key.update(revoked_at=now, expires_at=now, disabled_at=now, budget_nano=90, budget_period="day")
    owner.update(budget_nano=100, budget_period="total")
    set_active(workspace.owner, is_active=False)
    ledger.set_frozen(workspace_id=account.id, frozen=True)
    Workspace.objects.filter(pk=account.id).update(suspended_at=now)
    seen = []
    for put_right in wrong:
        seen.append(admit_one(request).refusal)
        put_right()
        if seen[-1] == Refusal.KEY_CHANGED:
            request = replace(request, key_version=0)
        if seen[-1] == Refusal.QUOTA_EXCEEDED:
            request = replace(request, quota=replace(request.quota, limit=9))  # type: ignore[arg-type]
    assert seen == list(Refusal)
    owner.update(budget_nano=None, budget_period="")
    assert admit_one(request).refusal is None


def set_active(user: User, *, is_active: bool) -> None:
    """Shut a person out, or let them in, and nothing else."""
    User.objects.filter(pk=user.pk).update(is_active=is_active)


def test_a_quota_counts_down_to_zero_and_then_refuses(account: Account) -> None:
    answers = ledger.admit([account.free_request(25) for _ in range(27)])
    assert [answer.quota_remaining for answer in answers] == [*range(24, -1, -1), 0, 0]
    assert [answer.refusal for answer in answers[24:]] == [None, Refusal.QUOTA_EXCEEDED, Refusal.QUOTA_EXCEEDED]
    assert used_of(account) == 25


def test_quota_is_claimed_only_when_everything_else_admits(account: Account) -> None:
    request = replace(account.free_request(25), amount=10, floor=10)
    answer = admit_one(request)
    assert (answer.refusal, answer.quota_remaining) == (Refusal.INSUFFICIENT_CREDITS, 25)
    assert used_of(account) == 0


def test_an_unlimited_quota_is_counted_and_names_no_remainder(account: Account) -> None:
    answers = ledger.admit([account.free_request(0) for _ in range(30)])
    assert {answer.quota_remaining for answer in answers} == {None}
    assert {answer.refusal for answer in answers} == {None}
    assert used_of(account) == 30


def test_a_limit_lowered_below_what_is_used_leaves_zero(account: Account) -> None:
    ledger.admit([account.free_request(25) for _ in range(10)])
    answer = admit_one(account.free_request(5))
    assert (answer.refusal, answer.quota_remaining) == (Refusal.QUOTA_EXCEEDED, 0)


def test_free_workspaces_of_one_owner_share_a_quota() -> None:
    accounts = [make_account() for _ in range(10)]
    answers = ledger.admit([a.free_request(25, subject="u:77") for _ in range(10) for a in accounts])
    assert sorted(a.quota_remaining or 0 for a in answers if a.refusal is None) == list(range(25))


def test_the_day_of_a_quota_is_the_utc_date_of_the_database(account: Account) -> None:
    run_sql("INSERT INTO billing_dailyquota VALUES (%s, %s, 25)", f"w:{account.id}", dt.date(2020, 1, 1))
    answer = admit_one(account.free_request(25))
    assert answer.at is not None
    assert answer.quota_remaining == 24
    rows = run_sql("SELECT day, used FROM billing_dailyquota WHERE subject = %s ORDER BY day", f"w:{account.id}")
    assert rows == [(dt.date(2020, 1, 1), 25), (answer.at.astimezone(dt.UTC).date(), 1)]


def test_a_free_request_has_a_hold_of_zero_even_in_debt(account: Account) -> None:
    account.fund(100)
    ledger.clawback(workspace_id=account.id, grant_source=account.fund(50), source="refund:1")
    debtor = make_account()
    source = debtor.fund(50)
    request = debtor.request(50)
    admit_one(request)
    settle_one(request, 50)
    ledger.clawback(workspace_id=debtor.id, grant_source=source, source="refund:2")
    assert balance_of(debtor.id).available == -50
    answer = admit_one(debtor.free_request(25))
    assert (answer.refusal, answer.held) == (None, 0)
    assert len(open_holds(debtor.id)) == 1


def test_credit_that_has_expired_never_admits(account: Account) -> None:
    account.fund(500, kind="promo", expires_in=-1)
    account.fund(100)
    assert balance_of(account.id).available == 100
    answer = admit_one(account.request(200))
    assert (answer.refusal, answer.available) == (Refusal.INSUFFICIENT_CREDITS, 100)
    assert [(line.kind, line.amount) for line in entries_of(account.id, limit=1)] == [("expire", -500)]


def test_a_refused_batch_still_writes_off_what_expired_and_only_once(account: Account) -> None:
    account.fund(500, kind="vip", expires_in=-1)
    for _ in range(3):
        admit_one(account.request(1))
    assert [line.kind for line in entries_of(account.id, limit=9)] == ["expire", "grant"]


def test_an_admission_that_is_rolled_back_leaves_nothing(account: Account) -> None:
    account.fund(1000)
    with transaction.atomic():
        admit_one(account.request(300))
        admit_one(account.free_request(25))
        transaction.set_rollback(True)
    assert balance_of(account.id).held == 0
    assert open_holds(account.id) == []
    assert used_of(account) is None
    assert broken_invariants() == []


def test_a_request_id_of_another_workspace_is_never_taken_over(account: Account) -> None:
    other = make_account()
    account.fund(1000)
    other.fund(1000)
    request = account.request(300)
    admit_one(request)
    stranger = replace(other.request(10), request_id=request.request_id)
    with pytest.raises(Exception, match="billing_hold_pkey"), transaction.atomic():
        admit_one(stranger)
    assert balance_of(other.id).held == 0


def test_names_with_quotes_and_backslashes_arrive_as_they_are(account: Account) -> None:
    account.fund(10)
    name = "a\"b\\c{d},e NULL 'f' é"
    admit_one(replace(account.request(1), request_id=uuid7(), model=name))
    assert open_holds(account.id)[0].model == name
