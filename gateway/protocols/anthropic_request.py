"""Messages requests: read what admission, routing and translators need, carry every other byte untouched."""

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from gateway.protocols.anthropic_content import (
    Block,
    Message,
    Metadata,
    OutputConfig,
    Source,
    Thinking,
    Tool,
    ToolChoice,
)
from gateway.protocols.anthropic_rules import check_fields, check_values
from gateway.protocols.body import read_body
from gateway.protocols.cost import UsageOptions, is_cost_wanted, take_usage_options
from gateway.protocols.generation import Image

#: Blocks whose tokens we can bound by their size. Images and documents depend on their source.
PLAIN_BLOCKS = frozenset(
    {"text", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result", "tool_reference"}
)
#: Stands for the limit that a request need not have whose tokens are only counted.
NO_LIMIT = 2**31 - 1
_PLAIN_SOURCES = {"image": frozenset({"base64", "url"}), "document": frozenset({"text", "content"})}


class View(msgspec.Struct, gc=False):
    """The fields that we read or whose type we vouch for. One typed decode checks them all."""

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | list[Block] | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    stop_sequences: list[str] | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    reasoning_effort: str | None = None
    metadata: Metadata | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    usage: UsageOptions | None = None


class UnlimitedView(View, kw_only=True):
    """The same where nothing is to be written, so that no limit need be set."""

    max_tokens: int = NO_LIMIT


class MessagesRequest(msgspec.Struct, frozen=True):
    """A Messages request: every field byte for byte in ``fields``, and a typed view of what we read."""

    fields: dict[str, Raw]
    size: int
    model: str
    #: Always explicit in this protocol.
    max_tokens: int
    system: str | list[Block] | None
    messages: list[Message]
    stream: bool
    tools: list[Tool]
    tool_choice: ToolChoice | None
    stop_sequences: tuple[str, ...]
    thinking: Thinking | None
    output_config: OutputConfig | None
    #: Our own extension of this protocol.
    reasoning_effort: str | None
    user_id: str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    #: All images, those in tool results and in documents included.
    images: tuple[Image, ...]
    #: A message holds a block whose tokens its size does not bound: a PDF, a file, a kind that we do not know.
    has_opaque_parts: bool
    #: Our own extension: the charge is to be told in ``usage``.
    wants_cost: bool

    @property
    def n(self) -> int:
        """Choices asked for: the protocol knows one."""
        return 1

    @property
    def message_count(self) -> int:
        """Messages, the system's included."""
        return len(self.messages) + bool(self.system)

    @property
    def has_tools(self) -> bool:
        """Whether tools are offered to the model."""
        return bool(self.tools)

    @property
    def has_image_urls(self) -> bool:
        """Whether any image is a URL that the upstream would have to fetch."""
        return any(image.kind == "url" for image in self.images)

    @property
    def wants_reasoning(self) -> bool:
        """Whether thinking was asked for, by a budget or an effort. Adaptive thinking leaves it to the model."""
        if self.thinking is not None and self.thinking.type == "enabled":
            return True
        return self.reasoning_effort is not None and self.reasoning_effort != "none"


_decode_view = msgspec.json.Decoder(View).decode
_decode_unlimited = msgspec.json.Decoder(UnlimitedView).decode
_READ = frozenset(View.__struct_fields__)


def parse_messages_request(body: bytes, *, needs_limit: bool = True) -> MessagesRequest:
    """Return the request in ``body``; ``max_tokens`` may be left out where nothing is to be written (``needs_limit`` False).

    Raises RequestShapeError with a message for the client.
    """
    view, fields = read_body(body, _decode_view if needs_limit else _decode_unlimited)
    check_fields(fields, _READ)
    check_values(view)
    images, has_opaque_parts = _survey(view.messages)
    return MessagesRequest(
        # The field goes nowhere: it is no input.
        size=len(body) - take_usage_options(fields),
        fields=fields,
        model=view.model,
        max_tokens=view.max_tokens,
        system=view.system,
        messages=view.messages,
        stream=bool(view.stream),
        tools=view.tools or [],
        tool_choice=view.tool_choice,
        stop_sequences=tuple(view.stop_sequences or ()),
        thinking=view.thinking,
        output_config=view.output_config,
        reasoning_effort=view.reasoning_effort,
        user_id=None if view.metadata is None else view.metadata.user_id,
        temperature=view.temperature,
        top_p=view.top_p,
        top_k=view.top_k,
        images=images,
        has_opaque_parts=has_opaque_parts,
        wants_cost=is_cost_wanted(view.usage),
    )


def _survey(messages: list[Message]) -> tuple[tuple[Image, ...], bool]:
    """Return the images, and whether any block is opaque."""
    images: list[Image] = []
    is_opaque = False
    for message in messages:
        for block in _blocks_in(message.content):
            source = block.source
            if block.type in _PLAIN_SOURCES:
                if not isinstance(source, Source) or source.type not in _PLAIN_SOURCES[block.type]:
                    is_opaque = True
                elif block.type == "image":
                    images.append(_image_at(source))
            elif block.type not in PLAIN_BLOCKS:
                is_opaque = True
    return tuple(images), is_opaque


def _blocks_in(content: str | list[Block] | Block | None) -> Iterator[Block]:
    """Yield all blocks, those inside of blocks too."""
    if content is None or isinstance(content, str):
        return
    for block in [content] if isinstance(content, Block) else content:
        yield block
        if block.content is not None:
            yield from _blocks_in(block.content)
        if isinstance(block.source, Source) and block.source.content is not None:
            yield from _blocks_in(block.source.content)


def _image_at(source: Source) -> Image:
    if source.type == "url":
        return Image("url", 0, source.url or "")
    data = source.data or ""
    return Image("data", len(data), f"data:{source.media_type};base64,{data}")
