"""Usage as pages show it: rows by day and model, their sums, the chart and the CSV file, all from the same numbers."""

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

from dashboard.charts import StackedChart, days_between, rank_series, stack_bars
from dashboard.templatetags.figures import axis_usd, short_count, short_usd
from gateway.selectors.usage import DayModelUsage, UsageTotals
from lumyx.lib.money import nano_to_usd

#: A cell that begins with one of these is run as a formula by spreadsheet programs.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MEASURES = tuple(field.name for field in fields(UsageTotals))
CSV_HEADER = ("day", "model", "requests", "tokens_in", "tokens_cached", "tokens_out", "charge_usd")


def sum_of(rows: Iterable[DayModelUsage], *, since: dt.date | None = None) -> UsageTotals:
    """Return the sums of rows, of those from a day on if ``since`` is given."""
    chosen = [row.totals for row in rows if since is None or row.day >= since]
    return UsageTotals(**{name: sum(getattr(totals, name) for totals in chosen) for name in _MEASURES})


def all_tokens(totals: UsageTotals) -> int:
    """Return all tokens, in and out."""
    return totals.all_input_tokens + totals.output_tokens


#: What the chart can draw: how a value is taken, and how it is written.
METRICS: dict[str, tuple[Callable[[UsageTotals], int], Callable[[int], str]]] = {
    "charge": (lambda totals: totals.charge, short_usd),
    "requests": (lambda totals: totals.requests, short_count),
    "tokens": (all_tokens, short_count),
}


def chart_of(rows: Sequence[DayModelUsage], *, start: dt.date, end: dt.date, metric: str) -> StackedChart:
    """Return the chart of a metric (charge, requests or tokens) by model for every day from ``start`` to ``end``."""
    value, text = METRICS[metric]
    days = days_between(start, end)
    values = {(row.day, row.model): value(row.totals) for row in rows}
    tick_text = _money_tick if metric == "charge" else None
    return stack_bars(days, rank_series(values, days=days), text=text, tick_text=tick_text)


def _money_tick(nano: int, step: int) -> str:
    return axis_usd(nano, step=step) if nano else "$0"


def safe_cell(text: str) -> str:
    """Return the text so that no spreadsheet program runs it: an apostrophe before what begins like a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def csv_of(rows: Iterable[DayModelUsage]) -> str:
    """Return the rows as CSV (RFC 4180) with exact dollars; the sums are left to whoever reads it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_HEADER)
    for row in rows:
        totals = row.totals
        writer.writerow(
            (
                row.day.isoformat(),
                safe_cell(row.model),
                totals.requests,
                totals.all_input_tokens,
                totals.cache_read_tokens,
                totals.output_tokens,
                nano_to_usd(totals.charge),
            )
        )
    return out.getvalue()
