"""The one reader of time."""

import datetime as dt

import pytest

from lumyx.lib import clock


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().utcoffset() == dt.timedelta()


def test_the_monotonic_clock_does_not_go_back() -> None:
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


@pytest.mark.parametrize(
    ("at", "left"),
    [
        ("2026-11-22T00:00:00+00:00", dt.timedelta(days=1)),
        ("2026-11-22T23:59:59+00:00", dt.timedelta(seconds=1)),
        ("2026-12-31T12:00:00+00:00", dt.timedelta(hours=12)),
        # 01:30 in a zone one hour ahead is 00:30 UTC.
        ("2026-11-22T01:30:00+01:00", dt.timedelta(hours=23, minutes=30)),
    ],
)
def test_the_day_ends_at_midnight_utc(at: str, left: dt.timedelta) -> None:
    assert clock.until_midnight(dt.datetime.fromisoformat(at)) == left


def test_a_time_of_another_zone_is_the_same_time_in_utc() -> None:
    at = clock.in_utc(dt.datetime.fromisoformat("2026-11-22T01:30:00+01:00"))
    assert at.isoformat() == "2026-11-22T00:30:00+00:00"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2030-01-01T00:00:00"])
def test_a_time_that_is_none_in_utc_is_refused(at: str) -> None:
    with pytest.raises(ValueError, match=r"UTC|no time zone"):
        clock.in_utc(dt.datetime.fromisoformat(at))
