"""Reads how much of a daily quota is used: the same row, and the same clock (the database's), that admission counts by."""

from dataclasses import dataclass

from django.db import connection

from billing.types import Entitlements


@dataclass(frozen=True, slots=True)
class DailyAllowance:
    """Requests to free models on the present UTC day. ``limit`` 0 is unlimited."""

    limit: int
    used: int

    @property
    def remaining(self) -> int | None:
        """How many are left; None: there is no limit. A limit that was lowered during the day leaves none, never less."""
        return max(self.limit - self.used, 0) if self.limit else None


def daily_allowance_of(entitlements: Entitlements) -> DailyAllowance:
    """Return what the quota's subject (a workspace, or all Free workspaces of one owner) has used today."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT used FROM billing_dailyquota"
            " WHERE subject = %s AND day = (statement_timestamp() AT TIME ZONE 'UTC')::date",
            [entitlements.quota_subject],
        )
        row = cursor.fetchone()
    return DailyAllowance(limit=entitlements.daily_requests, used=row[0] if row else 0)
