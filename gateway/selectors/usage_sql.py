"""How usage events count: the one piece of SQL that roll-ups and the not-yet-rolled tail share, so that they cannot differ.

An event counts in the window of transactions that wrote it. An event that the sweeper wrote as expired (one request, one
error, no tokens, no charge) and that a late settlement amended counts twice: as that expired event in the window of
``committed_xid``, and as the difference to what it says now in the window of ``amended_xid``. Whether the roll-up ran
before, between or after the two transactions, the sum is the same. The difference is two rows: the expired event, which
had no upstream, is taken back, and what it says now is added.
"""

from collections.abc import Sequence

#: What a workspace is shown of its own usage.
TENANT_MEASURES = (
    "requests",
    "errors",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "charge",
)
#: What is summed: besides, what is the operator's alone.
MEASURES = (*TENANT_MEASURES, "absorbed", "cost", "costed")
#: How an event says each of them; where nothing else is said, in a column of that name. An unknown cost is no cost of 0: how
#: many are known is counted beside their sum.
_NUMBERS = {name: name for name in MEASURES[2:]} | {
    "cost": "COALESCE(cost, 0)",
    "costed": "(CASE WHEN cost IS NULL THEN 0 ELSE 1 END)",
}

# Without a watermark row (nothing was ever rolled up) everything is the tail.
WATERMARK = "COALESCE((SELECT xid FROM gateway_usagewatermark WHERE name = 'usage'), 0)"
#: The window of what is not rolled up yet. ``hint`` is a WATERMARK that was read before: it changes no result, for a watermark
#: never goes back; it is a value that the planner knows, so it reads the newest events by their transaction instead of all.
TAIL_WINDOW = f"{{xid}} >= %(hint)s::xid8 AND {{xid}} >= {WATERMARK}::text::xid8"

#: A client that hangs up is no error; an answer that the client saw fail is one.
_IS_ERROR = """(CASE WHEN status IN ('upstream_error', 'cut', 'expired')
      OR (http_status >= 400 AND status <> 'client_closed') THEN 1 ELSE 0 END)"""


def contributions(*, window: str, where: str = "TRUE") -> str:
    """Return a SELECT of (workspace_id, api_key_id, model, started_at, upstream_id, <measures>), one row per contribution.

    Args:
        window: a condition on a transaction id, with ``{xid}`` where its column goes.
        where: a condition on the event's other columns. Neither may hold values: pass those as parameters.
            Parameters of ``window`` and ``where`` are needed in each of the SELECT's three arms: name them.
    """
    head = "SELECT workspace_id, COALESCE(api_key_id, 0) AS api_key_id, model, started_at"
    # The parts are constants of this code base.
    written = ", ".join(
        f"CASE WHEN amended_xid IS NULL THEN {said} ELSE 0 END AS {name}" for name, said in _NUMBERS.items()
    )
    amended = f"""FROM gateway_usageevent
        WHERE amended_xid IS NOT NULL AND ({window.format(xid="amended_xid")}) AND ({where})"""
    return f"""
        {head}, CASE WHEN amended_xid IS NULL THEN COALESCE(upstream_id, 0) ELSE 0 END AS upstream_id, 1 AS requests,
            CASE WHEN amended_xid IS NULL THEN {_IS_ERROR} ELSE 1 END AS errors, {written}
        FROM gateway_usageevent WHERE ({window.format(xid="committed_xid")}) AND ({where})
        UNION ALL
        {head}, 0, -1, -1, {", ".join("0" for _ in _NUMBERS)} {amended}
        UNION ALL
        {head}, COALESCE(upstream_id, 0), 1, {_IS_ERROR}, {", ".join(_NUMBERS.values())} {amended}
    """


def sums(measures: Sequence[str] = MEASURES) -> str:
    """Return measures as sums for a SELECT list."""
    return ", ".join(f"sum({name})::bigint AS {name}" for name in measures)
