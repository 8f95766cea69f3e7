"""What a thinking block of ours is signed with: the reasoning details that the upstream wants back in the next turn.

A Messages client sends a thinking block back as it came, signature and all. Upstreams of the chat protocol know no signatures,
so ours holds what they need: nothing, or OpenRouter's ``reasoning_details``, in which the signatures of others travel.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.protocols.anthropic_thinking import OUR_SIGNATURE
from gateway.protocols.jsoncheck import InvalidJsonError, check_json
from gateway.protocols.wording import RequestShapeError

#: The field of each kind of detail that comes in pieces; encrypted ones come whole.
_IN_PIECES = {"reasoning.text": "text", "reasoning.summary": "summary"}


class _Signed(msgspec.Struct, omit_defaults=True):
    details: list[dict[str, Any]] = []


_decode = msgspec.json.Decoder(_Signed).decode


def is_ours(signature: str | None) -> bool:
    """Whether we wrote the signature; no upstream of the Messages protocol knows it."""
    return signature is not None and signature.startswith(OUR_SIGNATURE)


def signature_over(details: list[dict[str, Any]]) -> str:
    """Return the signature that holds ``details``."""
    return OUR_SIGNATURE + urlsafe_b64encode(msgspec.json.encode(_Signed(merged(details)))).decode().rstrip("=")


def details_in(signature: str, path: str) -> list[dict[str, Any]]:
    """Return the details that a signature of ours holds. Raises RequestShapeError for one that was changed."""
    packed = signature.removeprefix(OUR_SIGNATURE)
    try:
        # The request was checked as a whole, but not what stands in here.
        text = urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        check_json(text)
        return _decode(text).details
    except (ValueError, msgspec.DecodeError, InvalidJsonError):
        message = f"{path}: the signature of this thinking block was changed. Send the block back as it came, or leave it out."
        raise RequestShapeError("invalid_parameter", message, f"{path}.signature") from None


def merged(details: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return details that came in pieces as whole ones: neighbours of one index and kind are one, until its signature."""
    whole: list[dict[str, Any]] = []
    for detail in details:
        field = _IN_PIECES.get(str(detail.get("type")))
        last = whole[-1] if whole else {}
        if field is None or not _continues(detail, last):
            whole.append(dict(detail))
            continue
        piece = detail.get(field)
        if isinstance(piece, str):
            detail = {**detail, field: (last.get(field) or "") + piece}
        last.update((name, value) for name, value in detail.items() if value is not None or name not in last)
    return whole


def _continues(detail: dict[str, Any], last: dict[str, Any]) -> bool:
    index = detail.get("index")
    is_next = index is not None and index == last.get("index") and detail["type"] == last.get("type")
    return is_next and not last.get("signature")
