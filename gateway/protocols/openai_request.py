"""Chat completion requests: read what admission and routing need, carry every other byte untouched."""

from typing import Literal

import msgspec
from msgspec import Raw

from gateway.protocols.body import check_model_name, check_names, read_body
from gateway.protocols.cost import UsageOptions, is_cost_wanted, take_usage_options
from gateway.protocols.generation import Image
from gateway.protocols.wording import RequestShapeError

MAX_CHOICES = 128
#: Parts of a message whose tokens we can bound by their size, or by a profile's maximum an image.
PLAIN_PARTS = frozenset({"text", "refusal", "image_url"})


class ImageUrl(msgspec.Struct, gc=False):
    """Where an image is: a URL or a data URL."""

    url: str


class Part(msgspec.Struct, gc=False):
    """A part of a message's content, as far as we read it."""

    type: str = ""
    text: str | None = None
    image_url: ImageUrl | str | None = None


class Message(msgspec.Struct, gc=False):
    """A message, as far as we read it."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[Raw] | None = None


class StreamOptions(msgspec.Struct, gc=False):
    """What the client asks of the stream."""

    include_usage: bool | None = None


class _View(msgspec.Struct, gc=False):
    """The fields that we read or whose type we vouch for. One typed decode checks them all."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Raw]] | None = None
    tool_choice: str | dict[str, Raw] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Raw]] | None = None
    response_format: dict[str, Raw] | None = None
    reasoning_effort: str | None = None
    logit_bias: dict[str, Raw] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    seed: int | None = None
    user: str | None = None
    usage: UsageOptions | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """A chat completion request: every field byte for byte in ``fields``, and a typed view of what we read."""

    fields: dict[str, Raw]
    size: int
    model: str
    messages: list[Message]
    stream: bool
    include_usage: bool
    #: The explicit limit on output tokens of one choice, and the field it came in; None where the client gave none.
    max_tokens: int | None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None
    #: Choices asked for: output is produced, and billed, for each.
    n: int
    stop: tuple[str, ...]
    has_tools: bool
    images: tuple[Image, ...]
    #: A message holds a part whose tokens its size does not bound: a file, audio, or a kind that we do not know.
    has_opaque_parts: bool
    reasoning_effort: str | None
    #: The charge is to be told in ``usage``.
    wants_cost: bool

    @property
    def message_count(self) -> int:
        """Messages, the system's included."""
        return len(self.messages)

    @property
    def wants_reasoning(self) -> bool:
        """Whether thinking was asked for, by an effort or by ``thinking`` as Messages has it."""
        if self.reasoning_effort is not None and self.reasoning_effort != "none":
            return True
        return "thinking" in self.fields and _is_enabled(self.fields["thinking"])

    @property
    def has_image_urls(self) -> bool:
        """Whether any image is a URL that the upstream would have to fetch."""
        return any(image.kind == "url" for image in self.images)


_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_view = msgspec.json.Decoder(_View).decode


def parse_chat_request(body: bytes) -> ChatRequest:
    """Return the request in ``body``. Raises RequestShapeError with a message for the client."""
    view, fields = read_body(body, _decode_view)
    check_names(fields, read=_READ, unpriced=_UNPRICED)
    limit, limit_field = _explicit_limit(view)
    check_model_name(view.model)
    if not view.messages:
        raise RequestShapeError("invalid_parameter", "messages must hold at least one message.", "messages")
    if view.n is not None and not 1 <= view.n <= MAX_CHOICES:
        raise RequestShapeError("invalid_parameter", f"n must be from 1 to {MAX_CHOICES}, it is {view.n}.", "n")
    stop = view.stop
    return ChatRequest(
        # The field goes nowhere: it is no input.
        size=len(body) - take_usage_options(fields),
        fields=fields,
        model=view.model,
        messages=view.messages,
        stream=bool(view.stream),
        include_usage=view.stream_options is not None and bool(view.stream_options.include_usage),
        max_tokens=limit,
        max_tokens_field=limit_field,
        n=view.n or 1,
        stop=() if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
        has_tools=bool(view.tools or view.functions),
        images=_images_of(view.messages),
        has_opaque_parts=any(
            part.type not in PLAIN_PARTS
            for message in view.messages
            if type(message.content) is list
            for part in message.content
        ),
        reasoning_effort=view.reasoning_effort,
        wants_cost=is_cost_wanted(view.usage),
    )


def upstream_body(
    request: ChatRequest,
    *,
    model: str,
    max_tokens: int | None = None,
    force_usage: bool = True,
    max_tokens_field: str = "max_tokens",
    can_reason: bool = True,
) -> bytes:
    """Return the body for an upstream: its own model name, a ceiling where one was set, usage asked for in streams.

    ``max_tokens`` None leaves the client's own limit as it is; a number replaces it, in the field that the upstream reads.
    Every other field stays byte for byte.
    """
    fields = request.fields.copy()
    fields["model"] = Raw(msgspec.json.encode(model))
    if not can_reason and request.reasoning_effort == "none":
        # There is nothing to turn off, and those upstreams refuse the field whatever it says.
        del fields["reasoning_effort"]
    if max_tokens is not None:
        fields.pop("max_tokens", None)
        fields.pop("max_completion_tokens", None)
        fields[max_tokens_field] = Raw(b"%d" % max_tokens)
    if force_usage and request.stream:
        given = fields.get("stream_options")
        options = {} if given is None or bytes(given) == b"null" else _decode_fields(given)
        options = {name: value for name, value in options.items() if name.casefold() != "include_usage"}
        options["include_usage"] = Raw(b"true")
        fields["stream_options"] = Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)


def _is_enabled(thinking: Raw) -> bool:
    try:
        return bytes(_decode_fields(thinking).get("type", b"")) == b'"enabled"'
    except msgspec.DecodeError:
        return False  # null, or for the upstream to judge


def _explicit_limit(view: _View) -> tuple[int | None, Literal["max_tokens", "max_completion_tokens"] | None]:
    old, new = view.max_tokens, view.max_completion_tokens
    if old is None and new is None:
        return None, None
    for name, value in (("max_tokens", old), ("max_completion_tokens", new)):
        if value is not None and value < 1:
            raise RequestShapeError("invalid_parameter", f"{name} must be at least 1, it is {value}.", name)
    if old is not None and new is not None and old != new:
        message = f"max_tokens is {old} and max_completion_tokens is {new}: send only one of them."
        raise RequestShapeError("invalid_parameter", message, "max_tokens")
    return (old, "max_tokens") if new is None else (new, "max_completion_tokens")


#: Fields by which some upstreams take another model, more output or paid extras than what was priced here, with the values
#: that do no harm: OpenRouter's routing, lengths of llama.cpp and vLLM, searches that are billed apiece, dearer tiers.
_UNPRICED: dict[str, tuple[bytes, ...]] = {
    **dict.fromkeys(("models", "route", "provider", "plugins"), (b"null",)),
    **dict.fromkeys(("n_predict", "best_of", "use_beam_search"), (b"null",)),
    **dict.fromkeys(("web_search_options", "search_parameters"), (b"null",)),
    "service_tier": (b"null", b'"auto"', b'"default"'),
}
_READ = frozenset(_View.__struct_fields__)


def _images_of(messages: list[Message]) -> tuple[Image, ...]:
    images = []
    for message in messages:
        if type(message.content) is list:
            for part in message.content:
                if part.image_url is not None:
                    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
                    is_data = url[:5].lower() == "data:"
                    images.append(Image("data" if is_data else "url", len(url) if is_data else 0, url))
    return tuple(images)
