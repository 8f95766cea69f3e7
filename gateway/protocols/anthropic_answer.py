"""Messages answers on their way to a Messages client: relayed as bytes, checked and scanned for what billing must know.

Replaced: ``id`` and ``model``. Taken out: what names the upstream, and its pings. Told anew: usage, as it is billed. All else
passes as it came, each event with its ``event:`` line.
"""

import msgspec
from msgspec import Raw

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS, Labels, WholeAnswer
from gateway.protocols.anthropic_errors import failure_from_messages_error
from gateway.protocols.anthropic_reader import MessagesReader
from gateway.protocols.anthropic_shapes import Event, message_in, output_in_block
from gateway.protocols.anthropic_told import told_message, told_usage
from gateway.protocols.anthropic_usage import messages_usage_from
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.generation import Generation
from gateway.protocols.openai_told import UPSTREAM_FIELDS
from gateway.protocols.sse import KEEP_ALIVE

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


class MessagesRelay(MessagesReader):
    """Relays the events of one stream. ``message_delta`` and ``message_stop`` are kept back for ``end``."""

    __slots__ = ("_delta", "_id", "_last", "_model", "_usage_given")

    def __init__(self, labels: Labels) -> None:
        super().__init__(labels)
        self._id = Raw(_encode(labels.response_id))
        self._model = Raw(_encode(labels.model))
        #: Reports of usage in which the parts of cache writes may be: the last and the first that name them.
        self._usage_given: tuple[Raw, ...] = ()
        #: Fields of ``message_delta``, and of the object ``delta`` in it.
        self._last: dict[str, Raw] = {}
        self._delta: dict[str, Raw] = {}

    def feed(self, payload: bytes) -> bytes:
        """Return the event to relay for one payload, empty if there is nothing for the client in it.

        Raises UpstreamFailure (with ``produced``) for an error event, for what is no event, and for a breach of the grammar.
        """
        event = self.read(payload)
        if event is None:
            return b""
        kind = event.type
        if kind == "content_block_delta" and 0x0A not in payload:
            return b"event: content_block_delta\ndata: " + payload + b"\n\n"
        if kind == "message_start":
            return self._started_message(payload)
        if kind == "message_delta":
            self._keep(event, payload)
            return b""
        if kind == "message_stop":
            return b""
        return framed(kind, payload)

    def end(self, usage: TokenUsage, cost: int | None = None) -> bytes:
        """Return ``message_delta`` with the usage that was billed, and ``message_stop``."""
        delta = self._delta or {"stop_reason": Raw(b"null"), "stop_sequence": Raw(b"null")}
        fields = self._last | {"type": Raw(b'"message_delta"'), "delta": Raw(_encode(delta))}
        fields["usage"] = told_usage(usage, self._usage_given, cost)
        return framed("message_delta", _encode(fields)) + STOP

    def life_sign(self) -> bytes:
        """Return what shows a waiting client that the line is alive: a ping, once it has its ``message_start``."""
        return PING if self.started else KEEP_ALIVE

    def _started_message(self, payload: bytes) -> bytes:
        fields = _decode_fields(payload)
        message = told_message(_decode_fields(fields["message"]), response_id=self._id, model=self._model)
        message["content"] = Raw(b"[]")
        self._usage_given = _given(message)
        message["usage"] = told_usage(self._usage or TokenUsage(), self._usage_given)
        return framed("message_start", _encode({"type": "message_start", "message": message}))

    def _keep(self, event: Event, payload: bytes) -> None:
        fields = _decode_fields(payload)
        for name in UPSTREAM_FIELDS:
            fields.pop(name, None)
        delta, usage = fields.pop("delta", None), fields.pop("usage", None)
        if event.delta is not None and delta is not None:
            self._delta |= _decode_fields(delta)
        if usage is not None and _names_cache_parts(usage):
            self._usage_given = (usage, *self._usage_given[-1:])
        self._last |= fields


def relay_whole_message(body: bytes, request: Generation, labels: Labels) -> WholeAnswer:
    """Return a whole message with our id and model. Raises UpstreamFailure for an error object or for what is no message.

    All pairs of protocols have this signature; here, ``request`` is not needed.
    """
    message = message_in(body)
    if message.error is not None or message.type == "error":
        raise failure_from_messages_error(message.error or msgspec.json.decode(body))
    if message.content is None:
        raise UpstreamFailure(FailureKind.INVALID, "its answer has no content")
    size = sum(output_in_block(block) for block in message.content)
    usage, flags = None, NO_FLAGS
    if message.usage is not None:
        usage, flags = messages_usage_from(message.usage, output_bytes=size)
    response_id, model = Raw(_encode(labels.response_id)), Raw(_encode(labels.model))
    fields = told_message(_decode_fields(body), response_id=response_id, model=model)
    fields["usage"] = told_usage(usage or TokenUsage(), _given(fields))
    return WholeAnswer(
        body=_encode(fields),
        usage=usage,
        flags=flags,
        has_output=size > 0 or (usage is not None and usage.output > 0),
        output_bytes=size,
        estimated_input=labels.estimated_input,
    )


def _given(message: dict[str, Raw]) -> tuple[Raw, ...]:
    usage = message.get("usage")
    return (usage,) if usage is not None and _names_cache_parts(usage) else ()


def _names_cache_parts(usage: Raw) -> bool:
    return b'"cache_creation"' in bytes(usage)


def framed(name: str, payload: bytes) -> bytes:
    """Return an event with its name; line ends in the JSON begin new lines of data."""
    if 0x0A in payload:
        payload = payload.replace(b"\n", b"\ndata: ")
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"
