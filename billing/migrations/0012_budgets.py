"""Budgets of keys and members: what is used of them in each period, kept by the usual end of requests (0005) and by the view.

The usual admission in one statement takes no request that a budget is asked for: it declines, and the long way decides
(billing.services.ledger). It comes with the version of the key by which its caller judged, and the functions of 0005 stay beside it,
with one parameter fewer: processes of the version before call them while they are replaced.
"""

from importlib import import_module

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

# Updates of held and spent stay HOT.
STORAGE = """
ALTER TABLE billing_budgetuse SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
"""

# As in 0005, and key_versions: 0 asks for none.
ADMIT = """
CREATE FUNCTION billing_admit_plain(
    ids uuid[], wallet_ids bigint[], api_key_ids bigint[], models text[], amounts bigint[], ttls float8[],
    quota_subjects text[], quota_limits int[], key_versions bigint[]
) RETURNS TABLE (wallet_id bigint, subject text, before bigint, decided_at timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    wallets constant bigint[] := ARRAY(SELECT DISTINCT w FROM unnest(wallet_ids) AS w);
    subjects constant text[] := ARRAY(SELECT DISTINCT s FROM unnest(quota_subjects) AS s WHERE s IS NOT NULL);
    locked integer;
    decided timestamptz;
    today date;
BEGIN
    PERFORM FROM billing_wallet WHERE workspace_id = ANY (wallets) ORDER BY workspace_id FOR UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    IF locked < cardinality(wallets) THEN
        -- A row that appears from now on would be read, and not be locked.
        RETURN;
    END IF;
    decided := clock_timestamp();
    today := (decided AT TIME ZONE 'UTC')::date;
    IF cardinality(subjects) > 0 THEN
        PERFORM set_config('synchronous_commit', 'on', true);
        PERFORM FROM billing_dailyquota q WHERE q.subject = ANY (subjects) AND q.day = today ORDER BY q.subject FOR UPDATE;
        GET DIAGNOSTICS locked = ROW_COUNT;
        IF locked < cardinality(subjects) OR EXISTS (
            SELECT FROM (
                SELECT s AS subject, count(*) AS claims, min(nullif(l, 0)) AS most
                FROM unnest(quota_subjects, quota_limits) AS c (s, l) WHERE s IS NOT NULL GROUP BY s
            ) c JOIN billing_dailyquota q ON q.subject = c.subject AND q.day = today
            WHERE q.used + c.claims > c.most
        ) THEN
            RETURN;
        END IF;
    END IF;
    IF EXISTS (
        SELECT FROM unnest(wallet_ids, api_key_ids, amounts, key_versions) AS r (wallet_id, api_key_id, amount, key_version)
        LEFT JOIN accounts_apikey k ON k.id = r.api_key_id
        WHERE k.workspace_id IS DISTINCT FROM r.wallet_id OR k.revoked_at IS NOT NULL OR k.expires_at <= decided
           OR k.disabled_at IS NOT NULL OR k.maker_is_barred OR r.key_version NOT IN (0, k.version)
           OR r.amount > 0 AND (k.budget_nano IS NOT NULL OR k.maker_has_budget)
    ) OR EXISTS (
        SELECT FROM billing_hold WHERE id = ANY (ids)
    ) OR EXISTS (
        SELECT FROM (SELECT w AS id, sum(a) AS amount FROM unnest(wallet_ids, amounts) AS r (w, a) GROUP BY w) r
        JOIN billing_wallet w ON w.workspace_id = r.id
        JOIN accounts_workspace a ON a.id = r.id
        WHERE a.suspended_at IS NOT NULL OR w.next_expiry <= decided
           OR r.amount > 0 AND (w.frozen OR r.amount > w.posted - w.held)
    ) THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT w.workspace_id, NULL, w.posted - w.held, decided
        FROM billing_wallet w WHERE w.workspace_id = ANY (wallets);
    IF cardinality(subjects) > 0 THEN
        RETURN QUERY
            SELECT NULL::bigint, q.subject::text, q.used::bigint, decided
            FROM billing_dailyquota q WHERE q.subject = ANY (subjects) AND q.day = today;
        UPDATE billing_dailyquota q SET used = q.used + c.claims
        FROM (SELECT s AS subject, count(*) AS claims FROM unnest(quota_subjects) AS s
              WHERE s IS NOT NULL GROUP BY s) c
        WHERE q.subject = c.subject AND q.day = today;
    END IF;
    INSERT INTO billing_hold (id, wallet_id, amount, state, created_at, expires_at, api_key_id, model, quota_subject, quota_day)
        SELECT h.id, h.wallet_id, h.amount, 'open', decided, decided + make_interval(secs => h.ttl), h.api_key_id, h.model,
               h.quota_subject, CASE WHEN h.quota_subject IS NOT NULL THEN today END
        FROM unnest(ids, wallet_ids, amounts, ttls, api_key_ids, models, quota_subjects)
             AS h (id, wallet_id, amount, ttl, api_key_id, model, quota_subject);
    UPDATE billing_wallet w SET held = w.held + taken.amount
    FROM (SELECT id, sum(amount) AS amount FROM unnest(wallet_ids, amounts) AS t (id, amount) GROUP BY id) AS taken
    WHERE w.workspace_id = taken.id AND taken.amount > 0;
END
$$;
"""

ADMIT_ONE = """
CREATE FUNCTION billing_admit_one(
    request uuid, wallet bigint, key bigint, model_id text, wanted bigint, ttl float8, quota text, quota_limit int,
    key_version bigint
) RETURNS TABLE (wallet_id bigint, subject text, before bigint, decided_at timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    caller record;
    expiry timestamptz;
    claimed integer;
    today date;
BEGIN
    UPDATE billing_wallet SET held = held + wanted
        WHERE workspace_id = wallet AND (wanted = 0 OR NOT frozen AND wanted <= posted - held)
        RETURNING workspace_id, posted - held + wanted, next_expiry INTO wallet_id, before, expiry;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    decided_at := clock_timestamp();
    SELECT k.workspace_id, k.expires_at,
           k.revoked_at IS NULL AND k.disabled_at IS NULL AND NOT k.maker_is_barred AND a.suspended_at IS NULL
           AND key_version IN (0, k.version) AND (wanted = 0 OR k.budget_nano IS NULL AND NOT k.maker_has_budget) AS is_plain
        INTO caller
        FROM accounts_apikey k JOIN accounts_workspace a ON a.id = k.workspace_id WHERE k.id = key;
    -- All by the time at which the lock was had: credit may expire while it is waited for.
    IF expiry <= decided_at OR caller.workspace_id IS DISTINCT FROM wallet OR NOT caller.is_plain
       OR caller.expires_at <= decided_at THEN
        UPDATE billing_wallet SET held = held - wanted WHERE workspace_id = wallet;
        RETURN;
    END IF;
    IF quota IS NOT NULL THEN
        PERFORM set_config('synchronous_commit', 'on', true);
        today := (decided_at AT TIME ZONE 'UTC')::date;
        UPDATE billing_dailyquota SET used = used + 1
            WHERE subject = quota AND day = today AND (quota_limit = 0 OR used < quota_limit)
            RETURNING used - 1 INTO claimed;
        IF NOT FOUND THEN
            UPDATE billing_wallet SET held = held - wanted WHERE workspace_id = wallet;
            RETURN;
        END IF;
    END IF;
    INSERT INTO billing_hold (id, wallet_id, amount, state, created_at, expires_at, api_key_id, model, quota_subject, quota_day)
        VALUES (request, wallet, wanted, 'open', decided_at, decided_at + make_interval(secs => ttl), key, model_id, quota, today)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        UPDATE billing_wallet SET held = held - wanted WHERE workspace_id = wallet;
        UPDATE billing_dailyquota SET used = used - 1 WHERE subject = quota AND day = today;
        RETURN;
    END IF;
    RETURN NEXT;
    IF quota IS NOT NULL THEN
        wallet_id := NULL;
        subject := quota;
        before := claimed;
        RETURN NEXT;
    END IF;
END
$$;
"""

UNDO_ADMIT = """
DROP FUNCTION billing_admit_plain(uuid[], bigint[], bigint[], text[], bigint[], float8[], text[], int[], bigint[]);
DROP FUNCTION billing_admit_one(uuid, bigint, bigint, text, bigint, float8, text, int, bigint);
"""

# As in 0005, and budgets: their rows are locked by the lock of their wallets.
SETTLE = """
CREATE OR REPLACE FUNCTION billing_settle_plain(ids uuid[], rated bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    wallets bigint[];
    known integer;
    have_budgets boolean;
    charges bigint[];
BEGIN
    -- The budgets of a hold never change, so they may be looked up before the lock.
    SELECT array_agg(DISTINCT wallet_id), count(*), bool_or(budget_ids IS NOT NULL) INTO wallets, known, have_budgets
        FROM billing_hold WHERE id = ANY (ids);
    IF known < cardinality(ids) THEN
        -- Before any lock is taken: the long way will need more wallets than these, and all in their order.
        RETURN NULL;
    END IF;
    PERFORM FROM billing_wallet WHERE workspace_id = ANY (wallets) ORDER BY workspace_id FOR UPDATE;
    -- What must not be comes out as NULL: as a condition of the join it would offer the planner other ways than the key.
    charges := ARRAY(
        SELECT CASE WHEN h.state = 'open' AND (r.rated IS NOT NULL OR h.quota_subject IS NULL)
                    THEN least(coalesce(r.rated, 0), h.amount) END
        FROM unnest(ids, rated) WITH ORDINALITY AS r (id, rated, position)
        JOIN billing_hold h ON h.id = r.id
        ORDER BY r.position
    );
    IF array_position(charges, NULL) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    WITH closing AS MATERIALIZED (
        SELECT r.id, r.rated, r.charge, r.position, h.wallet_id, h.amount
        FROM unnest(ids, rated, charges) WITH ORDINALITY AS r (id, rated, charge, position)
        JOIN billing_hold h ON h.id = r.id
    ), payers AS MATERIALIZED (
        SELECT c.wallet_id, c.held, c.charge, g.id AS grant_id,
               c.charge = 0 OR g.remaining > c.charge AS suffices
        FROM (SELECT wallet_id, sum(amount) AS held, sum(charge) AS charge FROM closing GROUP BY wallet_id) c
        LEFT JOIN LATERAL (
            SELECT id, remaining FROM billing_creditgrant
            WHERE wallet_id = c.wallet_id AND remaining > 0 AND kind <> 'overdraft'
            ORDER BY priority, expires_at, id LIMIT 1
        ) g ON c.charge > 0
    ), done AS MATERIALIZED (
        SELECT bool_and(coalesce(suffices, false)) AS is_plain FROM payers
    ), closed AS (
        UPDATE billing_hold h
        SET state = CASE WHEN c.rated IS NULL THEN 'released' ELSE 'settled' END,
            actual = CASE WHEN c.rated IS NOT NULL THEN c.charge END
        FROM closing c, done WHERE h.id = c.id AND done.is_plain
    ), paid AS (
        UPDATE billing_creditgrant g SET remaining = g.remaining - p.charge
        FROM payers p, done WHERE g.id = p.grant_id AND p.charge > 0 AND done.is_plain
    ), booked AS (
        INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref, at)
        SELECT c.wallet_id, p.grant_id, 'usage', 'revenue', -c.charge, c.id::text, clock_timestamp()
        FROM closing c JOIN payers p ON p.wallet_id = c.wallet_id, done
        WHERE c.charge > 0 AND done.is_plain ORDER BY c.position
    )
    UPDATE billing_wallet w SET posted = w.posted - p.charge, held = w.held - p.held
    FROM payers p, done WHERE w.workspace_id = p.wallet_id AND done.is_plain;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF have_budgets THEN
        UPDATE billing_budgetuse b SET held = b.held - sums.held, spent = b.spent + sums.charge
        FROM (
            SELECT counted.id, sum(h.amount) AS held, sum(r.charge) AS charge
            FROM unnest(ids, charges) AS r (id, charge) JOIN billing_hold h ON h.id = r.id
            CROSS JOIN unnest(h.budget_ids) AS counted (id) GROUP BY counted.id
        ) AS sums
        WHERE b.id = sums.id;
    END IF;
    RETURN charges;
END
$$;
"""

SETTLE_ONE = """
CREATE OR REPLACE FUNCTION billing_settle_one(request uuid, rated bigint, wallet bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    closing record;
    payer bigint;
    charge bigint;
BEGIN
    SELECT amount, state, quota_subject, wallet_id, budget_ids INTO closing FROM billing_hold WHERE id = request;
    IF closing.wallet_id IS DISTINCT FROM wallet OR closing.state <> 'open'
       OR rated IS NULL AND closing.quota_subject IS NOT NULL THEN
        RETURN NULL;
    END IF;
    charge := least(coalesce(rated, 0), closing.amount);
    UPDATE billing_wallet SET posted = posted - charge, held = held - closing.amount
        WHERE workspace_id = wallet AND held >= closing.amount;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE billing_hold
        SET state = CASE WHEN rated IS NULL THEN 'released' ELSE 'settled' END, actual = CASE WHEN rated IS NOT NULL THEN charge END
        WHERE id = request AND state = 'open';
    IF NOT FOUND THEN
        UPDATE billing_wallet SET posted = posted + charge, held = held + closing.amount WHERE workspace_id = wallet;
        RETURN NULL;
    END IF;
    IF charge > 0 THEN
        UPDATE billing_creditgrant SET remaining = remaining - charge
            WHERE remaining > charge AND id = (
                SELECT id FROM billing_creditgrant
                WHERE wallet_id = wallet AND remaining > 0 AND kind <> 'overdraft'
                ORDER BY priority, expires_at, id LIMIT 1
            )
            RETURNING id INTO payer;
        IF NOT FOUND THEN
            UPDATE billing_wallet SET posted = posted + charge, held = held + closing.amount WHERE workspace_id = wallet;
            UPDATE billing_hold SET state = 'open', actual = NULL WHERE id = request;
            RETURN NULL;
        END IF;
        INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref, at)
            VALUES (wallet, payer, 'usage', 'revenue', -charge, request::text, clock_timestamp());
    END IF;
    IF closing.budget_ids IS NOT NULL THEN
        UPDATE billing_budgetuse SET held = held - closing.amount, spent = spent + charge WHERE id = ANY (closing.budget_ids);
    END IF;
    RETURN charge;
END
$$;
"""

_PLAIN = import_module("billing.migrations.0005_plain_books")
UNDO_SETTLE = (_PLAIN.SETTLE + _PLAIN.SETTLE_ONE).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")

UNDO_VIEW = import_module("billing.migrations.0011_adjustment").VIEW

# Beside what it checked before: budgets count the holds that name them, which are of their own wallet, and what those were charged.
BUDGETS = """
UNION ALL
SELECT CASE part WHEN 'held' THEN 'budget_held_is_sum_of_open_holds' ELSE 'budget_spent_is_sum_of_charges' END,
       b.wallet_id, b.subject || ' by ' || b.period || ' from ' || b.start,
       CASE part WHEN 'held' THEN b.held ELSE b.spent END,
       CASE part WHEN 'held' THEN coalesce(c.held, 0) ELSE coalesce(c.spent, 0) END
FROM billing_budgetuse b
LEFT JOIN (
    SELECT counted.id, sum(h.amount) FILTER (WHERE h.state = 'open') AS held, sum(h.actual) AS spent
    FROM billing_hold h CROSS JOIN unnest(h.budget_ids) AS counted (id) GROUP BY counted.id
) c ON c.id = b.id
CROSS JOIN (VALUES ('held'), ('spent')) AS parts (part)
WHERE CASE part WHEN 'held' THEN b.held <> coalesce(c.held, 0) ELSE b.spent <> coalesce(c.spent, 0) END
UNION ALL
SELECT 'hold_is_in_wallet_of_its_budget', h.wallet_id, h.id::text, h.wallet_id, coalesce(b.wallet_id, 0)
FROM billing_hold h CROSS JOIN unnest(h.budget_ids) AS counted (id) LEFT JOIN billing_budgetuse b ON b.id = counted.id
WHERE b.wallet_id IS DISTINCT FROM h.wallet_id;
"""
VIEW = UNDO_VIEW.rstrip().removesuffix(";") + BUDGETS


class Migration(migrations.Migration):
    """Adds a column and a table, renews the view and the functions of settlement, and adds two of admission."""

    dependencies = [
        ("accounts", "0004_keys_and_budgets"),
        ("billing", "0011_adjustment"),
    ]

    operations = [
        migrations.AddField(
            model_name="hold",
            name="budget_ids",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), null=True),
        ),
        migrations.CreateModel(
            name="BudgetUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(max_length=32)),
                ("period", models.CharField(max_length=5)),
                ("start", models.DateField()),
                ("held", models.BigIntegerField(default=0)),
                ("spent", models.BigIntegerField(default=0)),
                (
                    "wallet",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.wallet",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("wallet", "subject", "period", "start"), name="budget_use_once"),
                    models.CheckConstraint(
                        condition=models.Q(("held__gte", 0), ("spent__gte", 0)), name="budget_use_not_negative"
                    ),
                ],
            },
        ),
        migrations.RunSQL(STORAGE, migrations.RunSQL.noop),
        migrations.RunSQL(VIEW, UNDO_VIEW),
        migrations.RunSQL(ADMIT + ADMIT_ONE, UNDO_ADMIT),
        migrations.RunSQL(SETTLE + SETTLE_ONE, UNDO_SETTLE),
    ]
