"""What admission, routing and dispatch ask of a request for text, whatever protocol it came in."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec
from msgspec import Raw

from gateway.types import Profile

#: Tokens that a chat template may add: once, per message, and for the preamble that makes a model use tools.
BASE_TOKENS = 64
TOKENS_PER_MESSAGE = 16
TOOL_PREAMBLE_TOKENS = 512
#: What one image may cost at most, where no profile says otherwise (large images in high detail at most providers).
IMAGE_TOKENS = 8_192


class Image(msgspec.Struct, frozen=True, gc=False):
    """An image in a request. ``size`` is the length of its data in the body, 0 for a plain URL."""

    kind: Literal["url", "data"]
    size: int
    url: str


class Generation(Protocol):
    """A request for text. Every field is as the client sent it, put into one form."""

    @property
    def fields(self) -> dict[str, Raw]:
        """The fields of the body, byte for byte."""
        ...

    @property
    def model(self) -> str:
        """The model's public id."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the body."""
        ...

    @property
    def message_count(self) -> int:
        """Messages, the system's included."""
        ...

    @property
    def stream(self) -> bool:
        """Whether events are wanted."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """The explicit limit on output tokens of one choice; None where the client gave none."""
        ...

    @property
    def n(self) -> int:
        """Choices asked for: output is produced, and billed, for each."""
        ...

    @property
    def has_tools(self) -> bool:
        """Whether tools are offered to the model."""
        ...

    @property
    def images(self) -> Sequence[Image]:
        """All images, those in tool results included."""
        ...

    @property
    def has_image_urls(self) -> bool:
        """Whether any image is a URL that the upstream would have to fetch."""
        ...

    @property
    def has_opaque_parts(self) -> bool:
        """Whether a message holds a part whose tokens its size does not bound: a file, audio, a kind that we do not know."""
        ...

    @property
    def wants_reasoning(self) -> bool:
        """Whether the client asked for reasoning: an effort or a budget. Adaptive thinking leaves it to the model."""
        ...

    @property
    def wants_cost(self) -> bool:
        """Whether the client wants to be told the charge in ``usage``."""
        ...


class Target(msgspec.Struct, frozen=True):
    """The upstream that a body is made for."""

    #: Its own name of the model.
    model: str
    profile: Profile
    #: A ceiling on output tokens that replaces the client's own; None leaves that as it is.
    max_tokens: int | None = None
    #: What the model writes at most, for protocols that demand a limit where the client gave none.
    max_output_tokens: int = 4_096
    #: The model can think. One that cannot is not asked to, where the client left it to the model (adaptive thinking).
    can_reason: bool = True


def input_upper_bound(request: Generation, *, image_tokens: int = IMAGE_TOKENS) -> int:
    """Return a number of input tokens that the request cannot exceed.

    By construction: a token of text is at least one byte of UTF-8, and the JSON around the text is at least as long as the
    text itself, so the whole body counts, tools and schemas included, without the images' data; ``image_tokens`` for each
    image and what chat templates add come on top.
    """
    text = request.size - sum(image.size for image in request.images)
    overhead = BASE_TOKENS + TOKENS_PER_MESSAGE * request.message_count + TOOL_PREAMBLE_TOKENS * request.has_tools
    return text + overhead + image_tokens * len(request.images)


def estimated_input(request: Generation, *, image_tokens: int = 1_024) -> int:
    """Return our own estimate of the input tokens, for upstreams that report no usage: a token for each four bytes."""
    text = request.size - sum(image.size for image in request.images)
    return -(-text // 4) + image_tokens * len(request.images)
