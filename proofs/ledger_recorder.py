"""Writes down every change of wallets, holds and entries, by triggers of its own, and judges it transaction by transaction.

A wallet may go below zero (posted less held) only by what is clawed back, written off or charged to a hold that had got old before;
never by a hold that is placed, and never by a charge in time, which is at most what its hold gives free.
"""

import psycopg

INSTALL = """
CREATE TABLE proof_wallet (n bigserial, xid xid8 DEFAULT pg_current_xact_id(), wallet bigint,
                           posted_before bigint, held_before bigint, posted_after bigint, held_after bigint);
CREATE TABLE proof_hold (n bigserial, xid xid8 DEFAULT pg_current_xact_id(), wallet bigint, id uuid, amount bigint,
                         state_before text, state_after text, actual bigint);
CREATE TABLE proof_entry (xid xid8 DEFAULT pg_current_xact_id(), wallet bigint, kind text, ref text, amount bigint);

CREATE FUNCTION proof_note_wallet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO proof_wallet (wallet, posted_before, held_before, posted_after, held_after)
    VALUES (NEW.workspace_id, OLD.posted, OLD.held, NEW.posted, NEW.held);
    RETURN NULL;
END
$$;
CREATE FUNCTION proof_note_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO proof_hold (wallet, id, amount, state_before, state_after, actual)
    VALUES (NEW.wallet_id, NEW.id, NEW.amount, CASE TG_OP WHEN 'UPDATE' THEN OLD.state END, NEW.state, NEW.actual);
    RETURN NULL;
END
$$;
CREATE FUNCTION proof_note_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO proof_entry (wallet, kind, ref, amount) VALUES (NEW.wallet_id, NEW.kind, NEW.ref, NEW.amount);
    RETURN NULL;
END
$$;
CREATE TRIGGER proof_wallet AFTER UPDATE ON billing_wallet FOR EACH ROW
    WHEN (OLD.posted <> NEW.posted OR OLD.held <> NEW.held) EXECUTE FUNCTION proof_note_wallet();
CREATE TRIGGER proof_hold AFTER INSERT OR UPDATE OF state, amount, actual ON billing_hold FOR EACH ROW
    EXECUTE FUNCTION proof_note_hold();
CREATE TRIGGER proof_entry AFTER INSERT ON billing_ledgerentry FOR EACH ROW EXECUTE FUNCTION proof_note_entry();
"""

REMOVE = """
DROP FUNCTION proof_note_wallet, proof_note_hold, proof_note_entry CASCADE;
DROP TABLE IF EXISTS proof_wallet, proof_hold, proof_entry, proof_close, proof_deed;
"""

# What each transaction did to each wallet and each hold in the end, whatever it tried and took back in between.
SUM_UP = """
CREATE TABLE proof_close AS
SELECT xid, wallet, id, max(amount) AS amount, (array_agg(state_before ORDER BY n))[1] AS before,
       (array_agg(state_after ORDER BY n DESC))[1] AS after, (array_agg(actual ORDER BY n DESC))[1] AS actual
FROM proof_hold GROUP BY xid, wallet, id;

CREATE TABLE proof_deed AS
WITH wallets AS (
    SELECT xid, wallet,
           (array_agg(posted_after ORDER BY n DESC))[1] - (array_agg(posted_before ORDER BY n))[1] AS posted,
           (array_agg(held_after ORDER BY n DESC))[1] - (array_agg(held_before ORDER BY n))[1] AS held,
           (array_agg(posted_after - held_after ORDER BY n DESC))[1] AS available
    FROM proof_wallet GROUP BY xid, wallet
), entries AS (
    SELECT xid, wallet, sum(amount) AS booked, -sum(amount) FILTER (WHERE kind = 'usage') AS usage,
           -sum(amount) FILTER (WHERE kind IN ('clawback', 'expire')) AS taken
    FROM proof_entry GROUP BY xid, wallet
), holds AS (
    SELECT xid, wallet, sum(amount) FILTER (WHERE before IS NULL AND after = 'open') AS placed,
           sum(amount) FILTER (WHERE before = 'open' AND after <> 'open') AS freed, sum(actual) AS charged,
           sum(actual) FILTER (WHERE before = 'expired') AS late
    FROM proof_close GROUP BY xid, wallet
)
SELECT xid, wallet, coalesce(w.posted, 0) AS posted, coalesce(w.held, 0) AS held, w.available,
       coalesce(e.booked, 0) AS booked, coalesce(e.usage, 0) AS usage, coalesce(e.taken, 0) AS taken,
       coalesce(h.placed, 0) AS placed, coalesce(h.freed, 0) AS freed, coalesce(h.charged, 0) AS charged,
       coalesce(h.late, 0) AS late
FROM wallets w FULL JOIN entries e USING (xid, wallet) FULL JOIN holds h USING (xid, wallet);
"""

#: What must be true of every transaction; the statement finds those of which it is not.
RULES = {
    "a balance moved by something else than its entries": "SELECT * FROM proof_deed WHERE posted <> booked",
    "held moved by something else than its holds": "SELECT * FROM proof_deed WHERE held <> placed - freed",
    "what was charged is not what was booked": "SELECT * FROM proof_deed WHERE usage <> charged",
    "a hold was placed that nothing covers": "SELECT * FROM proof_deed WHERE placed > 0 AND available < 0",
    "a wallet went below zero for no reason": (
        "SELECT * FROM proof_deed WHERE available < 0 AND held - posted > taken + late"
    ),
    "a hold went a way that there is not": (
        "SELECT * FROM proof_close WHERE (coalesce(before, ''), after) NOT IN ("
        "('', 'open'), ('open', 'open'), ('open', 'settled'), ('open', 'released'), ('open', 'expired'),"
        " ('expired', 'settled'), ('expired', 'released'))"
    ),
    "a request was charged in two transactions": (
        "SELECT ref, count(DISTINCT xid) FROM proof_entry WHERE kind = 'usage' GROUP BY ref HAVING count(DISTINCT xid) > 1"
    ),
    "the lines of a request do not sum to its charge": (
        "SELECT h.id, h.actual, e.booked FROM billing_hold h FULL JOIN"
        " (SELECT ref, -sum(amount) AS booked FROM billing_ledgerentry WHERE kind = 'usage' GROUP BY ref) e ON e.ref = h.id::text"
        " WHERE coalesce(h.actual, 0) <> coalesce(e.booked, 0)"
    ),
    "a quota does not count its requests": (
        "SELECT q.subject, q.used, count(h.id) FROM billing_dailyquota q LEFT JOIN billing_hold h"
        " ON h.quota_subject = q.subject AND h.quota_day = q.day AND h.state <> 'released'"
        " GROUP BY q.subject, q.day, q.used HAVING q.used <> count(h.id)"
    ),
    "a closed hold has not its one usage event": (
        "SELECT h.id, h.state, h.actual, e.charge FROM billing_hold h LEFT JOIN gateway_usageevent e ON e.id = h.id"
        " WHERE h.state <> 'open' AND (e.id IS NULL OR e.charge <> coalesce(h.actual, 0))"
    ),
    "a hold was closed in another transaction than its usage event was written in": (
        "SELECT c.* FROM proof_close c JOIN gateway_usageevent e ON e.id = c.id"
        " WHERE c.after <> 'open' AND c.xid <> e.committed_xid AND c.xid IS DISTINCT FROM e.amended_xid"
    ),
}


def install(connection: psycopg.Connection) -> None:
    """Begin to write down what happens in a database."""
    connection.execute(INSTALL.encode())


def remove(connection: psycopg.Connection) -> None:
    """Leave a database as it was."""
    connection.execute(REMOVE.encode())


def judge(connection: psycopg.Connection) -> tuple[int, list[str]]:
    """Return how many deeds (of one transaction to one wallet) were judged, and what was wrong with some of them."""
    connection.execute(SUM_UP.encode())
    wrong = []
    for rule, statement in RULES.items():
        found = connection.execute(statement.encode()).fetchall()
        if found:
            wrong.append(f"{rule}, {len(found)} times: {found[0]}")
    row = connection.execute("SELECT count(*) FROM proof_deed").fetchone()
    return (row[0] if row else 0), wrong
