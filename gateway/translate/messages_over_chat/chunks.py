"""Chat chunks and whole answers as they are translated: their shapes, and what a delta says in which order.

Upstreams differ in where they put reasoning and in the types of odd values, so much is ``Any`` here and looked at when it is read.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_usage import ReportedUsage, usage_from

type TextKind = Literal["thinking", "text", "refusal", "note"]

IMAGE_NOTE = "[The model made an image here, which the Messages protocol cannot carry.]"
AUDIO_NOTE = "[The model spoke here, which the Messages protocol cannot carry.]"
PART_NOTE = "[The model's answer held something here that the Messages protocol cannot carry.]"


class CallFunction(msgspec.Struct, gc=False):
    """What is called, or a piece of it."""

    name: str | None = None
    #: Some servers send an object where the protocol says a string.
    arguments: Any = None

    @property
    def text(self) -> str:
        """The arguments, or a piece of them, as text."""
        given = self.arguments
        if isinstance(given, str):
            return given
        return "" if given is None else msgspec.json.encode(given).decode()


class CallPart(msgspec.Struct, gc=False):
    """A tool call, or a piece of one."""

    index: Any = None
    id: Any = None
    function: CallFunction | None = None


class Delta(msgspec.Struct, gc=False):
    """What a delta or a message says."""

    #: A string, or a list of parts (Mistral).
    content: Any = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    tool_calls: list[CallPart] | None = None
    refusal: str | None = None
    function_call: CallFunction | None = None
    images: Any = None
    audio: Any = None


class Choice(msgspec.Struct, gc=False):
    """A choice of a chunk or of a whole answer."""

    index: Any = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = None
    text: str | None = None
    #: Which stop string was met, as vLLM and SGLang say it.
    stop_reason: Any = None
    matched_stop: Any = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk or a whole answer."""

    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(Chunk).decode


def read_chunk(payload: bytes) -> Chunk:
    """Return the chunk in ``payload``. Raises UpstreamFailure for what is none."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailure(FailureKind.INVALID, "what it sent is not of its protocol") from None


def read_usage(reported: Any, *, output_bytes: int) -> tuple[TokenUsage | None, frozenset[str]]:
    """Return a report of usage in disjoint classes, None for what is no report, and flags for what had to be put right."""
    if not isinstance(reported, dict):
        return None, NO_FLAGS
    return usage_from(msgspec.convert(reported, ReportedUsage), output_bytes=output_bytes)


def thinking_in(delta: Delta) -> str:
    """Return the reasoning of a delta: one text, though some upstreams send it in two or three fields at once."""
    if delta.reasoning_content or delta.reasoning:
        return delta.reasoning_content or delta.reasoning or ""
    pieces = (detail.get("text") or detail.get("summary") for detail in delta.reasoning_details or ())
    return "".join([piece for piece in pieces if isinstance(piece, str)])


def texts_in(delta: Delta) -> Iterator[tuple[TextKind, str]]:
    """Yield the texts of a delta beside its reasoning, each with the kind of block that it belongs to."""
    if isinstance(delta.content, str):
        yield "text", delta.content
    elif isinstance(delta.content, list):
        for part in delta.content:
            yield from _text_of_part(part)
    elif delta.content is not None:
        yield "text", msgspec.json.encode(delta.content).decode()
    if delta.refusal:
        yield "refusal", delta.refusal
    if delta.images:
        yield "note", IMAGE_NOTE
    if delta.audio:
        said = delta.audio.get("transcript") if isinstance(delta.audio, dict) else None
        if isinstance(said, str):
            yield "text", said
        yield "note", AUDIO_NOTE


def _text_of_part(part: Any) -> Iterator[tuple[TextKind, str]]:
    if isinstance(part, str):
        yield "text", part
        return
    if not isinstance(part, dict):
        yield "note", PART_NOTE
        return
    kind, text = part.get("type"), part.get("text")
    if kind in {"thinking", "reasoning"}:
        inner = part.get("thinking", text)
        pieces = inner if isinstance(inner, list) else [inner]
        texts = [piece.get("text") if isinstance(piece, dict) else piece for piece in pieces]
        yield "thinking", "".join([piece for piece in texts if isinstance(piece, str)])
    elif kind == "refusal" and isinstance(part.get("refusal"), str):
        yield "refusal", part["refusal"]
    elif isinstance(text, str):
        yield "text", text
    else:
        yield "note", IMAGE_NOTE if kind in {"image_url", "image"} else PART_NOTE
