"""Credit comes once per source, goes when its time has passed, and can be taken back."""

import datetime as dt

import pytest

from billing.selectors.ledger import balance_of, entries_of
from billing.services import ledger
from billing.tasks import sweep_grants
from lumyx.lib.money import MAX_NANO
from tests.billing.builders import Account, admit_one, database_now, make_account, overdue, run_sql, settle_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """A workspace with a key and nothing else."""
    return make_account()


def lines_of(account: Account) -> list[tuple[str, str, int]]:
    """Return (kind of entry, kind of grant, amount), oldest first."""
    return [(line.kind, line.grant_kind, line.amount) for line in reversed(entries_of(account.id, limit=100))]


def put_in_debt(account: Account, amount: int) -> None:
    """Charge a late settlement that nothing covers."""
    account.fund(amount)
    late, prompt = account.request(amount), account.request(amount)
    admit_one(late)
    overdue(late)
    ledger.expire_holds()
    admit_one(prompt)
    settle_one(prompt, amount)
    settle_one(late, amount)
    assert balance_of(account.id).available == -amount


def test_a_grant_can_be_spent_at_once(account: Account) -> None:
    outcome = ledger.grant(workspace_id=account.id, kind="paid", amount=500, source="invoice:1", note="Thanks")
    assert (outcome.created, outcome.repaid) == (True, 0)
    line = entries_of(account.id, limit=1)[0]
    assert (line.kind, line.amount, line.ref, line.grant_note) == ("grant", 500, "invoice:1", "Thanks")
    assert balance_of(account.id).available == 500


def test_the_same_source_gives_once(account: Account) -> None:
    first = ledger.grant(workspace_id=account.id, kind="paid", amount=500, source="invoice:1")
    second = ledger.grant(workspace_id=account.id, kind="paid", amount=500, source="invoice:1")
    assert (first.created, second.created, first.grant_id) == (True, False, second.grant_id)
    assert balance_of(account.id).posted == 500


@pytest.mark.parametrize("change", [{"amount": 501}, {"kind": "promo"}])
def test_a_source_with_other_contents_is_a_conflict(account: Account, change: dict[str, object]) -> None:
    ledger.grant(workspace_id=account.id, kind="paid", amount=500, source="invoice:1")
    arguments = {"workspace_id": account.id, "kind": "paid", "amount": 500, "source": "invoice:1", **change}
    with pytest.raises(ledger.SourceConflictError, match="invoice:1"):
        ledger.grant(**arguments)  # type: ignore[arg-type]
    assert balance_of(account.id).posted == 500


def test_a_source_of_another_workspace_is_a_conflict(account: Account) -> None:
    ledger.grant(workspace_id=account.id, kind="paid", amount=500, source="invoice:1")
    other = make_account()
    with pytest.raises(ledger.SourceConflictError):
        ledger.grant(workspace_id=other.id, kind="paid", amount=500, source="invoice:1")
    assert balance_of(other.id).posted == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": 0}, "above zero"),
        ({"amount": -5}, "above zero"),
        ({"amount": MAX_NANO + 1}, "above zero"),
        ({"kind": "overdraft"}, "not 'overdraft'"),
        ({"kind": "gift"}, "not 'gift'"),
        ({"source": " "}, "needs a source"),
        ({"expires_at": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)}, "never expires"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(account: Account, change: dict[str, object], message: str) -> None:
    arguments = {"workspace_id": account.id, "kind": "paid", "amount": 500, "source": "s", **change}
    with pytest.raises(ValueError, match=message):
        ledger.grant(**arguments)  # type: ignore[arg-type]
    assert entries_of(account.id, limit=9) == []


def test_a_workspace_that_is_not_there_gets_nothing() -> None:
    with pytest.raises(ledger.UnknownWorkspaceError):
        ledger.grant(workspace_id=10**12, kind="paid", amount=500, source="invoice:1")
    with pytest.raises(ledger.UnknownWorkspaceError):
        ledger.set_frozen(workspace_id=10**12, frozen=True)


@pytest.mark.parametrize(("amount", "repaid", "available"), [(40, 40, -60), (100, 100, 0), (250, 100, 150)])
def test_debt_is_repaid_first(account: Account, amount: int, repaid: int, available: int) -> None:
    put_in_debt(account, 100)
    outcome = ledger.grant(workspace_id=account.id, kind="promo", amount=amount, source="gift")
    assert outcome.repaid == repaid
    assert balance_of(account.id).available == available
    assert lines_of(account)[-3:] == [
        ("grant", "promo", amount),
        ("debt_repay", "promo", -repaid),
        ("debt_repay", "overdraft", repaid),
    ]


def test_every_wallet_has_one_overdraft_grant(account: Account) -> None:
    for n in range(3):
        account.fund(10 + n)
    rows = run_sql("SELECT kind, source FROM billing_creditgrant WHERE kind = 'overdraft'")
    assert rows == [("overdraft", f"overdraft:{account.id}")]


def test_the_next_expiry_follows_what_is_left(account: Account) -> None:
    assert balance_of(account.id).next_expiry is None
    account.fund(100)
    account.fund(10, kind="vip", expires_in=7200)
    account.fund(10, kind="promo", expires_in=3600)
    stored = run_sql("SELECT next_expiry FROM billing_wallet")[0][0]
    soonest, later = (
        row[0]
        for row in run_sql(
            "SELECT expires_at FROM billing_creditgrant WHERE expires_at IS NOT NULL ORDER BY expires_at"
        )
    )
    assert stored == balance_of(account.id).next_expiry == soonest
    request = account.request(15)
    admit_one(request)
    settle_one(request, 15)
    assert run_sql("SELECT next_expiry FROM billing_wallet") == [(later,)]
    request = account.request(15)
    admit_one(request)
    settle_one(request, 15)
    assert run_sql("SELECT next_expiry FROM billing_wallet") == [(None,)]


def test_the_sweeper_writes_off_what_has_expired_once(account: Account) -> None:
    account.fund(70, kind="vip", expires_in=-1)
    account.fund(30, kind="promo", expires_in=3600)
    account.fund(100)
    other = make_account()
    other.fund(5, kind="promo", expires_in=-1)
    assert sweep_grants() == 2
    assert sweep_grants() == 0
    assert lines_of(account)[-1] == ("expire", "vip", -70)
    assert balance_of(account.id).by_kind == {"promo": 30, "paid": 100}
    assert balance_of(other.id).posted == 0


def test_the_sweeper_has_a_limit_of_wallets(account: Account) -> None:
    for owner in (account, make_account(), make_account()):
        owner.fund(70, kind="vip", expires_in=-1)
    assert ledger.sweep_grants(limit=2) == 2
    assert ledger.sweep_grants(limit=2) == 1


def test_a_balance_does_not_count_what_has_expired_before_the_sweeper_came(account: Account) -> None:
    account.fund(70, kind="vip", expires_in=-1)
    account.fund(100)
    balance = balance_of(account.id)
    assert (balance.posted, balance.available, balance.by_kind) == (100, 100, {"paid": 100})
    assert balance.next_expiry is None


def test_a_late_grant_of_a_period_that_is_over_gives_nothing_to_spend(account: Account) -> None:
    ledger.grant(workspace_id=account.id, kind="vip", amount=500, source="p1", expires_at=database_now())
    assert balance_of(account.id).available == 0
    assert admit_one(account.request(1)).held == 0


def test_a_clawback_takes_what_the_grant_still_has_first(account: Account) -> None:
    source = account.fund(100)
    account.fund(40, kind="promo")
    outcome = ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1", amount=70)
    assert (outcome.applied, outcome.from_grant, outcome.to_overdraft) == (True, 70, 0)
    assert balance_of(account.id).by_kind == {"promo": 40, "paid": 30}


def test_what_was_spent_becomes_debt_and_other_credit_is_left_alone(account: Account) -> None:
    source = account.fund(100)
    request = account.request(80)
    admit_one(request)
    settle_one(request, 80)
    account.fund(50)
    outcome = ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1")
    assert (outcome.from_grant, outcome.to_overdraft) == (20, 80)
    assert balance_of(account.id).by_kind == {"paid": 50, "overdraft": -80}
    assert balance_of(account.id).available == -30
    assert lines_of(account)[-2:] == [("clawback", "paid", -20), ("clawback", "overdraft", -80)]


def test_a_clawback_is_taken_once_per_source(account: Account) -> None:
    source = account.fund(100)
    for _ in range(2):
        outcome = ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1", amount=60)
    assert outcome.applied is False
    assert balance_of(account.id).posted == 40
    with pytest.raises(ledger.SourceConflictError):
        ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1", amount=61)


def test_a_dispute_freezes_the_wallet(account: Account) -> None:
    source = account.fund(100)
    ledger.clawback(workspace_id=account.id, grant_source=source, source="dispute:1", amount=10, freeze=True)
    assert balance_of(account.id).frozen
    account.fund(5)
    assert balance_of(account.id).frozen


def test_a_clawback_of_expiring_credit_moves_the_next_expiry(account: Account) -> None:
    source = account.fund(100, kind="promo", expires_in=3600)
    ledger.clawback(workspace_id=account.id, grant_source=source, source="undo:1")
    assert run_sql("SELECT next_expiry FROM billing_wallet") == [(None,)]


def test_what_expired_of_a_grant_makes_no_debt_when_it_is_taken_back(account: Account) -> None:
    source = account.fund(100, kind="vip", expires_in=3600)
    request = account.request(30)
    admit_one(request)
    settle_one(request, 30)
    ledger.end_grants(workspace_id=account.id, sources=[source])
    first = ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1", amount=60)
    again = ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1", amount=60)
    second = ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:2", amount=40)
    assert (first.applied, first.from_grant, first.to_overdraft) == (True, 0, 0)
    assert again.applied is False
    assert (second.from_grant, second.to_overdraft) == (0, 30)
    assert balance_of(account.id).by_kind == {"overdraft": -30}
    assert lines_of(account)[-6:] == [
        ("expire", "vip", -70),
        ("adjust", "vip", 60),
        ("clawback", "vip", -60),
        ("adjust", "vip", 10),
        ("clawback", "vip", -10),
        ("clawback", "overdraft", -30),
    ]


def test_grants_end_before_their_time(account: Account) -> None:
    ended = account.fund(70, kind="vip", expires_in=3600)
    endless = account.fund(20, kind="promo")
    kept = account.fund(50, kind="vip", expires_in=7200)
    paid = account.fund(10)
    foreign = make_account().fund(40, kind="vip", expires_in=3600)
    sources = [ended, endless, paid, foreign, "nothing"]
    assert ledger.end_grants(workspace_id=account.id, sources=sources) == 2
    assert ledger.end_grants(workspace_id=account.id, sources=sources) == 0
    assert balance_of(account.id).by_kind == {"vip": 50, "paid": 10}
    assert run_sql("SELECT remaining FROM billing_creditgrant WHERE source = %s", foreign) == [(40,)]
    assert run_sql("SELECT next_expiry FROM billing_wallet WHERE workspace_id = %s", account.id) == run_sql(
        "SELECT expires_at FROM billing_creditgrant WHERE source = %s", kept
    )


def test_a_grant_that_ended_stays_for_the_holds_that_were_placed_on_it(account: Account) -> None:
    source = account.fund(100, kind="vip", expires_in=3600)
    request = account.request(100)
    admit_one(request)
    assert ledger.end_grants(workspace_id=account.id, sources=[source]) == 0
    assert balance_of(account.id).posted == 100
    settle_one(request, 40)
    assert sweep_grants() == 1
    assert lines_of(account)[-2:] == [("usage", "vip", -40), ("expire", "vip", -60)]


@pytest.mark.parametrize("amount", [0, -1, 101])
def test_a_clawback_is_at_most_the_grant(account: Account, amount: int) -> None:
    source = account.fund(100)
    with pytest.raises(ValueError, match="at most 100"):
        ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1", amount=amount)


def test_only_a_grant_of_the_workspace_can_be_taken_back(account: Account) -> None:
    other = make_account()
    source = other.fund(100)
    account.fund(100)
    for wrong in (source, "nothing", f"overdraft:{account.id}"):
        with pytest.raises(ledger.UnknownGrantError):
            ledger.clawback(workspace_id=account.id, grant_source=wrong, source="refund:1")
    with pytest.raises(ValueError, match="needs a source"):
        ledger.clawback(workspace_id=account.id, grant_source=source, source="")


def test_holds_are_settled_as_debt_when_their_credit_was_taken_back(account: Account) -> None:
    source = account.fund(100)
    request = account.request(100)
    admit_one(request)
    ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1")
    assert balance_of(account.id).available == -100
    settle_one(request, 90)
    assert balance_of(account.id).by_kind == {"overdraft": -90}
