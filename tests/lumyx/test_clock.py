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
