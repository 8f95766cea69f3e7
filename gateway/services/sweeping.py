"""Closes holds whose request never came back (a killed process), so that no credit stays set aside for ever."""

from django.db import transaction

from billing.services import ledger
from billing.types import ExpiredHold
from gateway.models.usage import UsageSource, UsageStatus
from gateway.services.usage import UsageRecord, record_usage
from lumyx.lib import clock

#: What the client most likely saw: the process that served it went away.
EXPIRED_HTTP_STATUS = 500
EXPIRED_CODE = "hold_expired"


def sweep_expired_holds(*, limit: int = 1000) -> int:
    """Expire due holds and record each as a usage event without a charge; returns how many.

    Batches of ``limit``, each in its own transaction, until none is due. A settlement that comes later still charges and
    amends the event.
    """
    total = 0
    while True:
        with transaction.atomic():
            expired = ledger.expire_holds(limit=limit)
            record_usage([_record_of(hold) for hold in expired])
        total += len(expired)
        if len(expired) < limit:
            return total


def _record_of(hold: ExpiredHold) -> UsageRecord:
    lasted = (clock.now() - hold.created_at).total_seconds()
    return UsageRecord(
        id=hold.request_id,
        workspace_id=hold.workspace_id,
        api_key_id=hold.api_key_id,
        model=hold.model,
        usage_source=UsageSource.NONE,
        status=UsageStatus.EXPIRED,
        http_status=EXPIRED_HTTP_STATUS,
        error_code=EXPIRED_CODE,
        is_free=hold.is_free,
        started_at=hold.created_at,
        duration_ms=max(0, min(int(lasted * 1000), 2**31 - 1)),
    )
