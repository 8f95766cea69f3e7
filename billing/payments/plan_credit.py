"""What a paid invoice is worth in VIP credit, from its own lines alone. Pure: no Django, no Stripe.

A full period gives its tier's credit, month by month. A change inside of a period gives the difference for the rest of it: what the
dearer tier would have given in that time, less what the tier before it gave already. Amounts are US cents for money and nano-USD
for credit.
"""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from billing.payments.errors import NotAppliedError
from billing.payments.subscription_objects import Line, StripeInvoice
from billing.periods import month_after, months_between, share_of

MONTH, YEAR = "month", "year"
#: Why an invoice was made: a change inside of a period, and a renewal.
_CHANGE, _RENEWAL = "subscription_update", "subscription_cycle"


@dataclass(frozen=True, slots=True)
class TierPrice:
    """What a price sells: a version of a tier, by the month or by the year, for ``cents``."""

    tier_slug: str
    interval: str
    cents: int
    #: nano-USD a month.
    monthly_credits: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A stretch that was paid for, with its credit a month."""

    source: str
    tier_slug: str
    interval: str
    monthly_credits: int
    replaced_credits: int
    anchor_at: dt.datetime
    starts_at: dt.datetime
    ends_at: dt.datetime

    @property
    def first_month(self) -> int:
        """The credit that comes when it begins, in nano-USD."""
        amount = self.monthly_credits
        if self.interval == YEAR:
            _, opens, closes = next(months_between(self.anchor_at, self.starts_at, self.ends_at))
            amount = share_of(amount, closes - max(opens, self.starts_at), closes - opens)
        return max(0, amount - self.replaced_credits)


@dataclass(frozen=True, slots=True)
class Change:
    """Credit for the rest of a month in which a tier became a dearer one."""

    source: str
    tier_slug: str
    amount: int
    starts_at: dt.datetime
    ends_at: dt.datetime


type _Sold = tuple[Line, TierPrice]


def credit_of(
    invoice: StripeInvoice, lines: Sequence[Line], prices: Mapping[str, TierPrice], *, anchor: int
) -> tuple[list[Plan], Change | None]:
    """Return the stretches that an invoice pays for, and the credit that comes once.

    Args:
        invoice: of a subscription; whether it is paid is not looked at.
        lines: all of its lines.
        prices: what each price of its lines sells, by the price's id.
        anchor: of the subscription, Unix seconds: months are counted from there.

    Raises:
        NotAppliedError: a line of a price that is not known, or of more than one piece.
    """
    whole: list[_Sold] = []
    parts: list[_Sold] = []
    for line in lines:
        if line.period.end > line.period.start:
            (parts if line.is_proration else whole).append((line, _sold_by(line, prices)))
    plans = [
        _plan(
            f"{invoice.id}:{line.id}",
            line,
            price,
            anchor=anchor,
            replaced=_replaced(parts) if invoice.billing_reason == _CHANGE else 0,
        )
        for line, price in whole
        # A trial costs nothing and gives none. A coupon is not in the line's amount, and takes nothing off the credit.
        if line.amount > 0 or not price.cents
    ]
    source = f"{invoice.id}:change"
    begun = [(line, price) for line, price in parts if line.amount > 0]
    if not plans and begun and begun[-1][1].interval == YEAR:
        line, price = begun[-1]
        return [_plan(source, line, price, anchor=anchor, replaced=_replaced(parts))], None
    if not begun or (invoice.billing_reason == _CHANGE and plans):
        return plans, None
    extra = math.floor(sum((_worth(line, price) for line, price in parts), Fraction(0)))
    if extra <= 0:
        return plans, None
    # Parts that were left for the renewal's invoice are of a month that is over: their credit is for the one that begins.
    span = whole[-1][0].period if whole else begun[-1][0].period
    return plans, Change(source, begun[-1][1].tier_slug, extra, _at(span.start), _at(span.end))


def _sold_by(line: Line, prices: Mapping[str, TierPrice]) -> TierPrice:
    price = prices.get(line.price or "")
    if price is None:
        raise NotAppliedError(
            f"The line {line.id} is of the price {line.price}, which sells no tier. `manage.py stripe sync` makes ours."
        )
    if line.quantity not in {None, 1}:
        raise NotAppliedError(f"The line {line.id} is for {line.quantity} pieces; a tier is sold once.")
    return price


def _plan(source: str, line: Line, price: TierPrice, *, anchor: int, replaced: int) -> Plan:
    start, end = _at(line.period.start), _at(line.period.end)
    return Plan(
        source,
        price.tier_slug,
        price.interval,
        _monthly(line, price),
        replaced,
        _anchor(anchor, start, end),
        start,
        end,
    )


def _monthly(line: Line, price: TierPrice) -> int:
    """Return the credit a month: of a month that was sold in part (to a day that an operator chose) the same part."""
    if price.interval == YEAR or not 0 < line.amount < price.cents:
        return price.monthly_credits
    return math.floor(_worth(line, price))


def _anchor(anchor: int, start: dt.datetime, end: dt.datetime) -> dt.datetime:
    """Return the anchor if the stretch is still counted from it, else the stretch's own beginning.

    They differ where the period began anew since, and in nothing but a 29 February.
    """
    at = _at(anchor)
    is_ours = at <= start and month_after(at, (end.year - at.year) * 12 + end.month - at.month) == end
    return at if is_ours else start


def _worth(line: Line, price: TierPrice) -> Fraction:
    """Return a line's credit: the same share of the month's credit as its amount is of the month's price."""
    return Fraction(line.amount * price.monthly_credits, price.cents) if price.cents else Fraction(0)


def _replaced(parts: Sequence[_Sold]) -> int:
    """Return what was given already for the rest of the month in which a change came."""
    given = 0
    for line, price in parts:
        if line.amount >= 0:
            continue
        if price.interval == MONTH:
            given += math.floor(-_worth(line, price))
        else:
            # A year's credit comes by the month: of what is paid back only the rest of this month was given.
            start, end = _at(line.period.start), _at(line.period.end)
            month = months_between(end, start, start + dt.timedelta(microseconds=1))
            given += sum(share_of(price.monthly_credits, closes - start, closes - opens) for _, opens, closes in month)
    return given


def _at(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
