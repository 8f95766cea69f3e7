"""Reads the credit that is left, grant by grant, in the order in which it will be spent. Amounts are nano-USD."""

import datetime as dt
import uuid
from dataclasses import dataclass

from django.db import connection

from billing.models import CreditGrant
from billing.types import GrantUse


@dataclass(frozen=True, slots=True)
class CreditLeft:
    """Credit of one kind with one expiry (None: never), summed over its grants."""

    kind: str
    remaining: int
    expires_at: dt.datetime | None


# The order is that of billing.burn_down; what has expired is gone, even where the sweeper has not written it off yet.
_LEFT = """
SELECT kind, sum(remaining)::bigint, expires_at FROM billing_creditgrant
WHERE wallet_id = %s AND remaining <> 0 AND (expires_at IS NULL OR expires_at > statement_timestamp())
GROUP BY priority, kind, expires_at
ORDER BY priority, expires_at NULLS LAST, kind DESC
"""


def credit_left_of(workspace_id: int) -> list[CreditLeft]:
    """Return what a workspace has left, what is spent first first; a debt is the last line and below zero."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFT, [workspace_id])
        return [CreditLeft(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class GrantSeen:
    """A grant as it was made, and what is left of it."""

    kind: str
    amount: int
    remaining: int
    expires_at: dt.datetime | None


def grant_from(source: str) -> GrantSeen | None:
    """Return the grant that a source made, None if it made none."""
    row = CreditGrant.objects.filter(source=source).values_list("kind", "amount", "remaining", "expires_at").first()
    return None if row is None else GrantSeen(*row)


_USES = """
SELECT g.kind, (-e.amount)::bigint, g.expires_at
FROM billing_ledgerentry e JOIN billing_creditgrant g ON g.id = e.grant_id
WHERE e.ref = %s AND e.kind = 'usage' AND e.wallet_id = %s
ORDER BY g.priority, g.expires_at NULLS LAST, g.id
"""


def grants_used(workspace_id: int, *, request_id: uuid.UUID) -> list[GrantUse]:
    """Return which grants of a workspace paid for a request, in the order in which they were spent."""
    with connection.cursor() as cursor:
        cursor.execute(_USES, [str(request_id), workspace_id])
        return [GrantUse(*row) for row in cursor.fetchall()]
