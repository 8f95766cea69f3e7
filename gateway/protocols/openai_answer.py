"""Chat completion answers on their way to the client: relayed as bytes, scanned only for what billing and we must know.

Replaced: ``id`` and ``model``, so that nothing of the upstream shows. Taken out: usage that only we asked for or that is none,
chunks without choices (Azure's filter results), and what names the upstream or its prices. Forms of a provider's own become the
protocol's (openai_repair). All else passes as it came. An answer that is not JSON of the right shape is a failure of the upstream;
an odd value inside is not.
"""

from copy import replace

import msgspec
from msgspec import UNSET, Raw

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS, WholeAnswer, estimated_output
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_errors import failure_from_error
from gateway.protocols.openai_repair import Repair, is_odd
from gateway.protocols.openai_shapes import Choice, Chunk, LooseChunk, output_in, tightened
from gateway.protocols.openai_told import told_fields, usage_object
from gateway.protocols.openai_usage import ReportedUsage, says_otherwise, usage_from

#: Prefixes learnt per stream before we stop trying: an upstream that changes ``created`` in every chunk is not worth it.
MAX_PREFIXES = 32
_USAGE_NULL = b',"usage":null}'
_CHOICES = b'"choices":'


_decode = msgspec.json.Decoder(Chunk).decode
_decode_loose = msgspec.json.Decoder(LooseChunk).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


class ChunkRelay:
    """Relays the chunks of one stream. ``include_usage``: the client asked for usage, else ours is taken out."""

    __slots__ = (
        "_finished_choices",
        "_id",
        "_is_odd",
        "_model",
        "_our_prefix",
        "_prefix",
        "_prefixes_left",
        "_repair",
        "_reported_bytes",
        "_seen_choices",
        "_strip",
        "estimated_input",
        "flags",
        "output_bytes",
        "started",
        "told_usage",
        "told_wrong",
        "usage",
    )

    def __init__(self, response_id: str, model: str, include_usage: bool, *, estimated_input: int = 0) -> None:
        self._id = Raw(_encode(response_id))
        self._model = Raw(_encode(model))
        self._strip = not include_usage
        #: The chunk at hand is in a form of its provider's own; and what puts it right, once there was one.
        self._is_odd = False
        self._repair: Repair | None = None
        #: What a chunk starts with up to its choices, and the same with our id and model: the same in nearly all chunks.
        self._prefix = b"\xff"
        self._our_prefix = b""
        self._prefixes_left = MAX_PREFIXES
        self._seen_choices: set[int] = set()
        self._finished_choices: set[int] = set()
        self.estimated_input = estimated_input
        #: Content has come: from here on, no other upstream can be tried.
        self.started = False
        self.usage: TokenUsage | None = None
        #: Output that the last report of usage knew of.
        self._reported_bytes = 0
        #: A chunk with usage was relayed to the client, and nothing has come out since.
        self.told_usage = False
        #: The last report is not what a client is to be told.
        self.told_wrong = False
        self.flags = NO_FLAGS
        self.output_bytes = 0

    @property
    def finished(self) -> bool:
        """Whether every choice that has been seen has its finish reason."""
        return bool(self._seen_choices) and len(self._finished_choices) == len(self._seen_choices)

    def feed(self, payload: bytes) -> bytes | None:
        """Return the payload to relay, None if there is nothing for the client in it.

        Raises UpstreamFailure for an error object (with ``produced``) and for what is no chunk.
        """
        chunk = self._chunk_in(payload)
        if chunk.error is not None:
            raise failure_from_error(chunk.error, produced=self.started)
        choices = chunk.choices
        if choices:
            for choice in choices:
                self._note(choice)
        if self._is_odd:
            payload = self._repaired(payload)
        usage = chunk.usage
        if usage is UNSET:
            if not choices:
                return None
            return self._rewritten(payload) if chunk.names_its_upstream else self._renamed(payload)
        if usage is None:
            return self._without_report(payload, chunk)
        if self._count(usage) and not self._strip:
            self.told_usage = True
            return self._rewritten(payload, None if choices else {"choices": Raw(b"[]")})
        return self._rewritten(payload, tells_usage=False) if choices else None

    def estimated_usage(self) -> TokenUsage:
        """Return our own count so far, for an upstream that reports none."""
        return TokenUsage(input=self.estimated_input, output=estimated_output(self.output_bytes))

    def final_usage(self) -> TokenUsage | None:
        """Return the upstream's report, None if there was none; what came out after it is added by our own count."""
        if self.usage is None or self.output_bytes == self._reported_bytes:
            return self.usage
        self.flags |= {"usage_stale"}
        later = estimated_output(self.output_bytes - self._reported_bytes)
        return replace(self.usage, output=self.usage.output + later)

    def _count(self, reported: ReportedUsage) -> bool:
        """Take a report in; return whether it holds counts. Each one holds the whole, so the last one's flags stand."""
        usage, flags = usage_from(reported, output_bytes=self.output_bytes)
        if usage is None:
            self.flags |= flags
            return False
        self.flags = flags
        self.told_wrong = says_otherwise(reported, usage, flags)
        self.usage = usage
        self._reported_bytes = self.output_bytes
        return True

    def _note(self, choice: Choice) -> None:
        if choice.error is not None:
            raise failure_from_error(choice.error, produced=self.started)
        if choice.index not in self._seen_choices:
            self._seen_choices.add(choice.index)
        if choice.finish_reason is not None:
            self._finished_choices.add(choice.index)
        size = output_in(choice)
        if size:
            self.started = True
            self.told_usage = False
            self.output_bytes += size
            part = choice.delta
            if part is None or part.reasoning is not None or part.tool_calls is not None:
                # Only these can be odd, and most are plain text.
                self._is_odd = self._is_odd or is_odd(choice)

    def _without_report(self, payload: bytes, chunk: Chunk) -> bytes | None:
        """Return a chunk whose usage is null, without it unless the client asked for usage."""
        if not chunk.choices:
            return None
        if chunk.names_its_upstream:
            return self._rewritten(payload)
        if not self._strip:
            return self._renamed(payload)
        if payload.endswith(_USAGE_NULL):
            # At the very end it can only be the chunk's own.
            return self._renamed(payload[: -len(_USAGE_NULL)] + b"}")
        return self._rewritten(payload)

    def _repaired(self, payload: bytes) -> bytes:
        self._is_odd = False
        if self._repair is None:
            self._repair = Repair()
        try:
            return self._repair.payload(payload)
        except (msgspec.DecodeError, RecursionError):
            raise self._invalid("a chunk of its stream cannot be read") from None

    def _renamed(self, payload: bytes) -> bytes:
        """Return the payload with our id and model; by its prefix where that is known, else by taking it apart."""
        if payload.startswith(self._prefix):
            return self._our_prefix + payload[len(self._prefix) :]
        if self._prefixes_left:
            self._prefixes_left -= 1
            self._learn(payload)
        return self._rewritten(payload)

    def _learn(self, payload: bytes) -> None:
        """Remember the bytes before the choices, if id and model are among them, and what we send in their place."""
        # The sequence cannot be inside a string: there its quotes would be escaped.
        head, found, _ = payload.partition(_CHOICES)
        try:
            fields = _decode_fields(head.rstrip(b", \t\r\n") + b"}") if found else {}
        except msgspec.DecodeError:
            return
        if "id" not in fields or "model" not in fields or "usage" in fields or "error" in fields:
            return
        fields["id"], fields["model"] = self._id, self._model
        self._prefix = head + found
        self._our_prefix = _encode(fields)[:-1] + b"," + found

    def _rewritten(self, payload: bytes, extra: dict[str, Raw] | None = None, *, tells_usage: bool = True) -> bytes:
        fields = told_fields(_decode_fields(payload))
        fields["id"], fields["model"] = self._id, self._model
        if self._strip or not tells_usage:
            fields.pop("usage", None)
        if extra:
            fields.update(extra)
        return _encode(fields)

    def _chunk_in(self, payload: bytes) -> Chunk:
        if not payload.isascii():
            # Raw values are not checked by the decode, and half a character would break every client.
            self._check_utf8(payload)
        try:
            return _decode(payload)
        except msgspec.ValidationError:
            return self._loose(payload)
        except (msgspec.DecodeError, RecursionError):
            raise self._invalid("a chunk of its stream is not JSON") from None

    def _loose(self, payload: bytes) -> Chunk:
        try:
            loose = _decode_loose(payload)
        except (msgspec.DecodeError, RecursionError):
            raise self._invalid("a chunk of its stream is not an object") from None
        self._is_odd = True
        return tightened(loose)

    def _check_utf8(self, payload: bytes) -> None:
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise self._invalid("a chunk of its stream is not UTF-8") from None

    def _invalid(self, detail: str) -> UpstreamFailure:
        return UpstreamFailure(FailureKind.INVALID, detail, produced=self.started)


def relay_whole(body: bytes, *, response_id: str, model: str, estimated_input: int = 0) -> WholeAnswer:
    """Return a whole answer with our id and model. Raises UpstreamFailure for an error object or for what is no answer.

    ``estimated_input`` is for our own count, where the upstream reports none.
    """
    try:
        body.decode()
        try:
            chunk = _decode(body)
        except msgspec.ValidationError:
            chunk = tightened(_decode_loose(body))
            body = Repair().payload(body)
        if chunk.choices and any(map(is_odd, chunk.choices)):
            body = Repair().payload(body)
        fields = told_fields(_decode_fields(body))
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise UpstreamFailure(FailureKind.INVALID, "its answer is not a JSON object") from None
    if chunk.error is not None:
        raise failure_from_error(chunk.error, produced=False)
    if not chunk.choices:
        raise UpstreamFailure(FailureKind.INVALID, "its answer has no choices")
    fields["id"] = Raw(_encode(response_id))
    fields["model"] = Raw(_encode(model))
    size = 0
    for choice in chunk.choices:
        if choice.error is not None:
            raise failure_from_error(choice.error, produced=False)
        size += output_in(choice)
    usage, flags = None, NO_FLAGS
    if isinstance(chunk.usage, ReportedUsage):
        usage, flags = usage_from(chunk.usage, output_bytes=size)
        if usage is not None and says_otherwise(chunk.usage, usage, flags):
            fields["usage"] = Raw(_encode(usage_object(usage)))
    return WholeAnswer(
        body=_encode(fields),
        usage=usage,
        flags=flags,
        has_output=size > 0 or (usage is not None and usage.output > 0),
        output_bytes=size,
        estimated_input=estimated_input,
    )
