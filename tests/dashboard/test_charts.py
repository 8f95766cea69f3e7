"""The stacked bars: their geometry adds up, and nothing in them needs an inline style."""

import datetime as dt

import pytest

from dashboard import charts

FIRST = dt.date(2026, 11, 1)
DAYS = charts.days_between(FIRST, FIRST + dt.timedelta(days=6))


def series(name: str, *values: int, css_class: str = "s1") -> charts.Series:
    return charts.Series(name, css_class, values)


def test_days_between_has_both_ends_and_crosses_a_leap_day() -> None:
    days = charts.days_between(dt.date(2028, 2, 28), dt.date(2028, 3, 1))
    assert [day.day for day in days] == [28, 29, 1]


@pytest.mark.parametrize(
    ("amount", "step"), [(0, 1), (0.3, 1), (1.5, 2), (2.1, 5), (21, 25), (26, 50), (51, 100), (7_400_000, 10_000_000)]
)
def test_a_step_is_round_and_whole(amount: float, step: int) -> None:
    assert charts.round_step(amount) == step


def test_bars_of_a_day_stack_up_to_its_total() -> None:
    chart = charts.stack_bars(
        DAYS,
        [series("a", 10, 0, 0, 0, 0, 0, 40), series("b", 30, 0, 0, 0, 0, 0, 40, css_class="s2")],
        text=str,
    )
    first, last = chart.columns[0], chart.columns[-1]
    assert chart.ticks[-1].text == "80"
    assert chart.ticks[-1].y == 0
    # The top of the highest day touches the top line, a half day's the middle; one pixel parts the bars.
    assert min(bar.y for bar in last.bars) == 0
    assert min(bar.y for bar in first.bars) == 100
    assert [bar.css_class for bar in first.bars] == ["s1", "s2"]
    assert first.bars[0].y + first.bars[0].height == pytest.approx(199)
    assert first.bars[1].y + first.bars[1].height == pytest.approx(first.bars[0].y - 1)
    assert chart.columns[1].bars == ()


def test_columns_fill_the_width_without_overlap() -> None:
    chart = charts.stack_bars(DAYS, [series("a", *range(7))], text=str)
    for left, right in zip(chart.columns, chart.columns[1:], strict=False):
        assert left.slot_x + left.slot_width == pytest.approx(right.slot_x, abs=0.01)
        assert left.x + left.width < right.x
    assert chart.columns[-1].slot_x + chart.columns[-1].slot_width == pytest.approx(100, abs=0.01)


def test_the_tooltip_names_what_was_used_that_day_only() -> None:
    chart = charts.stack_bars(
        DAYS, [series("a", 1, 0, 0, 0, 0, 0, 0), series("b", 2, 5, 0, 0, 0, 0, 0)], text=lambda value: f"${value}"
    )
    assert [(line.name, line.text) for line in chart.columns[0].lines] == [("b", "$2"), ("a", "$1")]
    assert [line.name for line in chart.columns[1].lines] == ["b"]
    assert chart.columns[2].lines == ()
    assert chart.columns[0].total == "$3"


def test_the_last_day_is_labelled_and_labels_stay_few() -> None:
    days = charts.days_between(FIRST, FIRST + dt.timedelta(days=89))
    chart = charts.stack_bars(days, [series("a", *([1] * 90))], text=str)
    assert chart.columns[-1].is_labelled
    assert sum(column.is_labelled for column in chart.columns) <= charts.MAX_LABELS


def test_a_chart_of_nothing_still_has_its_axis() -> None:
    chart = charts.stack_bars(DAYS, [], text=str)
    assert [tick.text for tick in chart.ticks] == ["0", "1"]
    assert all(column.bars == () for column in chart.columns)


@pytest.mark.parametrize("days", [[], DAYS[:3]])
def test_values_that_do_not_fit_the_days_are_refused(days: list[dt.date]) -> None:
    with pytest.raises(ValueError, match="one value a day"):
        charts.stack_bars(days, [series("a", 1)], text=str)


def test_series_are_ranked_and_the_sixth_on_is_other() -> None:
    values = {(FIRST, f"model-{n}"): n for n in range(1, 8)}
    values[DAYS[1], "model-1"] = 100
    ranked = charts.rank_series(values, days=DAYS[:2])
    assert [one.name for one in ranked] == ["model-1", "model-7", "model-6", "model-5", "model-4", charts.OTHER_NAME]
    assert ranked[0].values == (1, 100)
    assert ranked[0].css_class == "s1"
    assert ranked[-1].css_class == charts.OTHER_CLASS
    assert ranked[-1].values == (2 + 3, 0)
    assert sum(one.total for one in ranked) == sum(values.values())


def test_equal_models_keep_one_order() -> None:
    values = {(FIRST, name): 5 for name in ("b", "a", "c")}
    assert [one.name for one in charts.rank_series(values, days=[FIRST])] == ["a", "b", "c"]
