"""Embedding requests: read what admission and the answer need, carry every other byte untouched."""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from gateway.protocols.answers import BYTES_PER_TOKEN
from gateway.protocols.body import check_model_name, check_names, read_body
from gateway.protocols.cost import UsageOptions, is_cost_wanted, take_usage_options
from gateway.protocols.generation import BASE_TOKENS, TOKENS_PER_MESSAGE, Image
from gateway.protocols.vectors import Encoding
from gateway.protocols.wording import RequestShapeError

MAX_INPUTS = 2_048
MAX_DIMENSIONS = 65_536

#: No vocabulary comes near it.
type TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]

_FORMS = "a string, a list of strings, a list of token ids (integers from 0), or a list of lists of token ids"


class _View(msgspec.Struct, gc=False):
    """The fields that we read or whose type we vouch for. One typed decode checks them all."""

    model: str
    input: str | list[str | TokenId | list[TokenId]]
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None
    usage: UsageOptions | None = None


class EmbeddingsRequest(msgspec.Struct, frozen=True):
    """An embedding request: every field byte for byte in ``fields``, and a typed view of what we read."""

    fields: dict[str, Raw]
    size: int
    model: str
    #: One for each vector that is wanted: text, or token ids.
    inputs: list[str] | list[list[int]]
    #: Token ids in all inputs; None where the inputs are text.
    token_count: int | None
    encoding_format: Encoding
    dimensions: int | None
    user: str | None
    #: The charge is to be told in ``usage``.
    wants_cost: bool

    @property
    def message_count(self) -> int:
        """Inputs: what is read apart from the others."""
        return len(self.inputs)

    @property
    def stream(self) -> bool:
        """Whether events are wanted: never."""
        return False

    @property
    def max_tokens(self) -> int:
        """The limit on output tokens: there are none."""
        return 0

    @property
    def n(self) -> int:
        """Choices: one."""
        return 1

    @property
    def has_tools(self) -> bool:
        """Whether tools are offered: never."""
        return False

    @property
    def images(self) -> tuple[Image, ...]:
        """All images: none."""
        return ()

    @property
    def has_image_urls(self) -> bool:
        """Whether any image is a URL: never."""
        return False

    @property
    def has_opaque_parts(self) -> bool:
        """Whether there is a part whose tokens its size does not bound: never."""
        return False

    @property
    def wants_reasoning(self) -> bool:
        """Whether reasoning is asked for: never."""
        return False


_decode_view = msgspec.json.Decoder(_View).decode


def parse_embeddings_request(body: bytes) -> EmbeddingsRequest:
    """Return the request in ``body``. Raises RequestShapeError with a message for the client."""
    try:
        view, fields = read_body(body, _decode_view)
    except RequestShapeError as error:
        raise _retold(error) from None
    check_names(fields, read=_READ, unpriced=_UNPRICED)
    check_model_name(view.model)
    if view.dimensions is not None and not 1 <= view.dimensions <= MAX_DIMENSIONS:
        message = f"dimensions must be from 1 to {MAX_DIMENSIONS}, it is {view.dimensions}."
        raise RequestShapeError("invalid_parameter", message, "dimensions")
    inputs, token_count = _inputs_of(view.input)
    return EmbeddingsRequest(
        # The field goes nowhere: it is no input.
        size=len(body) - take_usage_options(fields),
        fields=fields,
        model=view.model,
        inputs=inputs,
        token_count=token_count,
        encoding_format=_encoding(view.encoding_format),
        dimensions=view.dimensions,
        user=view.user,
        wants_cost=is_cost_wanted(view.usage),
    )


def embeddings_body(request: EmbeddingsRequest, *, model: str, gives_base64: bool = False) -> bytes:
    """Return the body for an upstream: its own model name, and the form of vectors that we want from it.

    That is base64 wherever it is known to be given, whatever the client wants: a third of the bytes to read. Others may refuse
    it, and some demand the field, so they are asked for numbers. Every other field stays byte for byte.
    """
    fields = request.fields.copy()
    fields["model"] = Raw(msgspec.json.encode(model))
    fields["encoding_format"] = Raw(b'"base64"' if gives_base64 else b'"float"')
    return msgspec.json.encode(fields)


def tokens_upper_bound(request: EmbeddingsRequest) -> int:
    """Return a number of input tokens that the request cannot exceed.

    By construction: token ids are counted, and a token of text is at least one byte of the body; what a model adds around each
    input comes on top.
    """
    counted = request.size if request.token_count is None else request.token_count
    return counted + BASE_TOKENS + TOKENS_PER_MESSAGE * len(request.inputs)


def estimated_tokens(request: EmbeddingsRequest) -> int:
    """Return our own count of the input tokens: exact for token ids; for text, one for each four bytes of the field."""
    if request.token_count is not None:
        return request.token_count
    return max(len(request.inputs), -(-len(bytes(request.fields["input"])) // BYTES_PER_TOKEN))


def _encoding(given: str | None) -> Encoding:
    if given is None or given == "float":
        return "float"
    if given == "base64":
        return "base64"
    message = f'encoding_format must be "float" or "base64", it is "{given[:40]}".'
    raise RequestShapeError("invalid_parameter", message, "encoding_format")


def _retold(error: RequestShapeError) -> RequestShapeError:
    """Return the error with all the forms that ``input`` may have, where it is of the wrong type."""
    if error.param is None or not error.param.startswith("input") or error.code == "missing_parameter":
        return error
    message = f"input must be {_FORMS}; {error.param} is none of these."
    return RequestShapeError("invalid_parameter", message, error.param)


def _inputs_of(given: str | list[str | int | list[int]]) -> tuple[list[str] | list[list[int]], int | None]:
    """Return one entry for each vector that is wanted, and how many token ids they are. Raises RequestShapeError."""
    if not given:
        raise RequestShapeError("invalid_parameter", "input is empty: send at least one text to embed.", "input")
    if isinstance(given, str):
        return [given], None
    kinds = set(map(type, given))
    if len(kinds) > 1:
        raise RequestShapeError("invalid_parameter", f"input must be {_FORMS}, and no mixture of these.", "input")
    if int in kinds:
        return [given], len(given)  # type: ignore[return-value]  # all are integers
    if len(given) > MAX_INPUTS:
        message = f"input holds {len(given)} inputs, and one request may hold {MAX_INPUTS}. Send several requests."
        raise RequestShapeError("invalid_parameter", message, "input")
    if not all(given):
        at = next(index for index, one in enumerate(given) if not one)
        raise RequestShapeError("invalid_parameter", f"input[{at}] is empty: leave it out.", f"input[{at}]")
    if str in kinds:
        return given, None  # type: ignore[return-value]  # all are strings
    return given, sum(map(len, given))  # type: ignore[return-value,arg-type]  # all are lists


#: Fields by which some upstreams take another model, another input or a dearer tier than what was priced here, with the values
#: that do no harm: OpenRouter's routing, vLLM's chat in place of ``input``, streams, which no embedding has.
_UNPRICED: dict[str, tuple[bytes, ...]] = {
    **dict.fromkeys(("models", "route", "provider", "plugins", "messages"), (b"null",)),
    "stream": (b"null", b"false"),
    "service_tier": (b"null", b'"auto"', b'"default"'),
}
_READ = frozenset(_View.__struct_fields__)
