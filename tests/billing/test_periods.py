"""Months from an anchor: the same day or the month's last, never drifting."""

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.periods import month_after, months_between, share_of

UTC = dt.UTC


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, dt.datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (1, dt.datetime(2026, 2, 28, 9, 30, tzinfo=UTC)),
        (2, dt.datetime(2026, 3, 31, 9, 30, tzinfo=UTC)),
        (3, dt.datetime(2026, 4, 30, 9, 30, tzinfo=UTC)),
        (12, dt.datetime(2027, 1, 31, 9, 30, tzinfo=UTC)),
        (25, dt.datetime(2028, 2, 29, 9, 30, tzinfo=UTC)),
        (-2, dt.datetime(2025, 11, 30, 9, 30, tzinfo=UTC)),
    ],
)
def test_month_ends_count_from_the_anchor(count: int, expected: dt.datetime) -> None:
    assert month_after(dt.datetime(2026, 1, 31, 9, 30, tzinfo=UTC), count) == expected


def test_the_months_of_a_stretch() -> None:
    anchor = dt.datetime(2026, 1, 31, tzinfo=UTC)
    start, end = dt.datetime(2026, 3, 1, tzinfo=UTC), dt.datetime(2026, 4, 30, tzinfo=UTC)
    assert list(months_between(anchor, start, end)) == [
        (1, dt.datetime(2026, 2, 28, tzinfo=UTC), dt.datetime(2026, 3, 31, tzinfo=UTC)),
        (2, dt.datetime(2026, 3, 31, tzinfo=UTC), dt.datetime(2026, 4, 30, tzinfo=UTC)),
    ]


moments = st.integers(0, 6 * 366 * 86_400).map(
    lambda seconds: dt.datetime(2024, 1, 1, tzinfo=UTC) + dt.timedelta(seconds=seconds)
)


@given(moments, moments, st.timedeltas(dt.timedelta(seconds=1), dt.timedelta(days=800)))
def test_months_join_without_gaps_and_cover_the_stretch(
    anchor: dt.datetime, start: dt.datetime, length: dt.timedelta
) -> None:
    end = start + length
    months = list(months_between(anchor, start, end))
    assert months[0][1] <= start < months[0][2]
    assert months[-1][1] < end <= months[-1][2]
    for (number, _, closes), (later, opens, _end) in itertools.pairwise(months):
        assert (later, opens) == (number + 1, closes)
    for number, opens, closes in months:
        assert opens == month_after(anchor, number)
        assert dt.timedelta(days=27) < closes - opens < dt.timedelta(days=32)


def test_a_share_is_rounded_down() -> None:
    assert share_of(10, dt.timedelta(days=1), dt.timedelta(days=3)) == 3
    assert share_of(9_000_000_000, dt.timedelta(hours=12), dt.timedelta(days=1)) == 4_500_000_000
