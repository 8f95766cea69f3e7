"""Where credit is to be bought by itself: what is available against the threshold that a workspace set. Amounts are nano-USD."""

from django.db import connection

# Credit that has expired does not count, even where the sweeper has not written it off yet.
_BELOW = """
SELECT t.workspace_id
FROM billing_autotopup t
JOIN accounts_workspace a ON a.id = t.workspace_id
LEFT JOIN billing_wallet w ON w.workspace_id = t.workspace_id
WHERE (t.is_on AND a.suspended_at IS NULL AND NOT coalesce(w.frozen, false)
       AND coalesce(w.posted - w.held, 0) - coalesce((
           SELECT sum(g.remaining) FROM billing_creditgrant g
           WHERE g.wallet_id = t.workspace_id AND g.remaining > 0 AND g.expires_at <= statement_timestamp()), 0)
           < t.threshold)
"""
_IN_FLIGHT = """
   OR EXISTS (SELECT FROM billing_creditorder o
              WHERE o.workspace_id = t.workspace_id AND o.kind = 'top_up' AND o.state = 'open')
"""


def workspaces_below() -> list[int]:
    """Return the workspaces that want a top-up now, or have one that is not finished."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_BELOW} {_IN_FLIGHT} ORDER BY t.workspace_id")
        return [row[0] for row in cursor.fetchall()]


def is_below(workspace_id: int) -> bool:
    """Tell whether a workspace has less than its threshold."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_BELOW} AND t.workspace_id = %s", [workspace_id])
        return cursor.fetchone() is not None
