"""What chat completion clients send, as far as a Messages upstream can be told: read in whole, unlike what passes through.

Fields of messages and parts that are not named here are not content, and are left out: ``name`` of a participant,
``annotations``, ``reasoning_content`` (the next turn does not need it, and without its signature no upstream takes it back),
the ``detail`` of images, and what other gateways write into the messages that their clients send back.
"""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.protocols.wording import RequestShapeError, shape_error

#: A prompt-cache marker. Carried as it is.
type CacheControl = dict[str, Raw] | None


class ImageUrl(msgspec.Struct, gc=False):
    """Where an image is: a URL or a data URL."""

    url: str


class File(msgspec.Struct, gc=False):
    """A file: its data, or the name under which OpenAI keeps it."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(msgspec.Struct, gc=False):
    """A part of a message's content."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None
    file: File | None = None
    refusal: str | None = None
    cache_control: CacheControl = None


class FunctionCall(msgspec.Struct, gc=False):
    """Which function was called, and its arguments: JSON in a string."""

    name: str
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A call of a tool by the model."""

    id: str
    type: str = "function"
    function: FunctionCall | None = None


class ChatMessage(msgspec.Struct, gc=False):
    """A message of any role."""

    role: str
    content: str | list[Part] | None = None
    #: The function that a message of the role ``function`` answers.
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    #: An answer in sound, named by its id.
    audio: dict[str, Any] | None = None
    cache_control: CacheControl = None


class Function(msgspec.Struct, gc=False):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None
    cache_control: CacheControl = None


class Tool(msgspec.Struct, gc=False):
    """A tool that the model may use."""

    type: str
    function: Function | None = None
    cache_control: CacheControl = None


class Named(msgspec.Struct, gc=False):
    """A function, by its name."""

    name: str


class Choice(msgspec.Struct, gc=False):
    """A tool that the model must use."""

    type: str = "function"
    function: Named | None = None


class Schema(msgspec.Struct, gc=False):
    """The schema of an answer in JSON."""

    name: str | None = None
    description: str | None = None
    schema: dict[str, Raw] | None = None


class ResponseFormat(msgspec.Struct, gc=False):
    """The form of the answer."""

    type: str
    json_schema: Schema | None = None


class Thinking(msgspec.Struct, gc=False):
    """How to think, in the words of Messages: an extension that clients of several gateways use."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Shape[T]:
    """Reads a field of the request's body as ``wanted``."""

    def __init__(self, name: str, wanted: Any) -> None:
        self._name = name
        self._decode = msgspec.json.Decoder(wanted).decode

    def read(self, fields: dict[str, Raw]) -> T | None:
        """Return the field's value, None where it was not sent. Raises RequestShapeError that names what is wrong in it."""
        raw = fields.get(self._name)
        if raw is None:
            return None
        try:
            value: T | None = self._decode(raw)
        except msgspec.ValidationError as error:
            text = str(error)
            where = f"`$.{self._name}"
            told = text.replace("`$", where) if "`$" in text else f"{text} - at {where}`"
            raise shape_error(msgspec.ValidationError(told)) from None
        return value


MESSAGES = Shape[list[ChatMessage]]("messages", list[ChatMessage])
TOOLS = Shape[list[Tool]]("tools", list[Tool] | None)
FUNCTIONS = Shape[list[Function]]("functions", list[Function] | None)
TOOL_CHOICE = Shape[str | Choice]("tool_choice", str | Choice | None)
FUNCTION_CALL = Shape[str | Named]("function_call", str | Named | None)
PARALLEL_TOOL_CALLS = Shape[bool]("parallel_tool_calls", bool | None)
RESPONSE_FORMAT = Shape[ResponseFormat]("response_format", ResponseFormat | None)
THINKING = Shape[Thinking]("thinking", Thinking | None)
TEMPERATURE = Shape[float]("temperature", float | None)
TOP_P = Shape[float]("top_p", float | None)
USER = Shape[str]("user", str | None)
SAFETY_IDENTIFIER = Shape[str]("safety_identifier", str | None)
CACHE_CONTROL = Shape[dict[str, Raw]]("cache_control", dict[str, Raw] | None)


def unsupported(where: str, what: str) -> RequestShapeError:
    """Return the error for content that a Messages upstream cannot be told; ``what`` says why and what to do."""
    return RequestShapeError("unsupported_content", f"{where}: {what}", where)


def invalid(where: str, what: str) -> RequestShapeError:
    """Return the error for a value that is wrong; ``what`` continues the sentence that begins with its name."""
    return RequestShapeError("invalid_parameter", f"{where} {what}", where)


def missing(where: str) -> RequestShapeError:
    """Return the error for a value that was not sent."""
    return RequestShapeError("missing_parameter", f"{where} is missing.", where)
