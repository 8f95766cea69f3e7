"""Thinking blocks of Messages as the ``reasoning_details`` that chat clients get, and back again."""

from typing import Any

from gateway.translate.tables import DETAILS_FORMAT

type Detail = dict[str, Any]


def text_detail(index: int, *, text: str | None = None, signature: str | None = None) -> Detail:
    """Return a thinking block, or a part of one in a stream: its text, or the signature at its end."""
    detail: Detail = {"type": "reasoning.text"}
    if text is not None:
        detail["text"] = text
    if signature:
        detail["signature"] = signature
    return detail | {"format": DETAILS_FORMAT, "index": index}


def encrypted_detail(index: int, data: str) -> Detail:
    """Return a redacted thinking block."""
    return {"type": "reasoning.encrypted", "data": data, "format": DETAILS_FORMAT, "index": index}


def thinking_blocks(details: list[Detail]) -> list[dict[str, Any]]:
    """Return the thinking and redacted thinking blocks, in order.

    A client may have kept the parts of a stream as they came: the parts of one block have the same ``index``, and its
    signature comes last. What has no signature, or is another family's, no upstream of this protocol would take: left out.
    """
    blocks: list[dict[str, Any]] = []
    text, index, is_open = "", None, False
    for detail in details:
        if detail.get("format") not in (None, DETAILS_FORMAT):
            continue
        kind = detail.get("type")
        if kind == "reasoning.encrypted":
            is_open = False
            data = detail.get("data")
            if isinstance(data, str) and data:
                blocks.append({"type": "redacted_thinking", "data": data})
        elif kind == "reasoning.text":
            if not is_open or detail.get("index") != index:
                text, index, is_open = "", detail.get("index"), True
            part, signature = detail.get("text"), detail.get("signature")
            if isinstance(part, str):
                text += part
            if isinstance(signature, str) and signature:
                blocks.append({"type": "thinking", "thinking": text, "signature": signature})
                is_open = False
    return blocks
