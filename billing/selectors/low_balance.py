"""Which balances fell below a threshold, and were not told of. Amounts are nano-USD."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

# One statement, so one snapshot: what is posted beside the entries that made it. A wallet is below a threshold and is to be told if
# it was at the threshold or above after its last notice about this threshold or a lower one. The balance after an entry is what is
# posted now, less all that came later; within one operation (one ``ref``) only the balance after its last entry means anything.
# Only wallets that are low, and were ever given as much as the threshold, have entries read: those since their last notice.
_FALLEN = """
SELECT DISTINCT ON (low.workspace_id) low.workspace_id, low.posted, low.threshold, since.above, since.newest
FROM (
    SELECT w.workspace_id, w.posted, t.threshold,
           coalesce((SELECT max((n.facts->>'entry')::bigint) FROM billing_notice n
                     WHERE n.workspace_id = w.workspace_id AND n.kind = 'low_balance'
                       AND (n.facts->>'threshold')::bigint <= t.threshold), 0) AS seen
    FROM billing_wallet w CROSS JOIN unnest(%s::bigint[]) AS t (threshold)
    WHERE w.posted < t.threshold
      AND t.threshold <= (SELECT sum(g.amount) FROM billing_creditgrant g WHERE g.wallet_id = w.workspace_id)
      AND EXISTS (SELECT FROM billing_ledgerentry e WHERE e.wallet_id = w.workspace_id AND e.kind = 'usage')
) low
CROSS JOIN LATERAL (
    SELECT max(e.id) AS newest, max(e.id) FILTER (WHERE e.is_last AND e.balance >= low.threshold) AS above
    FROM (SELECT id, coalesce(lag(ref) OVER later <> ref, true) AS is_last,
                 low.posted - coalesce(sum(amount) OVER (later ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS balance
          FROM billing_ledgerentry WHERE wallet_id = low.workspace_id AND id > low.seen
          WINDOW later AS (ORDER BY id DESC)) e
) since
WHERE since.above IS NOT NULL
ORDER BY low.workspace_id, low.threshold
"""


@dataclass(frozen=True, slots=True)
class Fallen:
    """A workspace whose balance fell below a threshold."""

    workspace_id: int
    balance: int
    threshold: int
    #: The last entry after which the balance was not below the threshold, and the newest one.
    above: int
    newest: int


def fallen_below(thresholds: Sequence[int]) -> list[Fallen]:
    """Return the workspaces whose balance fell below a threshold since their last notice of it, each with the lowest one."""
    with connection.cursor() as cursor:
        cursor.execute(_FALLEN, [list(thresholds)])
        return [Fallen(*row) for row in cursor.fetchall()]
