"""Cursors: where a page ended, in a form that clients hand back and do not read."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any

from gateway.errors import ApiError

_MAX_ID = 2**63 - 1


def encode_cursor(kind: str, values: Sequence[Any]) -> str:
    """Return a cursor for a list of a ``kind``."""
    return base64.urlsafe_b64encode(json.dumps([kind, *values]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *, kind: str, readers: Sequence[Callable[[Any], Any]]) -> list[Any] | None:
    """Return the values of a cursor, each through its reader; None without a cursor.

    Raises ApiError 400 for what is no cursor of this list.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
        name, *values = found
        if name != kind or len(values) != len(readers):
            raise ValueError("it is of another list")
        return [reader(value) for reader, value in zip(readers, values, strict=True)]
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise ApiError(
            400, "invalid_parameter", "`cursor`: Send the `next_cursor` of the page before, with the same parameters."
        ) from error


def row_id(value: Any) -> int:
    """Read an id of a row. Raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_ID:
        raise ValueError("no id")
    return value


def text(value: Any) -> str:
    """Read a text that a database can hold. Raises ValueError."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    value.encode()
    return value


def page(rows: Sequence[Any], *, limit: int, kind: str, place: Callable[[Any], Sequence[Any]]) -> dict[str, Any]:
    """Return has_more and next_cursor of a page, and its ``rows``; one more row than ``limit`` was asked for."""
    shown = list(rows[:limit])
    has_more = len(rows) > limit
    return {
        "rows": shown,
        "has_more": has_more,
        "next_cursor": encode_cursor(kind, place(shown[-1])) if has_more else None,
    }
