"""Burn-down: what expires first is spent first, debt last, and nothing is lost or made."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from billing.burn_down import Cut, GrantState, expire, next_expiry_of, spend

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
BEFORE, LATER = NOW - dt.timedelta(hours=1), NOW + dt.timedelta(hours=1)

amounts = st.integers(0, 1000)
expiries = st.sampled_from([BEFORE, NOW, LATER, None])


@st.composite
def grant_lists(draw: st.DrawFn) -> list[GrantState]:
    """Live grants in some order of expiry, then an overdraft."""
    live = [GrantState(n, draw(amounts), draw(expiries)) for n in range(draw(st.integers(0, 5)))]
    return [*live, GrantState(99, -draw(amounts), is_overdraft=True)]


def test_charges_are_cut_where_their_sums_meet_the_grants() -> None:
    grants = [GrantState(1, 100), GrantState(2, 50), GrantState(3, 0, is_overdraft=True)]
    cuts = spend(grants, [("a", 60), ("b", 60), ("c", 0), ("d", 40)])
    assert cuts == [Cut("a", 1, 60), Cut("b", 1, 40), Cut("b", 2, 20), Cut("d", 2, 30), Cut("d", 3, 10)]
    assert [grant.remaining for grant in grants] == [0, 0, -10]


@given(grants=grant_lists(), charges=st.lists(amounts, max_size=8))
def test_spending_takes_every_charge_in_full_and_debt_only_when_all_else_is_gone(
    grants: list[GrantState], charges: list[int]
) -> None:
    before = {grant.id: grant.remaining for grant in grants}
    cuts = spend(grants, [(str(n), charge) for n, charge in enumerate(charges)])
    for n, charge in enumerate(charges):
        assert sum(cut.amount for cut in cuts if cut.ref == str(n)) == charge
    for grant in grants:
        assert before[grant.id] - grant.remaining == sum(cut.amount for cut in cuts if cut.grant_id == grant.id)
    assert all(cut.amount > 0 for cut in cuts)
    assert all(grant.remaining >= 0 for grant in grants[:-1])
    if grants[-1].remaining < before[99]:
        assert all(grant.remaining == 0 for grant in grants[:-1])
    # A grant is touched only when those before it are used up.
    touched = [grant.remaining < before[grant.id] for grant in grants]
    for position, grant in enumerate(grants):
        if any(touched[position + 1 :]):
            assert grant.remaining <= 0


def test_what_has_expired_goes_when_nothing_is_held() -> None:
    grants = [GrantState(1, 40, BEFORE), GrantState(2, 60, LATER), GrantState(3, 0, is_overdraft=True)]
    assert expire(grants, posted=100, held=0, at=NOW) == [Cut("expire:1:40", 1, 40)]
    assert next_expiry_of(grants) == LATER


def test_the_moment_of_expiry_is_expired() -> None:
    assert expire([GrantState(1, 5, NOW)], posted=5, held=0, at=NOW) == [Cut("expire:1:5", 1, 5)]


def test_expired_credit_that_open_holds_were_promised_stays_until_they_close() -> None:
    grants = [GrantState(1, 100, BEFORE), GrantState(2, 0, is_overdraft=True)]
    assert expire(grants, posted=100, held=30, at=NOW) == [Cut("expire:1:100", 1, 70)]
    assert grants[0].remaining == 30
    assert next_expiry_of(grants) == BEFORE
    assert expire(grants, posted=30, held=30, at=NOW) == []
    assert expire(grants, posted=30, held=0, at=NOW) == [Cut("expire:1:30", 1, 30)]


def test_other_credit_that_covers_the_holds_lets_expired_credit_go() -> None:
    grants = [GrantState(1, 100, BEFORE), GrantState(2, 50), GrantState(3, 0, is_overdraft=True)]
    assert expire(grants, posted=150, held=30, at=NOW) == [Cut("expire:1:100", 1, 100)]


def test_debt_does_not_keep_expired_credit() -> None:
    grants = [GrantState(1, 30, BEFORE), GrantState(2, -50, is_overdraft=True)]
    assert expire(grants, posted=-20, held=0, at=NOW) == [Cut("expire:1:30", 1, 30)]


@given(grants=grant_lists(), held=amounts)
def test_expiry_leaves_nothing_for_new_requests_and_breaks_no_promise(grants: list[GrantState], held: int) -> None:
    posted = sum(grant.remaining for grant in grants)
    covered = sum(grant.remaining for grant in grants[:-1])
    live = sum(g.remaining for g in grants if g.expires_at is None or g.expires_at > NOW)
    gone = sum(cut.amount for cut in expire(grants, posted=posted, held=held, at=NOW))
    left = sum(grant.remaining for grant in grants)
    assert left == posted - gone
    # New requests see exactly what the live grants leave beside the holds, or less.
    assert max(0, left - held) == max(0, live - held)
    # Holds stay covered by grants as far as they were, so that settling them makes no new debt.
    assert min(held, sum(grant.remaining for grant in grants[:-1])) == min(held, covered)
    assert expire(grants, posted=left, held=held, at=NOW) == []
