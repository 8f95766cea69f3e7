"""Budgets of keys and of members: exact under any number of hands, whatever becomes of their requests."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from copy import replace
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from accounts.budgets import ALWAYS, period_end, period_start
from accounts.models import ApiKey, Membership
from accounts.services.apikeys import create_api_key
from billing.selectors.ledger import balance_of, broken_invariants
from billing.services import ledger, ledger_plain
from billing.types import Admission, Refusal, Settlement
from proofs.ledger_crashes import rolled_back
from tests.billing.builders import Account, admit_one, overdue, run_sql, settle_one
from tests.billing.test_ledger_concurrency import at_once
from tests.factories import make_workspace

CENT = 10_000_000
PERIODS = ("day", "week", "month", "total")


def make_account(*, budget: int | None = None, member: int | None = None, period: str = "month") -> Account:
    """Make a workspace with much credit and a key of its owner's, with a budget or two."""
    workspace = make_workspace()
    made = create_api_key(workspace=workspace, name="k", created_by=workspace.owner)
    account = Account(workspace, made.row.pk)
    account.fund(10**12)
    set_budgets(account, budget=budget, member=member, period=period)
    return account


def set_budgets(account: Account, *, budget: int | None = None, member: int | None = None, period: str) -> None:
    """Write the columns alone."""
    for rows, amount in (
        (ApiKey.objects.filter(pk=account.api_key_id), budget),
        (Membership.objects.filter(workspace=account.workspace), member),
    ):
        rows.update(budget_nano=amount, budget_period=period if amount else "")


def used(account: Account) -> dict[str, tuple[int, int]]:
    """Return (held, spent) by subject, all periods together."""
    rows = run_sql(
        "SELECT left(subject, 1), sum(held)::bigint, sum(spent)::bigint FROM billing_budgetuse WHERE wallet_id = %s GROUP BY 1",
        account.id,
    )
    return {str(subject): (held, spent) for subject, held, spent in rows}  # type: ignore[misc]


@pytest.mark.django_db
@pytest.mark.parametrize("period", PERIODS)
def test_a_budget_is_held_then_spent_and_refuses_what_is_beyond_it(period: str) -> None:
    account = make_account(budget=1000, period=period)
    first = account.request(700)
    assert admit_one(first).held == 700
    assert used(account) == {"k": (700, 0)}
    refused = admit_one(account.request(301))
    assert refused.refusal == Refusal.KEY_BUDGET_EXCEEDED
    assert refused.budget is not None
    assert (refused.budget.amount, refused.budget.period, refused.budget.left) == (1000, period, 300)
    assert refused.budget.resets_at == period_end(period, refused.at or dt.datetime.now(dt.UTC))
    assert settle_one(first, 200).charge == 200
    assert used(account) == {"k": (0, 200)}
    assert admit_one(account.request(800)).held == 800
    assert admit_one(account.request(1)).refusal == Refusal.KEY_BUDGET_EXCEEDED


@pytest.mark.django_db
def test_a_flexible_request_gets_what_the_budget_has_left() -> None:
    account = make_account(budget=1000)
    admit_one(account.request(700))
    assert admit_one(account.request(5000, floor=100)).held == 300
    assert admit_one(account.request(5000, floor=100)).refusal == Refusal.KEY_BUDGET_EXCEEDED


@pytest.mark.django_db
def test_what_costs_nothing_asks_no_budget() -> None:
    account = make_account(budget=10)
    admit_one(account.request(10))
    assert admit_one(account.free_request(25)).refusal is None
    assert admit_one(account.request(0)).refusal is None
    assert used(account) == {"k": (10, 0)}


@pytest.mark.django_db
def test_a_release_gives_back() -> None:
    account = make_account(budget=1000, member=1000)
    asked = account.request(1000)
    admit_one(asked)
    assert used(account) == {"k": (1000, 0), "m": (1000, 0)}
    settle_one(asked, None)
    assert used(account) == {"k": (0, 0), "m": (0, 0)}
    assert admit_one(account.request(1000)).held == 1000


@pytest.mark.django_db
def test_an_expired_hold_gives_back_and_a_late_settlement_counts_all_the_same() -> None:
    account = make_account(budget=1000)
    late, in_time = account.request(900), account.request(900)
    admit_one(late)
    overdue(late)
    ledger.expire_holds()
    assert used(account) == {"k": (0, 0)}
    admit_one(in_time)
    settle_one(late, 900)
    settle_one(in_time, 900)
    assert used(account) == {"k": (0, 1800)}  # like debt: only a late settlement goes beyond a budget
    refused = admit_one(account.request(1, floor=0))
    assert (refused.refusal, refused.held) == (None, 0)
    assert admit_one(account.request(1)).refusal == Refusal.KEY_BUDGET_EXCEEDED


@pytest.mark.django_db
def test_the_key_and_its_maker_each_have_theirs_and_the_tighter_one_decides() -> None:
    account = make_account(budget=1000, member=600)
    refused = admit_one(account.request(700))
    assert refused.refusal == Refusal.MEMBER_BUDGET_EXCEEDED
    assert refused.budget is not None
    assert (refused.budget.kind, refused.budget.left) == ("member", 600)
    second = create_api_key(workspace=account.workspace, name="2", created_by=account.workspace.owner).row.pk
    assert admit_one(replace(account.request(400), api_key_id=second)).held == 400
    assert admit_one(account.request(201)).refusal == Refusal.MEMBER_BUDGET_EXCEEDED
    assert admit_one(account.request(200)).held == 200
    assert used(account) == {"k": (200, 0), "m": (600, 0)}


@pytest.mark.django_db
def test_a_members_budget_is_of_one_workspace_and_not_for_the_operators_keys() -> None:
    account = make_account(member=100)
    other = make_workspace(owner=account.workspace.owner)
    elsewhere = Account(other, create_api_key(workspace=other, name="k", created_by=other.owner).row.pk)
    elsewhere.fund(1000)
    assert admit_one(elsewhere.request(500)).held == 500
    operators = create_api_key(workspace=account.workspace, name="op").row.pk
    assert admit_one(replace(account.request(500), api_key_id=operators)).held == 500
    assert admit_one(account.request(101)).refusal == Refusal.MEMBER_BUDGET_EXCEEDED


@pytest.mark.django_db
def test_a_settlement_of_the_next_period_counts_in_the_one_of_its_admission() -> None:
    account = make_account(budget=1000, period="day")
    asked = account.request(1000)
    admit_one(asked)
    run_sql("UPDATE billing_budgetuse SET start = start - 1")  # a day has passed
    assert admit_one(account.request(1000)).held == 1000
    settle_one(asked, 400)
    rows = run_sql("SELECT held, spent FROM billing_budgetuse ORDER BY start")
    assert rows == [(0, 400), (1000, 0)]


@pytest.mark.django_db
def test_a_changed_amount_keeps_the_count_and_a_changed_period_begins_one() -> None:
    account = make_account(budget=1000)
    settled = account.request(900)
    admit_one(settled)
    settle_one(settled, 900)
    set_budgets(account, budget=500, period="month")
    refused = admit_one(account.request(1))
    assert refused.budget is not None
    assert (refused.refusal, refused.budget.left) == (Refusal.KEY_BUDGET_EXCEEDED, -400)
    set_budgets(account, budget=2000, period="month")
    assert admit_one(account.request(1100)).held == 1100
    set_budgets(account, budget=2000, period="week")
    assert admit_one(account.request(2000)).held == 2000


@pytest.mark.django_db
def test_one_batch_is_decided_request_by_request() -> None:
    account = make_account(budget=1000)
    asked = [account.request(amount) for amount in (600, 600, 400, 1)]
    answers = [answer.refusal for answer in ledger.admit(asked)]
    assert answers == [None, Refusal.KEY_BUDGET_EXCEEDED, None, Refusal.KEY_BUDGET_EXCEEDED]
    settled = ledger.settle([Settlement(asked[0].request_id, 10), Settlement(asked[2].request_id, 20)])
    assert [one.charge for one in settled] == [10, 20]
    assert used(account) == {"k": (0, 30)}


@pytest.mark.django_db
def test_a_hold_that_a_crash_lost_is_charged_to_its_budget() -> None:
    account = make_account(budget=1000, member=5000)
    asked = account.request(600)
    ledger.settle([Settlement(asked.request_id, 500, asked)])
    assert used(account) == {"k": (0, 500), "m": (0, 500)}
    ledger.settle([Settlement(asked.request_id, 500, asked)])
    assert used(account) == {"k": (0, 500), "m": (0, 500)}


@pytest.mark.django_db
def test_another_workspaces_key_takes_nothing_of_its_budget() -> None:
    account, other = make_account(budget=1000), make_account(budget=1000)
    stolen = replace(account.request(10), api_key_id=other.api_key_id)
    assert admit_one(stolen).refusal == Refusal.KEY_REVOKED
    assert run_sql("SELECT count(*) FROM billing_budgetuse") == [(0,)]


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 3])
def test_without_a_budget_there_is_one_statement_and_no_row(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    account = make_account()
    must_not = partial(pytest.fail, "the usual case went the long way")
    monkeypatch.setattr(ledger, "_admit_one_by_one", lambda _: must_not())
    monkeypatch.setattr(ledger, "settle_one_by_one", lambda _: must_not())
    asked = [account.request(100) for _ in range(size)]
    with CaptureQueriesContext(connection) as queries:
        ledger.admit(asked)
        ledger.settle([Settlement(one.request_id, 50) for one in asked])
    assert len(queries) == 0  # of Django's: the two prepared statements go past its cursors
    assert run_sql("SELECT count(*), bool_or(budget_ids IS NOT NULL) FROM billing_hold, billing_wallet") == [
        (size, False)
    ]
    assert run_sql("SELECT count(*) FROM billing_budgetuse") == [(0,)]


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 3])
def test_budgeted_requests_are_settled_in_one_statement(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    account = make_account(budget=1000, member=2000)
    asked = [account.request(100) for _ in range(size)]
    ledger.admit(asked)
    monkeypatch.setattr(ledger, "settle_one_by_one", lambda _: pytest.fail("it went the long way"))
    ledger.settle([Settlement(one.request_id, None if one is asked[-1] and size > 1 else 60) for one in asked])
    spent = 60 if size == 1 else 120
    assert used(account) == {"k": (0, spent), "m": (0, spent)}


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"disabled_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, Refusal.KEY_DISABLED),
        ({"requests_per_minute": 5}, Refusal.KEY_CHANGED),
        ({"allowed_models": ["other"]}, Refusal.KEY_CHANGED),
    ],
)
def test_what_a_process_believed_of_a_key_is_checked_by_its_version(
    size: int, change: dict[str, object], refusal: Refusal
) -> None:
    account = make_account()
    version = ApiKey.objects.get(pk=account.api_key_id).version
    asked = [replace(account.request(1), key_version=version) for _ in range(size)]
    assert {answer.refusal for answer in ledger.admit(asked)} == {None}
    ApiKey.objects.filter(pk=account.api_key_id).update(**change)
    assert_refused(account, version, size, refusal)


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 3])
def test_a_demoted_makers_key_is_refused_at_the_next_admission(size: int) -> None:
    account = make_account()
    version = ApiKey.objects.get(pk=account.api_key_id).version
    Membership.objects.filter(workspace=account.workspace).update(role="viewer")
    assert_refused(account, version, size, Refusal.KEY_ORPHANED)


def assert_refused(account: Account, version: int, size: int, refusal: Refusal) -> None:
    """Require a refusal, and that the usual case in one statement has declined."""
    asked = [replace(account.request(1), key_version=version) for _ in range(size)]
    assert ledger_plain.ADMIT.run(asked) is None
    assert {answer.refusal for answer in ledger.admit(asked)} == {refusal}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("member", [False, True])
def test_200_requests_at_once_on_a_budget_of_one_cent_never_exceed_it(member: bool) -> None:
    account = make_account(member=CENT) if member else make_account(budget=CENT)
    asked = [account.request(CENT // 7) for _ in range(200)]
    answers = at_once(admit_one, asked)
    refusal = Refusal.MEMBER_BUDGET_EXCEEDED if member else Refusal.KEY_BUDGET_EXCEEDED
    assert Counter(answer.refusal for answer in answers) == {None: 7, refusal: 193}
    admitted = [one for one, answer in zip(asked, answers, strict=True) if answer.refusal is None]
    at_once(lambda request: settle_one(request, CENT // 7), admitted)
    assert balance_of(account.id).posted == 10**12 - 7 * (CENT // 7)
    assert broken_invariants() == []


@pytest.mark.django_db(transaction=True)
def test_requests_that_come_and_go_at_once_never_exceed_a_budget() -> None:
    account = make_account(budget=CENT)

    def come_and_go(request: Admission) -> int:
        held = admit_one(request).held
        if held:
            settle_one(request, held if request.request_id.int % 3 else None)
        return held

    at_once(come_and_go, [account.request(CENT // 5, floor=CENT // 50) for _ in range(200)])
    (state,) = used(account).values()
    assert state[0] == 0
    assert 0 < state[1] <= CENT
    assert balance_of(account.id).posted == 10**12 - state[1]


@pytest.mark.django_db
@pytest.mark.breaks_the_books
def test_a_budget_that_does_not_add_up_is_seen() -> None:
    account = make_account(budget=1000)
    asked = account.request(100)
    admit_one(asked)

    def broken(statement: str) -> Sequence[str]:
        with rolled_back():
            run_sql(statement)
            return sorted({row["invariant"] for row in broken_invariants()})

    assert broken("UPDATE billing_budgetuse SET held = held + 1") == ["budget_held_is_sum_of_open_holds"]
    assert broken("UPDATE billing_budgetuse SET spent = 1") == ["budget_spent_is_sum_of_charges"]
    assert "hold_is_in_wallet_of_its_budget" in broken("UPDATE billing_budgetuse SET wallet_id = wallet_id + 1000")
    assert "hold_is_in_wallet_of_its_budget" in broken("DELETE FROM billing_budgetuse")


MOMENTS = st.integers(0, 4 * 10**9).map(lambda seconds: dt.datetime.fromtimestamp(seconds, tz=dt.UTC))


@given(at=MOMENTS, period=st.sampled_from(PERIODS))
def test_periods_follow_each_other_without_a_gap(at: dt.datetime, period: str) -> None:
    start, end = period_start(period, at), period_end(period, at)
    if period == "total":
        assert (start, end) == (ALWAYS, None)
        return
    assert end is not None
    assert start <= at.date() < end.date()
    assert end.time() == dt.time()
    assert period_start(period, end) == end.date()
    assert period_start(period, end - dt.timedelta(microseconds=1)) == start


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    at = dt.datetime(
        2027, 1, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1))
    )  # still 31 December in UTC, a Thursday
    assert period_start("day", at) == dt.date(2026, 12, 31)
    assert period_start("week", at) == dt.date(2026, 12, 28)
    assert period_start("month", at) == dt.date(2026, 12, 1)
    assert period_end("month", at) == dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
