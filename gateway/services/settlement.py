"""The end of an exchange in the books: hold, ledger entries and usage event together, or nothing at all."""

from collections.abc import Sequence
from dataclasses import replace

from django.db import transaction

from billing.services import ledger
from billing.types import Settled, Settlement
from gateway.services.usage import UsageRecord, record_usage


def settle_exchanges(items: Sequence[tuple[Settlement, UsageRecord]]) -> list[Settled]:
    """Close the holds of finished requests and record their usage, in one transaction.

    The usage event bears the charge and the absorbed excess that the ledger decided (nano-USD). A duplicate settlement
    writes nothing: ``applied`` is False and ``charge`` is what was charged before.

    Returns:
        One answer per item, in the order of the items.
    """
    if not items:
        return []
    with transaction.atomic():
        settled = ledger.settle([settlement for settlement, _ in items])
        record_usage(
            [
                replace(record, charge=outcome.charge, absorbed=outcome.absorbed)
                for (_, record), outcome in zip(items, settled, strict=True)
                if outcome.applied
            ]
        )
    return settled
