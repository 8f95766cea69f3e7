"""The end of an exchange in the books: hold, ledger entries and usage event together, or nothing at all."""

from collections.abc import Sequence
from copy import replace

from django.db import transaction

from billing.services import ledger
from billing.types import Settled, Settlement
from gateway.services.usage import UsageRecord, record_usage, usage_columns, usage_values
from lumyx.lib.prepared import Parameters, Prepared, Rows

type Ending = tuple[Settlement, UsageRecord]


def _parameters(items: Sequence[Ending]) -> Parameters | None:
    columns = ledger.settle_parameters([settlement for settlement, _ in items])
    return None if columns is None else [*columns, *usage_columns([record for _, record in items])]


def _one_parameters(items: Sequence[Ending]) -> Parameters | None:
    ((settlement, record),) = items
    values = ledger.settle_one_parameters([settlement])
    return None if values is None else [*values, *usage_values(record)]


def _answers(items: Sequence[Ending], rows: Rows) -> list[Settled] | None:
    return ledger.settle_answers([settlement for settlement, _ in items], rows)


#: The usual case in one round trip (migration gateway.0014): billing's function closes the holds, then the events are added.
SETTLE = Prepared(
    "gateway_settle_plain",
    "SELECT gateway_settle_plain($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],"
    " $8::bigint[], $9::int[], $10::int[], $11::int[], $12::int[], $13::int[], $14::bigint[], $15::text[], $16::text[],"
    " $17::text[], $18::smallint[], $19::text[], $20::boolean[], $21::boolean[], $22::timestamptz[], $23::int[], $24::int[])",
    _parameters,
    _answers,
    single=Prepared(
        "gateway_settle_one",
        f"SELECT gateway_settle_one({', '.join(f'${number}' for number in range(1, 25))})",
        _one_parameters,
        _answers,
    ),
)


def settle_exchanges(items: Sequence[Ending]) -> list[Settled]:
    """Close the holds of finished requests and record their usage, in one transaction.

    The usage event bears the charge and the absorbed excess that the ledger decided (nano-USD). A duplicate settlement
    writes nothing: ``applied`` is False and ``charge`` is what was charged before.

    Returns:
        One answer per item, in the order of the items.

    Raises:
        ValueError: a rated amount below zero.
    """
    return (SETTLE.run(items) or _settle_one_by_one(items)) if items else []


def _settle_one_by_one(items: Sequence[Ending]) -> list[Settled]:
    with transaction.atomic():
        settled = ledger.settle_one_by_one([settlement for settlement, _ in items])
        record_usage(
            [
                replace(record, charge=outcome.charge, absorbed=outcome.absorbed)
                for (_, record), outcome in zip(items, settled, strict=True)
                if outcome.applied
            ]
        )
    return settled
