"""The books in one round trip: what the plain statements do is what the long way would have done, or nothing at all."""

from collections.abc import Callable, Sequence
from copy import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.selectors.ledger import balance_of, broken_invariants
from billing.services import ledger, ledger_plain
from billing.types import Admission, Admitted, Settled, Settlement
from lumyx.lib.ids import uuid7
from lumyx.lib.prepared import Prepared
from proofs.ledger_crashes import rolled_back
from tests.billing.builders import Account, admit_one, make_account, overdue, run_sql, settle_one

#: What a batch may ask for, in nano-USD, on wallets with up to a few hundred.
amounts = st.integers(0, 60)
SELDOM = st.integers(0, 5).map(lambda drawn: drawn == 1)
CASES = hypothesis_settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)

ROWS = (
    "SELECT workspace_id, posted, held, next_expiry IS NULL, frozen FROM billing_wallet ORDER BY 1",
    "SELECT id, wallet_id, amount, state, actual, api_key_id, model, quota_subject, expires_at - created_at"
    " FROM billing_hold ORDER BY 1",
    "SELECT wallet_id, kind, remaining FROM billing_creditgrant ORDER BY id",
    "SELECT wallet_id, grant_id, kind, contra, amount, ref FROM billing_ledgerentry ORDER BY id",
    "SELECT subject, used FROM billing_dailyquota WHERE used > 0 ORDER BY 1",
)


def outcome_of[T](work: Callable[[], T]) -> tuple[T, list[list[tuple[object, ...]]]]:
    """Return what ``work`` answers and the rows that it leaves, and undo it."""
    with rolled_back():
        answer = work()
        rows = [run_sql(statement) for statement in ROWS]
    return answer, rows


def without_times(answers: Sequence[object]) -> list[object]:
    """Return answers to compare: the two ways decide a moment apart."""
    return [replace(answer, at=None) if isinstance(answer, Admitted) else answer for answer in answers]


class TestPlainAndLong(TestCase):
    """Random wallets and batches; both ways are tried on the same rows and undone."""

    def setUp(self) -> None:
        """Make two accounts with credit, and the quota rows of most subjects."""
        self.accounts = [make_account(), make_account()]
        for account in self.accounts:
            account.fund(150)
        for subject in ("u:1", "u:2"):
            admit_one(self.accounts[0].free_request(0, subject=subject))

    @CASES
    @given(data=st.data())
    def test_admissions(self, data: st.DataObject) -> None:
        self._fund(data)
        batch = data.draw(st.lists(self._admissions(), min_size=1, max_size=6))
        if data.draw(SELDOM):
            ledger.admit(batch[:1])
        if data.draw(SELDOM):
            batch.append(batch[0])
        self._compare(ledger_plain.ADMIT, batch, ledger._admit_one_by_one)

    @CASES
    @given(data=st.data())
    def test_settlements(self, data: st.DataObject) -> None:
        self._fund(data)
        admitted = data.draw(st.lists(self._admissions(), min_size=1, max_size=6, unique_by=lambda a: a.request_id))
        ledger.admit(admitted)
        if data.draw(SELDOM):
            settle_one(admitted[0], data.draw(st.none() | amounts))
        if data.draw(SELDOM):
            overdue(admitted[-1])
            ledger.expire_holds()
        rated = amounts | amounts | amounts | st.none()
        batch = [Settlement(admission.request_id, data.draw(rated)) for admission in admitted]
        self._compare(ledger_plain.SETTLE, batch, ledger.settle_one_by_one)

    def _compare[In, Out](
        self, statement: Prepared[In, Out], batch: Sequence[In], long: Callable[[Sequence[In]], list[Out]]
    ) -> None:
        """Require of the statement, and of its single form, what the long way does, or nothing at all."""
        forms = [statement] if statement.single is None or len(batch) > 1 else [statement, statement.single]
        for form in forms:
            plain, plain_rows = outcome_of(partial(form._run, batch))
            event(f"{form.name}: {'declined' if plain is None else 'done'}")
            if plain is None:
                assert plain_rows == outcome_of(lambda: None)[1]
            else:
                answers, rows = outcome_of(partial(long, batch))
                assert (without_times(plain), plain_rows) == (without_times(answers), rows)

    def _fund(self, data: st.DataObject) -> None:
        for account in self.accounts:
            for kind in data.draw(st.lists(st.sampled_from(["vip", "promo", "paid"]), max_size=3)):
                seconds = data.draw(st.sampled_from([3600.0] * 7 + [-1.0]))
                expires = None if kind == "paid" else seconds
                account.fund(data.draw(st.integers(1, 90)), kind=kind, expires_in=expires)
        if data.draw(st.integers(0, 9)) == 0 and balance_of(self.accounts[0].id).posted:
            ledger.set_frozen(workspace_id=self.accounts[0].id, frozen=True)

    @st.composite
    @staticmethod
    def _drawn(draw: st.DrawFn, accounts: Sequence[Account]) -> Admission:
        account = draw(st.sampled_from(accounts))
        if draw(st.booleans()):
            amount = draw(amounts)
            return account.request(amount, floor=draw(st.integers(0, amount)))
        return account.free_request(
            draw(st.sampled_from([0, 3, 9, 25])), subject=draw(st.sampled_from(["u:1", "u:2", "u:1", "u:2", "u:3"]))
        )

    def _admissions(self) -> st.SearchStrategy[Admission]:
        return TestPlainAndLong._drawn(self.accounts)


@pytest.fixture
def account() -> Account:
    """A workspace with 1,000 nano-USD."""
    made = make_account()
    made.fund(1000)
    return made


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 3])
def test_the_usual_case_takes_the_short_way(account: Account, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    def must_not(*_: object) -> list[Settled]:
        raise AssertionError("the usual case went the long way")

    monkeypatch.setattr(ledger, "_admit_one_by_one", must_not)
    monkeypatch.setattr(ledger, "settle_one_by_one", must_not)
    asked = [account.request(100) for _ in range(size)]
    assert [answer.held for answer in ledger.admit(asked)] == [100] * size
    settled = ledger.settle([Settlement(one.request_id, 130) for one in asked])
    assert [(one.charge, one.absorbed, one.applied) for one in settled] == [(100, 30, True)] * size
    assert balance_of(account.id).posted == 1000 - 100 * size


@pytest.mark.django_db(transaction=True)
def test_statements_that_the_server_was_told_to_forget_are_prepared_again() -> None:
    made = make_account()
    made.fund(1000)
    admit_one(made.request(1))
    run_sql("DEALLOCATE ALL")
    asked = made.request(1)
    assert admit_one(asked).held == 1
    run_sql("DEALLOCATE ALL")
    assert settle_one(asked, 1).charge == 1


@pytest.mark.django_db
def test_a_hold_that_a_crash_lost_is_placed_again_and_charged(account: Account) -> None:
    asked = account.request(100)
    admit_one(asked)
    run_sql("DELETE FROM billing_hold")
    run_sql("UPDATE billing_wallet SET held = 0")
    (settled,) = ledger.settle([Settlement(asked.request_id, 70, asked)])
    assert (settled.charge, settled.absorbed, settled.applied) == (70, 0, True)
    (again,) = ledger.settle([Settlement(asked.request_id, 70, asked)])
    assert (again.charge, again.applied) == (70, False)
    balance = balance_of(account.id)
    assert (balance.posted, balance.held) == (930, 0)
    assert broken_invariants() == []


@pytest.mark.django_db
def test_a_lost_hold_never_takes_more_than_there_is(account: Account) -> None:
    asked = account.request(900)
    admit_one(account.request(400))  # somebody else's, on the credit that the lost hold no longer kept
    (settled,) = ledger.settle([Settlement(asked.request_id, 850, asked)])
    assert (settled.charge, settled.absorbed, settled.applied) == (600, 250, True)
    assert (balance_of(account.id).posted, balance_of(account.id).available) == (400, 0)


@pytest.mark.django_db
def test_a_lost_claim_of_a_daily_quota_is_made_again(account: Account) -> None:
    asked = account.free_request(5)
    (settled,) = ledger.settle([Settlement(asked.request_id, 0, asked)])
    assert settled.applied
    assert run_sql("SELECT used FROM billing_dailyquota") == [(1,)]


@pytest.mark.django_db
def test_a_lost_hold_of_which_nothing_came_stays_lost(account: Account) -> None:
    asked = account.request(100)
    (settled,) = ledger.settle([Settlement(asked.request_id, None, asked)])
    assert not settled.applied
    assert run_sql("SELECT count(*) FROM billing_hold") == [(0,)]


@pytest.mark.django_db
def test_a_settlement_of_an_unknown_request_changes_nothing(account: Account) -> None:
    (settled,) = ledger.settle([Settlement(uuid7(), 70)])
    assert (settled.charge, settled.applied) == (0, False)
