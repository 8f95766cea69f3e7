"""The parts of chat completion answers that we read, and how answers of odd types are brought into that shape."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.protocols.answers import utf8_size
from gateway.protocols.openai_usage import ReportedUsage

_ABSENT = Raw()
_NOTHING = frozenset({b"null", b"[]", b"{}", b'""'})


class Delta(msgspec.Struct, gc=False):
    """What a delta or a message holds, as far as we read it."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Raw] | None = None
    #: Empty where they are absent. ``null`` passes for a value: a union with None takes nothing but null.
    function_call: Raw = _ABSENT
    audio: Raw = _ABSENT
    images: Raw = _ABSENT


class Choice(msgspec.Struct, gc=False):
    """A choice of a chunk or of a whole answer."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    text: str | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk or a whole answer, in the protocol's own types."""

    choices: list[Choice] | UnsetType | None = UNSET
    usage: ReportedUsage | UnsetType | None = UNSET
    error: Any = None
    #: Who really answered, as OpenRouter and Groq say it.
    provider: Any = None
    x_groq: Any = None

    @property
    def names_its_upstream(self) -> bool:
        """Whether it holds a field that is not for clients."""
        return self.provider is not None or self.x_groq is not None


class LooseChunk(msgspec.Struct, gc=False):
    """For chunks whose values have other types than the protocol's: content as a list of parts, usage as a number."""

    choices: Any = UNSET
    usage: Any = UNSET
    error: Any = None
    provider: Any = None
    x_groq: Any = None


def output_in(choice: Choice) -> int:
    """Return the UTF-8 bytes that came out in a choice, wherever its upstream puts them: what reaches a client is billed."""
    size = 0
    if choice.delta is not None:
        size = _output_of(choice.delta)
    if choice.message is not None:
        size += _output_of(choice.message)
    if choice.text and not size:  # Together says every text twice
        size += utf8_size(choice.text)
    return size


def _output_of(delta: Delta) -> int:
    size = 0
    if delta.content:
        size += utf8_size(delta.content)
    if delta.reasoning_content:
        size += utf8_size(delta.reasoning_content)
    elif delta.reasoning:
        size += utf8_size(delta.reasoning)
    if delta.refusal:
        size += utf8_size(delta.refusal)
    if delta.tool_calls:
        size += sum(len(bytes(call)) for call in delta.tool_calls)
    for other in (delta.function_call, delta.audio, delta.images):
        if other is not _ABSENT and (given := bytes(other)) not in _NOTHING:
            size += len(given)
    return size


def tightened(loose: LooseChunk) -> Chunk:
    """Return a chunk of odd types in the shape of the protocol: text where there is text, the rest by its size."""
    choices: list[Choice] | UnsetType | None = UNSET
    if isinstance(loose.choices, list):
        choices = [_tight_choice(choice) for choice in loose.choices if isinstance(choice, dict)]
    usage: ReportedUsage | UnsetType | None = UNSET
    if isinstance(loose.usage, dict):
        usage = msgspec.convert(loose.usage, ReportedUsage)
    elif loose.usage is not UNSET:
        usage = None if loose.usage is None else ReportedUsage()
    return Chunk(choices=choices, usage=usage, error=loose.error, provider=loose.provider, x_groq=loose.x_groq)


def _tight_choice(choice: dict[str, Any]) -> Choice:
    index, reason = choice.get("index"), choice.get("finish_reason")
    return Choice(
        index=index if isinstance(index, int) and 0 <= index < 1024 else 0,
        delta=_tight_delta(choice.get("delta")),
        message=_tight_delta(choice.get("message")),
        finish_reason=None if reason is None else str(reason),
        text=choice["text"] if isinstance(choice.get("text"), str) else None,
        error=choice.get("error"),
    )


def _tight_delta(delta: object) -> Delta | None:
    if not isinstance(delta, dict):
        return None
    given = {name: delta[name] for name in Delta.__struct_fields__ if delta.get(name)}
    if not given:
        return Delta()
    return Delta(content="".join(v if isinstance(v, str) else msgspec.json.encode(v).decode() for v in given.values()))
