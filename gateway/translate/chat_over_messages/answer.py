"""What chat clients are told of the parts of a Messages answer, streamed or whole.

Blocks of tools that run at the upstream, or of a kind that nobody here knows, are a failure of the upstream: none were asked
for, and to leave them out would be to tell half an answer.
"""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.protocols.anthropic_content import is_given
from gateway.protocols.anthropic_shapes import AnswerBlock
from gateway.protocols.failures import FailureKind, UpstreamFailure

KNOWN_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})


class _Citation(msgspec.Struct, gc=False):
    """Where a statement comes from. ``source`` is what a search result, given by the client, says of itself."""

    url: str | None = None
    source: str | None = None
    title: str | None = None


_decode_citation = msgspec.json.Decoder(_Citation).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def block_failure(block: AnswerBlock | None, *, produced: bool = False) -> UpstreamFailure | None:
    """Return what is wrong with a block, None for nothing."""
    if block is None or block.type not in KNOWN_BLOCKS:
        kind = "" if block is None else block.type[:80]
        return _invalid(f'a content block of the unknown type "{kind}"', produced)
    if block.type == "tool_use" and not (block.id and block.name):
        return _invalid("a tool use without id or name", produced)
    return None


def second_call_failure(*, produced: bool = False) -> UpstreamFailure:
    """Return the failure for a second call, where the client can be told of one only and the upstream knew."""
    return _invalid("two tool calls, though one was allowed", produced)


def arguments_in(block: AnswerBlock) -> str:
    """Return the input of a tool use as JSON text; without any, an empty object."""
    return bytes(block.input).decode() if is_given(block.input) else "{}"


def annotations_of(citations: list[Raw], start: int, end: int) -> list[dict[str, Any]]:
    """Return the citations of the text from ``start`` to ``end`` that lead to the web, as chat completions write them.

    Those of documents, by page or character, have no form there and are left out: chat clients have no way to ask for them.
    """
    annotations = []
    for raw in citations:
        try:
            citation = _decode_citation(raw)
        except msgspec.ValidationError:
            continue
        url = citation.url or citation.source or ""
        if url.startswith(("https://", "http://")):
            told = {"start_index": start, "end_index": end, "url": url, "title": citation.title or ""}
            annotations.append({"type": "url_citation", "url_citation": told})
    return annotations


def citations_in(block: AnswerBlock) -> list[Raw]:
    """Return the citations that a text block holds."""
    try:
        return _decode_list(block.citations) if is_given(block.citations) else []
    except msgspec.ValidationError:
        return []


def _invalid(what: str, produced: bool) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.INVALID, f"its answer has {what}", produced=produced)
