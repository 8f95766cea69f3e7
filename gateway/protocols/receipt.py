"""The receipt of a request: what was used, at which price, how the charge came about, and which credit paid it. Pure.

Nothing of upstreams is in it. Amounts are nano-USD; in JSON they are strings.
"""

import datetime as dt
import re
import uuid
from dataclasses import dataclass
from typing import Any

from billing.rating import ChargeLine, Rates, TokenUsage, charge_lines, exact_nano, rounded_up
from billing.types import GrantUse
from gateway.protocols.clients import CHAT, EMBEDDINGS, MESSAGES
from lumyx.lib.money import nano_to_usd

_PREFIXES = "|".join(re.escape(client.id_prefix) for client in (CHAT, MESSAGES, EMBEDDINGS))
_ID = re.compile(rf"(?:{_PREFIXES})?([0-9a-f]{{32}}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")
#: Who counted the tokens, as clients are told it.
SOURCES = {"upstream": "reported", "estimated": "estimated", "none": "none"}
#: What had to be put right in a report of usage, in words.
FLAGS = {
    "usage_clamped": "A count that was reported cannot be (negative, or larger than its bound): it was put into its range.",
    "reasoning_outside": "Reasoning was reported beside the output: it was added to it.",
    "usage_zero_output": "No output was reported, though there was some: our own count stands in.",
    "usage_zero_input": "No input was reported: our own count stands in.",
    "usage_unreadable": "The report could not be read: our own count stands in.",
    "test_key": "A test key sent it: nothing is charged, and no daily limit counts it.",
    "usage_stale": "Output came after the last report: our own count of it was added.",
}


class DetailsGoneError(LookupError):
    """A request is of a month whose details are not kept any more; ``since`` is the first day that is."""

    def __init__(self, since: dt.date) -> None:
        super().__init__(
            f"Details of requests before {since:%-d %B %Y} are not kept any more; what they cost is in the ledger."
        )
        self.since = since


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """A version of a model's price."""

    id: int
    version: int
    since: dt.datetime
    rates: Rates


@dataclass(frozen=True, slots=True)
class Receipt:
    """A request that has ended. ``rates`` None: its price is not known any more; ``price`` None: that, or it was free."""

    id: uuid.UUID
    model: str
    #: The kind of model; None when it has left the catalog.
    kind: str | None
    usage: TokenUsage
    usage_source: str
    flags: tuple[str, ...]
    price: PriceVersion | None
    rates: Rates | None
    charge: int
    absorbed: int
    payments: tuple[GrantUse, ...]
    status: str
    http_status: int
    error_code: str
    is_stream: bool
    is_free: bool
    started_at: dt.datetime
    first_token_ms: int | None
    duration_ms: int

    @property
    def lines(self) -> tuple[ChargeLine, ...]:
        """The arithmetic of the charge by class of tokens; empty where the price is not known."""
        return () if self.rates is None else charge_lines(self.usage, self.rates)

    @property
    def product(self) -> int:
        """Their sum, in millionths of a nano-USD."""
        return sum(line.product for line in self.lines)

    @property
    def rated(self) -> int | None:
        """That sum rounded up: what was charged, and what was absorbed; None where the price is not known."""
        return None if self.rates is None else rounded_up(self.product)

    @property
    def notes(self) -> tuple[str, ...]:
        """The flags in words."""
        return tuple(FLAGS.get(flag, flag) for flag in self.flags)


def request_id_in(text: str) -> uuid.UUID | None:
    """Return the request that an id names, in any of the forms in which clients see ids; None for what is no id."""
    found = _ID.fullmatch(text)
    return None if found is None else uuid.UUID(found[1])


def receipt_view(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as ``/generation`` answers it."""
    usage = receipt.usage
    return {
        "id": receipt.id.hex,
        "object": "generation",
        "created": int(receipt.started_at.timestamp()),
        "model": receipt.model,
        "kind": receipt.kind,
        "status": receipt.status,
        "is_stream": receipt.is_stream,
        "is_free": receipt.is_free,
        "http_status": receipt.http_status,
        "error_code": receipt.error_code or None,
        "usage": {
            "input_tokens": usage.input,
            "cache_read_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
            "output_tokens": usage.output,
            "reasoning_tokens": usage.reasoning,
        },
        "usage_source": SOURCES.get(receipt.usage_source, receipt.usage_source),
        "usage_flags": list(receipt.flags),
        "usage_notes": list(receipt.notes),
        "price": _price_view(receipt.price),
        "arithmetic": _arithmetic_view(receipt),
        "charge": nano_to_usd(receipt.charge),
        "charge_nano": str(receipt.charge),
        "absorbed": nano_to_usd(receipt.absorbed),
        "absorbed_nano": str(receipt.absorbed),
        "paid_by": [
            {
                "kind": payment.kind,
                "amount": nano_to_usd(payment.amount),
                "amount_nano": str(payment.amount),
                "expires_at": _moment(payment.expires_at),
            }
            for payment in receipt.payments
        ],
        "timings": {"first_token_ms": receipt.first_token_ms, "duration_ms": receipt.duration_ms},
    }


def _price_view(price: PriceVersion | None) -> dict[str, Any] | None:
    if price is None:
        return None
    return {
        "id": price.id,
        "version": price.version,
        "since": _moment(price.since),
        "per_million": rates_view(price.rates),
    }


def rates_view(rates: Rates) -> dict[str, str]:
    """Return US dollars per million tokens of each class, as decimal strings."""
    return {line.token_class: nano_to_usd(line.rate) for line in charge_lines(TokenUsage(), rates)}


def _arithmetic_view(receipt: Receipt) -> dict[str, Any] | None:
    if receipt.rates is None:
        return None
    return {
        "lines": [
            {
                "class": line.token_class,
                "tokens": line.tokens,
                "per_million": nano_to_usd(line.rate),
                "nano": exact_nano(line.product),
            }
            for line in receipt.lines
        ],
        "sum_nano": exact_nano(receipt.product),
        "rounded_up_nano": str(receipt.rated),
    }


def _moment(at: dt.datetime | None) -> str | None:
    return None if at is None else at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
