"""What another price would mean before it is made: class by class, and for the tokens that the last days' requests used."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from django.db.models import Sum

from billing.rating import Rates, TokenUsage, charge_lines, rounded_up
from gateway.models import CatalogModel, UpstreamUsage
from lumyx.lib import clock

PERIODS = (7, 30)


@dataclass(frozen=True, slots=True)
class ClassChange:
    """A class of tokens under the present price and under the new one, in nano-USD per million; ``old`` None: no price yet."""

    token_class: str
    old: int | None
    new: int

    @property
    def name(self) -> str:
        """The class in words."""
        return self.token_class.replace("_", " ").capitalize()

    @property
    def percent(self) -> Decimal | None:
        """How much dearer, to a tenth of a percent; below zero: cheaper. None where that is no number."""
        return _percent(self.old, self.new)


@dataclass(frozen=True, slots=True)
class UsageEffect:
    """The tokens of some days, rated: ``charged`` is what was charged for them, as it was rated then; nano-USD."""

    days: int
    requests: int
    charged: int
    before: int | None
    after: int

    @property
    def difference(self) -> int | None:
        """What the new price brings more than the present one; below zero: less."""
        return None if self.before is None else self.after - self.before

    @property
    def percent(self) -> Decimal | None:
        """The difference as a part of the present price's charge, to a tenth of a percent."""
        return _percent(self.before, self.after)


@dataclass(frozen=True, slots=True)
class PricePreview:
    """Another price against the present one."""

    changes: list[ClassChange]
    effects: list[UsageEffect]

    @property
    def changes_nothing(self) -> bool:
        """Whether every class costs what it does now."""
        return all(change.old == change.new for change in self.changes)


def preview_of(model: CatalogModel, *, old: Rates | None, new: Rates, periods: Sequence[int] = PERIODS) -> PricePreview:
    """Return what ``new`` would mean for a model that costs ``old`` now (None: it has no price).

    Sums of tokens are rated, from the roll-ups by UTC day, today included: each request is rounded up to a nano-dollar, so what
    would really have been charged is above by less than that for each. Requests that were not charged in full count in full.
    """
    before = dict(_rates_by_class(old)) if old else {}
    changes = [ClassChange(name, before.get(name), rate) for name, rate in _rates_by_class(new)]
    return PricePreview(changes, [_effect(model, days=days, old=old, new=new) for days in periods])


def _effect(model: CatalogModel, *, days: int, old: Rates | None, new: Rates) -> UsageEffect:
    measures = ("requests", "charge", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    since = clock.now().date() - dt.timedelta(days=days - 1)
    rows = UpstreamUsage.objects.filter(model=model.public_id, day__gte=since)
    used = {name: value or 0 for name, value in rows.aggregate(**{name: Sum(name) for name in measures}).items()}
    tokens = TokenUsage(
        input=used["input_tokens"],
        cache_read=used["cache_read_tokens"],
        cache_write=used["cache_write_tokens"],
        output=used["output_tokens"],
    )
    return UsageEffect(
        days=days,
        requests=used["requests"],
        charged=used["charge"],
        before=None if old is None else _rated(tokens, old),
        after=_rated(tokens, new),
    )


def _rated(tokens: TokenUsage, rates: Rates) -> int:
    return rounded_up(sum(line.product for line in charge_lines(tokens, rates)))


def _rates_by_class(rates: Rates) -> list[tuple[str, int]]:
    """Return what each class costs; one without a price of its own costs what input costs."""
    return [(line.token_class, line.rate) for line in charge_lines(TokenUsage(), rates)]


def _percent(old: int | None, new: int) -> Decimal | None:
    if old is None or (old == 0 and new != 0):
        return None
    if old == new:
        return Decimal(0)
    return (Decimal((new - old) * 100) / old).quantize(Decimal("0.1"), ROUND_HALF_EVEN)
