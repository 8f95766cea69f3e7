"""In place of foreign keys on the busiest tables: wallets and grants are never deleted, and the view knows rows without one."""

from importlib import import_module

from django.db import migrations

KEEP = """
CREATE FUNCTION billing_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Wallets and grants are part of the books: they are never deleted.' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER wallet_is_kept BEFORE DELETE ON billing_wallet FOR EACH ROW EXECUTE FUNCTION billing_refuse_delete();
CREATE TRIGGER grant_is_kept BEFORE DELETE ON billing_creditgrant FOR EACH ROW EXECUTE FUNCTION billing_refuse_delete();
"""

UNDO_KEEP = """
DROP TRIGGER wallet_is_kept ON billing_wallet;
DROP TRIGGER grant_is_kept ON billing_creditgrant;
DROP FUNCTION billing_refuse_delete();
"""

# Empty, always. One row a broken rule: what is stored (actual) and what the other rows say (expected).
VIEW = """
CREATE OR REPLACE VIEW billing_broken_invariants AS
WITH by_grant AS (
    SELECT grant_id, sum(amount) AS total FROM billing_ledgerentry GROUP BY grant_id
), by_wallet AS (
    SELECT wallet_id, sum(amount) AS total, coalesce(sum(amount) FILTER (WHERE contra = 'debt'), 0) AS debt
    FROM billing_ledgerentry GROUP BY wallet_id
), remaining AS (
    SELECT wallet_id, sum(remaining) AS total, count(*) FILTER (WHERE kind = 'overdraft') AS overdrafts
    FROM billing_creditgrant GROUP BY wallet_id
), open_holds AS (
    SELECT wallet_id, sum(amount) AS total FROM billing_hold WHERE state = 'open' GROUP BY wallet_id
), used AS (
    SELECT ref, wallet_id, -sum(amount) AS total FROM billing_ledgerentry WHERE kind = 'usage' GROUP BY ref, wallet_id
)
SELECT 'posted_is_sum_of_entries' AS invariant, w.workspace_id AS wallet_id, w.workspace_id::text AS subject,
       w.posted::numeric AS actual, coalesce(e.total, 0) AS expected
FROM billing_wallet w LEFT JOIN by_wallet e ON e.wallet_id = w.workspace_id
WHERE w.posted <> coalesce(e.total, 0)
UNION ALL
SELECT 'posted_is_sum_of_remaining', w.workspace_id, w.workspace_id::text, w.posted, coalesce(r.total, 0)
FROM billing_wallet w LEFT JOIN remaining r ON r.wallet_id = w.workspace_id
WHERE w.posted <> coalesce(r.total, 0)
UNION ALL
SELECT 'held_is_sum_of_open_holds', w.workspace_id, w.workspace_id::text, w.held, coalesce(h.total, 0)
FROM billing_wallet w LEFT JOIN open_holds h ON h.wallet_id = w.workspace_id
WHERE w.held <> coalesce(h.total, 0)
UNION ALL
SELECT 'one_overdraft_grant', w.workspace_id, w.workspace_id::text, coalesce(r.overdrafts, 0), 1
FROM billing_wallet w LEFT JOIN remaining r ON r.wallet_id = w.workspace_id
WHERE coalesce(r.overdrafts, 0) <> 1
UNION ALL
SELECT 'debt_nets_to_zero', e.wallet_id, e.wallet_id::text, e.debt, 0 FROM by_wallet e WHERE e.debt <> 0
UNION ALL
SELECT 'remaining_is_sum_of_entries', g.wallet_id, g.source, g.remaining, coalesce(e.total, 0)
FROM billing_creditgrant g LEFT JOIN by_grant e ON e.grant_id = g.id
WHERE g.remaining <> coalesce(e.total, 0)
UNION ALL
SELECT 'remaining_in_range', g.wallet_id, g.source, g.remaining, greatest(0, least(g.remaining, g.amount))
FROM billing_creditgrant g
WHERE CASE g.kind WHEN 'overdraft' THEN g.remaining > 0 OR g.amount <> 0
                  ELSE g.remaining < 0 OR g.remaining > g.amount END
UNION ALL
SELECT 'grant_is_effective', g.wallet_id, g.source, 1, 0
FROM billing_creditgrant g WHERE g.effective_at > clock_timestamp()
UNION ALL
SELECT 'entry_is_in_wallet_of_its_grant', e.wallet_id, e.id::text, e.wallet_id, coalesce(g.wallet_id, 0)
FROM billing_ledgerentry e LEFT JOIN billing_creditgrant g ON g.id = e.grant_id WHERE e.wallet_id IS DISTINCT FROM g.wallet_id
UNION ALL
SELECT 'hold_has_a_wallet', h.wallet_id, h.id::text, 0, 1
FROM billing_hold h WHERE NOT EXISTS (SELECT FROM billing_wallet w WHERE w.workspace_id = h.wallet_id)
UNION ALL
SELECT 'hold_is_its_usage_entries', coalesce(h.wallet_id, u.wallet_id), coalesce(h.ref, u.ref),
       coalesce(h.actual, 0), coalesce(u.total, 0)
FROM (SELECT id::text AS ref, wallet_id, actual FROM billing_hold WHERE actual <> 0) h
FULL JOIN used u ON u.ref = h.ref AND u.wallet_id = h.wallet_id
WHERE coalesce(h.actual, 0) <> coalesce(u.total, 0);
"""

UNDO_VIEW = import_module("billing.migrations.0003_ledger_books").VIEW.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")


class Migration(migrations.Migration):
    """Creates the triggers and renews the view."""

    dependencies = [("billing", "0006_lean_books")]
    operations = [migrations.RunSQL(KEEP, UNDO_KEEP), migrations.RunSQL(VIEW, UNDO_VIEW)]
