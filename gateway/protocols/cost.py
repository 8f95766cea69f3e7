"""``usage.cost``: what a client asks for with ``"usage": {"include": true}``, and the charge as it is told in an answer.

OpenRouter's form, so that its clients need no change: a JSON number of US dollars. Its digits are written from the integer of
nano-USD; no float has a part in it.
"""

import msgspec
from msgspec import Raw

from lumyx.lib.money import nano_to_usd

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class UsageOptions(msgspec.Struct, gc=False):
    """The field ``usage`` of a request. It is ours: no upstream is sent it, and it costs nothing."""

    include: bool | None = None


def take_usage_options(fields: dict[str, Raw]) -> int:
    """Take the field ``usage`` out of a body's fields; return its bytes in the body, 0 where there was none.

    Blanks are not counted, and a body has other fields, so there was a comma.
    """
    given = fields.pop("usage", None)
    return 0 if given is None else len(b'"usage":,') + len(bytes(given))


def is_cost_wanted(options: UsageOptions | None) -> bool:
    """Return whether the client wants to be told the charge in ``usage``."""
    return options is not None and bool(options.include)


def cost_number(charge: int) -> Raw:
    """Return nano-USD as a JSON number of US dollars, exact to the last digit."""
    return Raw(nano_to_usd(charge).encode())


def add_cost(body: bytes, charge: int) -> bytes:
    """Return a whole answer with ``cost`` (nano-USD as dollars) added to its ``usage``; every other field stays as it is."""
    fields = _decode_fields(body)
    usage = fields.get("usage")
    told = _decode_fields(usage) if usage is not None and bytes(usage)[:1] == b"{" else {}
    fields["usage"] = Raw(msgspec.json.encode({**told, "cost": cost_number(charge)}))
    return msgspec.json.encode(fields)
