"""The statements of billing.services.ledger. Arrays in, one round trip each; billing.services.ledger_rows runs them.

Locks come first and alone: wallets in the order of their ids, then quota rows in the order of their keys
(billing_lock_wallets and billing_lock_quotas, in a migration). What follows reads with a fresh snapshot; a read in the
statement that waits for the lock would see the rows as they were before the wait.
"""

LOCK_WALLETS = "SELECT id, posted, held, next_expiry, frozen, suspended FROM billing_lock_wallets(%s::bigint[])"

#: By holds: their wallets never change, so they may be looked up before the lock.
LOCK_WALLETS_OF_HOLDS = """
SELECT id, posted, held, next_expiry, frozen, suspended
FROM billing_lock_wallets(ARRAY(SELECT DISTINCT wallet_id FROM billing_hold WHERE id = ANY (%s::uuid[])))
"""

LOCK_QUOTAS = "SELECT subject, used FROM billing_lock_quotas(%s::text[], %s::date)"

#: For quotas that are given back: their rows exist.
LOCK_CLAIMED_QUOTAS = """
SELECT FROM billing_dailyquota
WHERE (subject, day) IN (SELECT * FROM unnest(%s::text[], %s::date[]))
ORDER BY subject, day FOR UPDATE
"""

#: One row a request, in their order: the time, the key as it is now, the hold that the request may already have, and the budgets
#: that it is under, its key's and its key's maker's.
ADMISSION_FACTS = """
SELECT statement_timestamp(), k.workspace_id, k.revoked_at IS NOT NULL,
       coalesce(k.expires_at <= statement_timestamp(), false), k.disabled_at IS NOT NULL, coalesce(k.maker_is_barred, false),
       coalesce(k.version, 0), h.wallet_id, h.amount,
       k.workspace_id, k.id, k.budget_nano, k.budget_period, m.user_id, m.budget_nano, m.budget_period
FROM unnest(%s::uuid[], %s::bigint[]) WITH ORDINALITY AS r (request_id, api_key_id, position)
LEFT JOIN accounts_apikey k ON k.id = r.api_key_id
LEFT JOIN accounts_membership m ON k.maker_has_budget AND m.workspace_id = k.workspace_id AND m.user_id = k.created_by_id
LEFT JOIN billing_hold h ON h.id = r.request_id
ORDER BY r.position
"""

#: Holds, what they take from their wallets and budgets, and what they claim of quotas.
PLACE_HOLDS = """
WITH placed AS (
    INSERT INTO billing_hold (id, wallet_id, amount, state, created_at, expires_at, api_key_id, model, quota_subject, quota_day,
                              budget_ids)
    SELECT id, wallet_id, amount, 'open', %(at)s, %(at)s + make_interval(secs => ttl), api_key_id, model,
           quota_subject, CASE WHEN quota_subject IS NOT NULL THEN %(day)s END, budgets::bigint[]
    FROM unnest(%(ids)s::uuid[], %(wallet_ids)s::bigint[], %(amounts)s::bigint[], %(ttls)s::float8[],
                %(api_key_ids)s::bigint[], %(models)s::text[], %(quota_subjects)s::text[], %(budgets)s::text[])
         AS hold (id, wallet_id, amount, ttl, api_key_id, model, quota_subject, budgets)
), counted AS (
    UPDATE billing_budgetuse b SET held = b.held + sums.amount
    FROM (SELECT id, sum(amount) AS amount FROM unnest(%(budget_ids)s::bigint[], %(budget_amounts)s::bigint[]) AS t (id, amount)
          GROUP BY id) AS sums
    WHERE b.id = sums.id
), claimed AS (
    UPDATE billing_dailyquota q SET used = q.used + claim.requests
    FROM (SELECT subject, count(*) AS requests FROM unnest(%(quota_subjects)s::text[]) AS subject
          WHERE subject IS NOT NULL GROUP BY subject) AS claim
    WHERE q.subject = claim.subject AND q.day = %(day)s
)
UPDATE billing_wallet w SET held = w.held + taken.amount
FROM (SELECT id, sum(amount) AS amount FROM unnest(%(wallet_ids)s::bigint[], %(amounts)s::bigint[]) AS t (id, amount)
      GROUP BY id HAVING sum(amount) > 0) AS taken
WHERE w.workspace_id = taken.id
"""

HOLDS = """
SELECT id, wallet_id, amount, state, actual, quota_subject, quota_day, budget_ids FROM billing_hold
WHERE id = ANY (%s::uuid[])
"""

GIVE_BACK_QUOTAS = """
UPDATE billing_dailyquota q SET used = greatest(0, q.used - back.requests)
FROM (SELECT subject, day, count(*) AS requests FROM unnest(%s::text[], %s::date[]) AS b (subject, day)
      GROUP BY subject, day) AS back
WHERE q.subject = back.subject AND q.day = back.day
"""

#: What there is to spend, in burn-down order; the overdraft is always there, and last.
GRANTS = """
SELECT id, wallet_id, remaining, expires_at, kind = 'overdraft' FROM billing_creditgrant
WHERE wallet_id = ANY (%s::bigint[]) AND (remaining <> 0 OR kind = 'overdraft')
ORDER BY wallet_id, priority, expires_at NULLS LAST, id
"""

#: The books after a change: closed holds, wallets and grants as they are now (absolute: their wallets are locked), entries.
POST = """
WITH closed AS (
    UPDATE billing_hold h SET state = now.state, actual = now.actual
    FROM unnest(%(hold_ids)s::uuid[], %(states)s::text[], %(actuals)s::bigint[]) AS now (id, state, actual)
    WHERE h.id = now.id
), changed AS (
    UPDATE billing_creditgrant g SET remaining = now.remaining
    FROM unnest(%(grant_ids)s::bigint[], %(remaining)s::bigint[]) AS now (id, remaining)
    WHERE g.id = now.id
), booked AS (
    INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref, at)
    SELECT wallet_id, grant_id, kind, contra, amount, ref, statement_timestamp()
    FROM unnest(%(entry_wallets)s::bigint[], %(entry_grants)s::bigint[], %(kinds)s::text[], %(contras)s::text[],
                %(amounts)s::bigint[], %(refs)s::text[])
         WITH ORDINALITY AS entry (wallet_id, grant_id, kind, contra, amount, ref, position)
    ORDER BY position
)
UPDATE billing_wallet w
SET posted = now.posted, held = now.held, next_expiry = now.next_expiry, frozen = now.frozen
FROM unnest(%(wallet_ids)s::bigint[], %(posted)s::bigint[], %(held)s::bigint[], %(next_expiry)s::timestamptz[],
            %(frozen)s::boolean[]) AS now (id, posted, held, next_expiry, frozen)
WHERE w.workspace_id = now.id
"""

DUE_HOLDS = """
SELECT id FROM billing_hold WHERE state = 'open' AND expires_at <= statement_timestamp() ORDER BY expires_at LIMIT %s
"""

EXPIRE_HOLDS = """
WITH closed AS (
    UPDATE billing_hold SET state = 'expired'
    WHERE id = ANY (%s::uuid[]) AND state = 'open' AND expires_at <= statement_timestamp()
    RETURNING id, wallet_id, amount, api_key_id, model, created_at, quota_subject, budget_ids
), uncounted AS (
    UPDATE billing_budgetuse b SET held = b.held - sums.amount
    FROM (SELECT counted.id, sum(closed.amount) AS amount FROM closed CROSS JOIN unnest(closed.budget_ids) AS counted (id)
          GROUP BY counted.id) AS sums
    WHERE b.id = sums.id
), freed AS (
    UPDATE billing_wallet w SET held = w.held - sums.amount
    FROM (SELECT wallet_id, sum(amount) AS amount FROM closed GROUP BY wallet_id) AS sums
    WHERE w.workspace_id = sums.wallet_id AND sums.amount > 0
)
SELECT id, wallet_id, api_key_id, model, created_at, quota_subject IS NOT NULL FROM closed ORDER BY created_at, id
"""

EXTEND_HOLDS = """
UPDATE billing_hold SET expires_at = greatest(expires_at, statement_timestamp() + make_interval(secs => %s))
WHERE id = ANY (%s::uuid[]) AND state = 'open'
"""

DUE_WALLETS = """
SELECT workspace_id FROM billing_wallet WHERE next_expiry <= statement_timestamp()
ORDER BY next_expiry LIMIT %s
"""

ADD_GRANT = """
INSERT INTO billing_creditgrant (wallet_id, kind, priority, amount, remaining, effective_at, expires_at, source, note)
VALUES (%s, %s, %s, %s, 0, statement_timestamp(), %s, %s, %s)
ON CONFLICT (source) DO NOTHING RETURNING id
"""

GRANT_OF_SOURCE = "SELECT id, wallet_id, kind, amount, remaining FROM billing_creditgrant WHERE source = %s"

ADD_ADJUSTMENT = """
INSERT INTO billing_adjustment (workspace_id, amount, reason, note, actor_id, source, at)
VALUES (%s, %s, %s, %s, %s, %s, statement_timestamp())
ON CONFLICT (source) DO NOTHING RETURNING id
"""

ADJUSTMENT_OF_SOURCE = "SELECT workspace_id, amount FROM billing_adjustment WHERE source = %s"

BOOKED = "SELECT coalesce(sum(amount), 0)::bigint FROM billing_ledgerentry WHERE ref = %s AND kind = %s"

# A grant's wallet is given too, so that the index on entries by wallet serves.
BOOKED_AGAINST = """
SELECT coalesce(sum(e.amount), 0)::bigint FROM billing_ledgerentry e JOIN billing_creditgrant g ON g.id = e.grant_id
WHERE g.id = %s AND e.wallet_id = g.wallet_id AND e.contra = %s
"""

END_GRANTS = """
UPDATE billing_creditgrant SET expires_at = %s
WHERE wallet_id = %s AND source = ANY(%s::text[]) AND kind IN ('vip', 'promo') AND (expires_at IS NULL OR expires_at > %s)
"""

#: The first in their periods. Their wallets are locked, so nobody else makes them.
ADD_BUDGETS = """
INSERT INTO billing_budgetuse (wallet_id, subject, period, start, held, spent)
SELECT wallet_id, subject, period, start, 0, 0
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::date[]) AS r (wallet_id, subject, period, start)
"""

CHANGE_BUDGETS = """
UPDATE billing_budgetuse b SET held = b.held + change.held, spent = b.spent + change.spent
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS change (id, held, spent)
WHERE b.id = change.id
"""

NOW = "SELECT statement_timestamp()"
