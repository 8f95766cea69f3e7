"""Every charge and cost of a workspace, computed anew from its stored usage, and compared with all that was booked for it."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from billing.rating import Rates, TokenUsage, charge_for
from gateway.selectors.patience import patient_cursor
from gateway.selectors.usage_retention import first_id_kept

#: Rows that are in memory at a time.
CHUNK = 5_000
FREE = Rates(input=0, output=0)

# One statement, hence one snapshot: event, hold and entries commit together, so a difference is real. The ledger's tables are
# named here because queries through two apps would see two moments. Entries without an event come as rows of NULLs; those of
# months that were dropped have none, and are left out (``ref`` is the request's id, whose order is that of time).
_CHARGES = """
SELECT COALESCE(event.id::text, entries.ref), event.id,
       event.input_tokens, event.cache_read_tokens, event.cache_write_tokens, event.output_tokens,
       event.charge, event.absorbed, event.is_free,
       price.id, price.input, price.output, price.cache_read, price.cache_write,
       COALESCE(hold.actual, 0), COALESCE(entries.amount, 0)::bigint,
       event.cost, rates.id, rates.input, rates.output, rates.cache_read, rates.cache_write
FROM (SELECT * FROM gateway_usageevent WHERE workspace_id = %(workspace)s) AS event
FULL JOIN (
    SELECT ref, -sum(amount) AS amount FROM billing_ledgerentry
    WHERE wallet_id = %(workspace)s AND kind = 'usage' AND ref >= %(floor)s GROUP BY ref
) AS entries ON entries.ref = event.id::text
LEFT JOIN gateway_price AS price ON price.id = event.price_id
LEFT JOIN gateway_routecost AS rates ON rates.id = event.route_cost_id
LEFT JOIN billing_hold AS hold ON hold.id = event.id AND hold.wallet_id = %(workspace)s
ORDER BY 1
"""


@dataclass(slots=True)
class Audit:
    """What came of it: requests that were compared, differences, and charges whose price version does not exist any more."""

    checked: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list)
    unpriced: int = 0


def audit_charges(workspace_id: int) -> Audit:
    """Recompute all charges of a workspace and return what is wrong among them; amounts are nano-USD.

    Whatever the history's length, it is one statement, read in chunks of ``CHUNK`` rows.
    """
    audit = Audit()
    for subject, event_id, *numbers in _rows(workspace_id):
        audit.checked += 1
        numbers, cost = numbers[:-6], numbers[-6:]
        for invariant, actual, expected in (*_differences(event_id, numbers, audit), *_cost_differences(numbers, cost)):
            audit.wrong.append(
                {
                    "invariant": invariant,
                    "wallet_id": workspace_id,
                    "subject": subject,
                    "actual": actual,
                    "expected": expected,
                }
            )
    return audit


def _rows(workspace_id: int) -> Iterator[tuple[Any, ...]]:
    # The server keeps the result; we fetch a chunk at a time.
    with patient_cursor(), connection.chunked_cursor() as cursor:
        cursor.execute(_CHARGES, {"workspace": workspace_id, "floor": str(first_id_kept())})
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


def _cost_differences(numbers: list[Any], cost: list[Any]) -> Iterator[tuple[str, int, int]]:
    """Yield likewise for what the request cost us, where its cost and that version of the route's are there."""
    said, version, input_, output, read, write = cost
    if said is not None and version is not None:
        rated = charge_for(TokenUsage(*numbers[:4]), Rates(input_, output, read, write))
        if said != rated:
            yield "cost_is_usage_times_route_cost", said, rated


def _differences(event_id: uuid.UUID | None, numbers: list[Any], audit: Audit) -> Iterator[tuple[str, int, int]]:
    """Yield (invariant, actual, expected) for all that is not as it should be with one request."""
    *tokens, charge, absorbed, is_free, price_id, input_, output, read, write, held, booked = numbers
    if event_id is None:
        yield "usage_entry_has_an_event", booked, 0
        return
    rates = FREE if is_free else None if price_id is None else Rates(input_, output, read, write)
    if rates is None and any(tokens):
        audit.unpriced += 1
    else:
        rated = charge_for(TokenUsage(*tokens), rates or FREE)
        if charge + absorbed != rated:
            yield "charge_is_usage_times_price", charge + absorbed, rated
    if held != charge:
        yield "hold_is_the_charge_of_its_event", held, charge
    if booked != charge:
        yield "usage_entries_are_the_charge_of_their_event", booked, charge
