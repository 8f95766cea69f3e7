"""Numbers on pages are short, and exact where someone asks."""

import datetime as dt

import pytest

from dashboard.templatetags import figures

NOW = dt.datetime(2026, 11, 22, 21, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1_500_000_000, "$1.50"),
        (41_860_000_000, "$41.86"),
        (1_234_567_000_000_000, "$1,234,567.00"),
        (4_200_000, "$0.0042"),
        (999_900_000, "$0.9999"),
        (42_000, "$0.000042"),
        (12, "$0.000000012"),
        (1, "$0.000000001"),
        (-4_200_000, "-$0.0042"),
        (-2_000_000_000, "-$2.00"),
    ],
)
def test_a_total_shows_cents_and_a_small_one_its_first_digits(nano: int, text: str) -> None:
    assert figures.short_usd(nano) == text


@pytest.mark.parametrize(
    ("nano", "shown", "title"),
    [
        (5_123_456, "$0.0051", "$0.005123456"),
        (0, "$0.0000", "$0"),
        (1_250_000_001, "$1.2500", "$1.250000001"),
        (992_400, "$0.0010", "$0.0009924"),
        (99_999, "$0.000100", "$0.000099999"),
        (250, "$0.00000025", "$0.00000025"),
    ],
)
def test_a_cost_has_four_decimals_and_its_title_every_digit(nano: int, shown: str, title: str) -> None:
    html = figures.cost(nano)
    assert f">{shown}</data>" in html
    assert f'title="{title}"' in html


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (99_999, "99,999"),
        (100_000, "100.0K"),
        (182_640, "182.6K"),
        (999_960, "1.00M"),
        (1_250_000, "1.25M"),
        (48_210_000, "48.2M"),
        (3_400_000_000, "3.40B"),
    ],
)
def test_a_large_count_is_shortened(number: int, text: str) -> None:
    assert figures.short_count(number) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "–"), (0, "0 ms"), (640, "640 ms"), (4220, "4.22 s"), (59_999, "1 min 0 s"), (125_400, "2 min 5 s")],
)
def test_a_duration_picks_its_unit(milliseconds: int | None, text: str) -> None:
    assert figures.seconds(milliseconds) == text


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (dt.timedelta(seconds=-3), "just now"),
        (dt.timedelta(seconds=3), "in a moment"),
        (dt.timedelta(minutes=-5), "5 min ago"),
        (dt.timedelta(minutes=-59, seconds=-50), "1 hour ago"),
        (dt.timedelta(hours=3), "in 3 hours"),
        (dt.timedelta(days=-2), "2 days ago"),
        (dt.timedelta(days=-40), "13 Oct 2026"),
    ],
)
def test_a_moment_is_told_from_now(delta: dt.timedelta, text: str) -> None:
    assert figures.relative_text(NOW + delta, now=NOW) == text


def test_a_moment_has_the_exact_time_in_its_title() -> None:
    html = figures.moment(dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=2))))
    assert 'title="2026-01-02 01:04:05 UTC"' in html
    assert 'datetime="2026-01-02T01:04:05+00:00"' in html


def test_no_moment_says_never() -> None:
    assert "Never used" in figures.moment(None, never="Never used")


@pytest.mark.parametrize(
    ("step", "texts"),
    [
        (100_000_000, ["$0.10", "$0.30"]),
        (2_500_000, ["$0.0025", "$0.0075"]),
        (2_000_000_000, ["$2", "$6"]),
        (2_500_000_000, ["$2.50", "$7.50"]),
    ],
)
def test_the_ticks_of_an_axis_have_the_same_decimals(step: int, texts: list[str]) -> None:
    assert [figures.axis_usd(step * number, step=step) for number in (1, 3)] == texts
