"""Which usage events are still there, and of which only sums and ledger entries are."""

import datetime as dt
import uuid

from django.db.models import Max

from gateway.models import DroppedUsage

#: Before every request.
_NO_ID = uuid.UUID(int=0)


def oldest_month_kept() -> dt.date | None:
    """Return the first day of the oldest month whose events are there; None: nothing was ever dropped."""
    newest = DroppedUsage.objects.aggregate(newest=Max("month"))["newest"]
    return None if newest is None else (newest + dt.timedelta(days=31)).replace(day=1)


def first_id_kept() -> uuid.UUID:
    """Return the smallest id that a request of the oldest month kept can have; zero: nothing was ever dropped."""
    month = oldest_month_kept()
    if month is None:
        return _NO_ID
    at = dt.datetime.combine(month, dt.time(), tzinfo=dt.UTC)
    # As gateway_uuid7_floor in the database: 48 bits of milliseconds, version 7, variant 2.
    return uuid.UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))


def details_are_gone(request_id: uuid.UUID) -> bool:
    """Tell whether a request is of a month that was dropped, so that no usage event of it is to be expected."""
    return request_id < first_id_kept()
