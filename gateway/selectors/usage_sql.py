"""How usage events count: the one piece of SQL that roll-ups and the not-yet-rolled tail share, so that they cannot differ.

An event counts in the window of transactions that wrote it. An event that the sweeper wrote as expired (one request, one
error, no tokens, no charge) and that a late settlement amended counts twice: as that expired event in the window of
``committed_xid``, and as the difference to what it says now in the window of ``amended_xid``. Whether the roll-up ran
before, between or after the two transactions, the sum is the same.
"""

#: What is summed, in the order of the roll-up tables' columns.
MEASURES = (
    "requests",
    "errors",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "charge",
)
_NUMBERS = MEASURES[2:]

#: A client that hangs up is no error; an answer that the client saw fail is one.
_IS_ERROR = """(CASE WHEN status IN ('upstream_error', 'cut', 'expired')
      OR (http_status >= 400 AND status <> 'client_closed') THEN 1 ELSE 0 END)"""


def contributions(*, window: str, where: str = "TRUE") -> str:
    """Return a SELECT of (workspace_id, api_key_id, model, started_at, <measures>), one row per contribution.

    Args:
        window: a condition on a transaction id, with ``{xid}`` where its column goes.
        where: a condition on the event's other columns. Neither may hold values: pass those as parameters.
            Parameters of ``window`` and ``where`` are needed twice, since the SELECT has two arms.
    """
    head = "SELECT workspace_id, COALESCE(api_key_id, 0) AS api_key_id, model, started_at"
    # The parts are constants of this code base.
    written = ", ".join(f"CASE WHEN amended_xid IS NULL THEN {name} ELSE 0 END AS {name}" for name in _NUMBERS)
    return f"""
        {head}, 1 AS requests,
            CASE WHEN amended_xid IS NULL THEN {_IS_ERROR} ELSE 1 END AS errors, {written}
        FROM gateway_usageevent WHERE ({window.format(xid="committed_xid")}) AND ({where})
        UNION ALL
        {head}, 0, {_IS_ERROR} - 1, {", ".join(_NUMBERS)}
        FROM gateway_usageevent
        WHERE amended_xid IS NOT NULL AND ({window.format(xid="amended_xid")}) AND ({where})
    """


def sums(*, prefix: str = "") -> str:
    """Return the measures as sums for a SELECT list."""
    return ", ".join(f"sum({prefix}{name})::bigint AS {name}" for name in MEASURES)
