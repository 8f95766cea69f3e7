"""How long the credit lasts: by the pace of the last seven days, by what expires before, and unknown where it is unknown."""

import datetime as dt

import pytest

from billing.selectors.grants import CreditLeft
from dashboard.runway import Runway, runway_of
from lumyx.lib.money import NANO_PER_USD as USD

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
TODAY = NOW.date()


def paid(usd: int) -> CreditLeft:
    return CreditLeft("paid", usd * USD, None)


def vip(usd: int, *, days: float) -> CreditLeft:
    return CreditLeft("vip", usd * USD, NOW + dt.timedelta(days=days))


def days_ago(**charges: int) -> dict[dt.date, int]:
    """Return dollars by day: ``d3=2`` is two dollars three days ago."""
    return {TODAY - dt.timedelta(days=int(name[1:])): usd * USD for name, usd in charges.items()}


def lasting(credit: list[CreditLeft], charges: dict[dt.date, int], *, held: int = 0) -> Runway:
    available = sum(lot.remaining for lot in credit) - held * USD
    return runway_of(credit, available=available, charges=charges, now=NOW)


def test_the_pace_is_what_was_charged_by_the_time_since_the_first_charge() -> None:
    # Three dollars since the midnight two and a half days ago.
    runway = lasting([paid(12)], days_ago(d2=2, d0=1))
    assert (runway.state, runway.lasts, runway.text) == ("known", dt.timedelta(days=10), "10 days")
    assert runway.pace == 1_200_000_000


def test_days_before_the_last_seven_do_not_count() -> None:
    assert lasting([paid(13)], days_ago(d6=13, d7=1000)).text == "6 days"
    assert lasting([paid(13)], days_ago(d7=1000)).state == "idle"


@pytest.mark.parametrize(
    ("credit", "charges", "state"),
    [
        ([], {}, "empty"),
        ([CreditLeft("overdraft", -USD, None)], days_ago(d1=1), "empty"),
        ([paid(5)], {}, "idle"),
        ([paid(5)], days_ago(d0=1), "new"),
        ([paid(5000)], days_ago(d6=1), "long"),
        ([paid(5)], {TODAY - dt.timedelta(days=6): 1}, "long"),
    ],
)
def test_what_cannot_be_known_is_not_said(credit: list[CreditLeft], charges: dict[dt.date, int], state: str) -> None:
    assert lasting(credit, charges).state == state


def test_credit_that_expires_before_it_is_spent_does_not_count() -> None:
    # A dollar a day: of ten VIP dollars three can be spent, then paid ones.
    charges = {TODAY - dt.timedelta(days=1): 3 * USD // 2}
    runway = lasting([vip(10, days=3), paid(2)], charges)
    assert (runway.lasts, runway.lapses) == (dt.timedelta(days=5), True)
    runway = lasting([vip(3, days=4), paid(2)], charges)
    assert (runway.lasts, runway.lapses) == (dt.timedelta(days=5), False)


def test_what_is_held_is_taken_off_first() -> None:
    charges = {TODAY - dt.timedelta(days=1): 3 * USD // 2}
    assert lasting([vip(3, days=30), paid(2)], charges, held=4).lasts == dt.timedelta(days=1)


def test_short_times_are_hours() -> None:
    charges = {TODAY - dt.timedelta(days=1): 36 * USD}
    assert lasting([paid(5)], charges).text == "5 hours"
    assert lasting([paid(1)], {TODAY - dt.timedelta(days=1): 3600 * USD}).text == "1 hour"
