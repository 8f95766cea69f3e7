"""What a Messages request is made of, as far as we read it: blocks, messages, tools, and how the model is to think."""

from __future__ import annotations

import msgspec
from msgspec import Raw

#: Where a field that we only carry was not sent. ``Raw | None`` would refuse everything but null.
ABSENT = Raw()
_NULL = b"null"


def is_given(value: Raw) -> bool:
    """Whether a carried field was sent, and is not null."""
    size = len(value)
    return size > 0 and (size != len(_NULL) or bytes(value) != _NULL)


class Source(msgspec.Struct, gc=False):
    """Where an image or a document is: ``base64``, ``url``, ``file``, ``text`` or ``content``."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Block] | None = None


class Block(msgspec.Struct, gc=False):
    """A content block of any type: which fields are set depends on ``type``. Fields that are only carried are Raw."""

    type: str
    text: str | None = None
    #: Images and documents; a search result has a string here.
    source: Source | str | None = None
    #: Tool uses.
    id: str | None = None
    name: str | None = None
    input: Raw = ABSENT
    #: Tool results.
    tool_use_id: str | None = None
    content: str | list[Block] | Block | None = None
    #: A tool that a search found.
    tool_name: str | None = None
    is_error: bool | None = None
    #: Thinking and redacted thinking.
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    #: Documents and search results.
    title: str | None = None
    context: str | None = None
    citations: Raw = ABSENT
    cache_control: Raw = ABSENT


class Message(msgspec.Struct, gc=False):
    """A message. ``content`` is None only until the request has been checked."""

    role: str
    content: str | list[Block] | None = None
    #: Of the other protocol: read only to say so.
    tool_calls: Raw = ABSENT
    tool_call_id: Raw = ABSENT


class Tool(msgspec.Struct, gc=False):
    """A tool: the client's own (``type`` absent or "custom"), or one that the provider defines and the client runs."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: Raw = ABSENT
    strict: bool | None = None
    defer_loading: bool | None = None
    cache_control: Raw = ABSENT

    @property
    def is_custom(self) -> bool:
        """Whether the client defines it by a schema."""
        return self.type is None or self.type == "custom"


class ToolChoice(msgspec.Struct, gc=False):
    """Whether the model must use a tool: "auto", "any", "none", or "tool" with its name."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None

    @property
    def is_forced(self) -> bool:
        """Whether the model has to use a tool."""
        return self.type in {"any", "tool"}


class Thinking(msgspec.Struct, gc=False):
    """How the model is to think: "enabled" with a budget, "adaptive", "between_tools", or "disabled"."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None

    @property
    def is_left_to_the_model(self) -> bool:
        """Whether the model may think and need not: one that cannot still does what was asked."""
        return self.type not in {"enabled", "disabled"}


class OutputConfig(msgspec.Struct, gc=False):
    """How much effort the answer is worth, and the form that it must have."""

    effort: str | None = None
    format: OutputFormat | None = None


class OutputFormat(msgspec.Struct, gc=False):
    """The schema of the answer; ``type`` is "json_schema"."""

    type: str
    schema: Raw = ABSENT


class Metadata(msgspec.Struct, gc=False):
    """Whom the request is for."""

    user_id: str | None = None
