"""Turns numbers by day into stacked bars: SVG geometry in attributes and classes only, so the strict style policy holds."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil

#: Colour classes of the stylesheet, in order; what has no colour of its own is summed as "Other".
SERIES_CLASSES = ("s1", "s2", "s3", "s4", "s5")
OTHER_CLASS = "s0"
OTHER_NAME = "Other models"
#: Pixels of the plot itself, and below it for the days.
PLOT_HEIGHT = 200
AXIS_HEIGHT = 24
#: A bar fills this part of its day's slot; at most this many days are labelled.
BAR_SHARE = 0.66
MAX_LABELS = 7


@dataclass(frozen=True, slots=True)
class Series:
    """One colour in the chart: a value for each day."""

    name: str
    css_class: str
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        """The sum over all days."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle: pixels from the top, and its height."""

    y: float
    height: float
    css_class: str


@dataclass(frozen=True, slots=True)
class TipLine:
    """A line of a day's tooltip."""

    name: str
    css_class: str
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """A day: where it stands (per cent of the width), its bars and what its tooltip says."""

    day: dt.date
    x: float
    width: float
    slot_x: float
    slot_width: float
    center: float
    is_labelled: bool
    bars: tuple[Bar, ...]
    total: str
    lines: tuple[TipLine, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A horizontal line and its text."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class StackedChart:
    """Everything a template needs to draw the chart."""

    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    height: int = PLOT_HEIGHT
    full_height: int = PLOT_HEIGHT + AXIS_HEIGHT

    @property
    def has_wide_axis(self) -> bool:
        """Whether the tick texts need the wider axis."""
        return max(len(tick.text) for tick in self.ticks) > 5


def days_between(start: dt.date, end: dt.date) -> list[dt.date]:
    """Return every day from ``start`` to ``end``, both included."""
    return [start + dt.timedelta(days=n) for n in range((end - start).days + 1)]


def round_step(amount: float) -> int:
    """Return the smallest whole number of the form 1, 2, 2.5 or 5 times a power of ten that is not below ``amount``."""
    for power in count():
        for tenths in (10, 20, 25, 50):
            scale: int = 10**power
            step, rest = divmod(tenths * scale, 10)
            if not rest and step >= amount:
                return step
    raise AssertionError  # count() never ends


def rank_series(values: Mapping[tuple[dt.date, str], int], *, days: Sequence[dt.date]) -> tuple[Series, ...]:
    """Return a series for each name, largest total first; from the sixth on they are one series, "Other models"."""
    totals: dict[str, int] = {}
    for (_, name), value in values.items():
        totals[name] = totals.get(name, 0) + value
    names = sorted(totals, key=lambda name: (-totals[name], name))
    keep = names if len(names) <= len(SERIES_CLASSES) else names[: len(SERIES_CLASSES)]
    series = [
        Series(name, css_class, tuple(values.get((day, name), 0) for day in days))
        for name, css_class in zip(keep, SERIES_CLASSES, strict=False)
    ]
    rest = names[len(keep) :]
    if rest:
        summed = tuple(sum(values.get((day, name), 0) for name in rest) for day in days)
        series.append(Series(OTHER_NAME, OTHER_CLASS, summed))
    return tuple(series)


def stack_bars(
    days: Sequence[dt.date],
    series: Sequence[Series],
    *,
    text: Callable[[int], str],
    tick_text: Callable[[int, int], str] | None = None,
) -> StackedChart:
    """Return the chart of ``series`` over ``days``.

    ``text`` writes a value for people; ``tick_text`` one on the axis, given the distance between ticks too.

    Raises:
        ValueError: no days, or a series whose values are not one a day.
    """
    if not days or any(len(one.values) != len(days) for one in series):
        raise ValueError("A chart needs at least one day, and one value a day in each series.")
    totals = [sum(one.values[index] for one in series) for index in range(len(days))]
    step = round_step(max(totals) / 4)
    steps = max(ceil(max(totals) / step), 1)
    top = step * steps
    slot = 100 / len(days)
    # Labels count back from the last day, so that "today" always has one.
    every = ceil(len(days) / MAX_LABELS)
    columns = tuple(
        Column(
            day=day,
            x=round((index + (1 - BAR_SHARE) / 2) * slot, 3),
            width=round(slot * BAR_SHARE, 3),
            slot_x=round(index * slot, 3),
            slot_width=round(slot, 3),
            center=round((index + 0.5) * slot, 3),
            is_labelled=(len(days) - 1 - index) % every == 0,
            bars=_stack_day(series, index, top),
            total=text(totals[index]),
            lines=tuple(
                TipLine(one.name, one.css_class, text(one.values[index]))
                for one in reversed(series)
                if one.values[index]
            ),
        )
        for index, day in enumerate(days)
    )
    ticks = tuple(
        Tick(
            round(PLOT_HEIGHT - PLOT_HEIGHT * number / steps, 1),
            tick_text(step * number, step) if tick_text else text(step * number),
        )
        for number in range(steps + 1)
    )
    return StackedChart(columns, ticks, tuple(series))


def _stack_day(series: Sequence[Series], index: int, top: int) -> tuple[Bar, ...]:
    """Return one day's bars, the first series at the bottom, one pixel apart; what is under half a pixel is left out."""
    y = float(PLOT_HEIGHT)
    bars = []
    for one in series:
        height = one.values[index] / top * PLOT_HEIGHT
        if height < 0.5:
            continue
        y -= height
        bars.append(Bar(round(y, 1), round(max(height - 1, 0.5), 1), one.css_class))
    return tuple(bars)
