"""What the database itself guards of the books: append-only entries, locks in one order, the view of broken invariants.

Plain SQL because Django's migrations know no triggers, functions, views or storage parameters.
"""

from django.db import migrations

# Row triggers only: a TRUNCATE trigger would stop the flush between transactional tests. The REVOKE stops an owner who is
# no superuser before the trigger does.
APPEND_ONLY = """
CREATE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Ledger entries are append-only: % is refused. Correct with a new entry.', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER ledgerentry_append_only BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
REVOKE UPDATE, DELETE ON billing_ledgerentry FROM PUBLIC, CURRENT_USER;
"""

UNDO_APPEND_ONLY = """
GRANT UPDATE, DELETE ON billing_ledgerentry TO CURRENT_USER;
DROP TRIGGER ledgerentry_append_only ON billing_ledgerentry;
DROP FUNCTION billing_refuse_change();
"""

# Hot rows keep free space on their page, so that updates stay HOT; holds come and go fast.
STORAGE = """
ALTER TABLE billing_wallet SET (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200);
ALTER TABLE billing_creditgrant SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE billing_dailyquota SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE billing_hold SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
                              autovacuum_analyze_scale_factor = 0.02);
"""

UNDO_STORAGE = """
ALTER TABLE billing_wallet RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE billing_creditgrant RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE billing_dailyquota RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE billing_hold RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
                                autovacuum_analyze_scale_factor);
"""

# Each statement in a VOLATILE function has its own snapshot, so what is returned was read after the locks were taken, in
# one round trip. Missing rows are made before any lock is waited for (rows made while locks are held could deadlock), and
# both are done in the order of their keys.
LOCKS = """
CREATE FUNCTION billing_lock_wallets(ids bigint[])
RETURNS TABLE (id bigint, posted bigint, held bigint, next_expiry timestamptz, frozen boolean, suspended boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (SELECT FROM unnest(ids) AS wanted
               WHERE NOT EXISTS (SELECT FROM billing_wallet WHERE workspace_id = wanted)) THEN
        INSERT INTO billing_wallet (workspace_id, posted, held, frozen)
            SELECT w.id, 0, 0, false FROM accounts_workspace w WHERE w.id = ANY (ids) ORDER BY w.id
            ON CONFLICT DO NOTHING;
        INSERT INTO billing_creditgrant (wallet_id, kind, priority, amount, remaining, source)
            SELECT w.workspace_id, 'overdraft', 32767, 0, 0, 'overdraft:' || w.workspace_id
            FROM billing_wallet w WHERE w.workspace_id = ANY (ids) ORDER BY w.workspace_id
            ON CONFLICT DO NOTHING;
    END IF;
    PERFORM FROM billing_wallet WHERE workspace_id = ANY (ids) ORDER BY workspace_id FOR UPDATE;
    RETURN QUERY
        SELECT w.workspace_id, w.posted, w.held, w.next_expiry, w.frozen, a.suspended_at IS NOT NULL
        FROM billing_wallet w JOIN accounts_workspace a ON a.id = w.workspace_id
        WHERE w.workspace_id = ANY (ids);
END
$$;

CREATE FUNCTION billing_lock_quotas(subjects text[], on_day date)
RETURNS TABLE (subject varchar, used integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (SELECT FROM unnest(subjects) AS wanted
               WHERE NOT EXISTS (SELECT FROM billing_dailyquota q WHERE q.subject = wanted AND q.day = on_day)) THEN
        INSERT INTO billing_dailyquota (subject, day, used)
            SELECT wanted, on_day, 0 FROM unnest(subjects) AS wanted ORDER BY wanted
            ON CONFLICT DO NOTHING;
    END IF;
    PERFORM FROM billing_dailyquota q WHERE q.subject = ANY (subjects) AND q.day = on_day ORDER BY q.subject FOR UPDATE;
    RETURN QUERY
        SELECT q.subject, q.used FROM billing_dailyquota q WHERE q.subject = ANY (subjects) AND q.day = on_day;
END
$$;
"""

UNDO_LOCKS = """
DROP FUNCTION billing_lock_wallets(bigint[]);
DROP FUNCTION billing_lock_quotas(text[], date);
"""

# Empty, always. One row a broken rule: what is stored (actual) and what the other rows say (expected).
VIEW = """
CREATE VIEW billing_broken_invariants AS
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
SELECT 'entry_is_in_wallet_of_its_grant', e.wallet_id, e.id::text, e.wallet_id, g.wallet_id
FROM billing_ledgerentry e JOIN billing_creditgrant g ON g.id = e.grant_id WHERE e.wallet_id <> g.wallet_id
UNION ALL
SELECT 'hold_is_its_usage_entries', coalesce(h.wallet_id, u.wallet_id), coalesce(h.ref, u.ref),
       coalesce(h.actual, 0), coalesce(u.total, 0)
FROM (SELECT id::text AS ref, wallet_id, actual FROM billing_hold WHERE actual <> 0) h
FULL JOIN used u ON u.ref = h.ref AND u.wallet_id = h.wallet_id
WHERE coalesce(h.actual, 0) <> coalesce(u.total, 0);
"""

UNDO_VIEW = "DROP VIEW billing_broken_invariants;"


class Migration(migrations.Migration):
    """Creates triggers, storage parameters, lock functions and the view."""

    dependencies = [("accounts", "0001_initial"), ("billing", "0002_ledger_constraints")]
    operations = [
        migrations.RunSQL(APPEND_ONLY, UNDO_APPEND_ONLY),
        migrations.RunSQL(STORAGE, UNDO_STORAGE),
        migrations.RunSQL(LOCKS, UNDO_LOCKS),
        migrations.RunSQL(VIEW, UNDO_VIEW),
    ]
