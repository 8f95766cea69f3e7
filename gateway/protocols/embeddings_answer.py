"""Embedding answers on their way to the client: written anew, so that nothing of the upstream shows.

The vectors are cut out of the body where they stand, one after the other, and checked and converted one at a time; what is left
is a small skeleton of JSON, decoded once by type. So 2,048 vectors of 1,536 numbers never hold up the event loop for longer
than a step takes: ``answer_in_steps`` is a generator for that.
"""

import re
from collections.abc import Generator
from io import BytesIO
from typing import Any

import msgspec

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS, Labels, WholeAnswer
from gateway.protocols.cost import cost_number
from gateway.protocols.counts import is_number
from gateway.protocols.embeddings_request import EmbeddingsRequest, estimated_tokens, tokens_upper_bound
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_errors import failure_from_error
from gateway.protocols.vectors import Encoding, Vector, VectorError, from_base64, from_list

#: Bytes of vectors that are read or written in one step: a millisecond or two.
STEP = 256 * 1024
#: The same for what is only copied.
COPY_STEP = 8 * STEP
#: Bytes of one vector: room for 65,536 numbers, of which each is 32 bytes long.
MAX_VECTOR = 2 * 1024 * 1024
#: The key cannot be inside a string: there its quotes would be escaped.
_VECTOR = re.compile(rb'"embedding"\s{0,99}+:\s{0,99}+([\["])')


class _Item(msgspec.Struct, gc=False):
    """An entry of ``data`` in the skeleton: its vector's place among the vectors, in a list."""

    embedding: tuple[int]
    index: int | None = None


class _Reply(msgspec.Struct, gc=False):
    """The skeleton. ``usage`` and ``error`` may be of any type: an odd report must not break an answer."""

    data: list[_Item] | None = None
    usage: Any = None
    error: Any = None


class _Skeleton:
    """A body in which numbers have taken the place of the vectors, and those, in the order in which they came."""

    __slots__ = ("_at", "_body", "_encoding", "_parts", "vectors")

    def __init__(self, body: bytes, encoding: Encoding) -> None:
        self.vectors: list[Vector] = []
        self._body = body
        self._encoding = encoding
        self._parts: list[bytes] = []
        self._at = 0

    def cut_next(self) -> int | None:
        """Take the next vector out; return its size, the larger one of two, None if there is no other. Raises VectorError."""
        body, found = self._body, _VECTOR.search(self._body, self._at)
        if found is None:
            return None
        start, is_list = found.start(1), found[1] == b"["
        # An escaped quote would be no base64: the string is cut short, and found wrong.
        end = body.find(b"]" if is_list else b'"', start + 1, start + MAX_VECTOR) + 1
        if not end:
            raise VectorError(f"a vector has no end within {MAX_VECTOR} bytes")
        read = from_list if is_list else from_base64
        vector = read(body[start:end], self._encoding)
        self._parts += (body[self._at : start], b"[%d]" % len(self.vectors))
        self.vectors.append(vector)
        self._at = end
        return max(end - start, len(vector.json))

    def decoded(self) -> _Reply:
        """Return the skeleton, decoded. Raises UpstreamFailure."""
        try:
            return _decode(b"".join((*self._parts, self._body[self._at :])))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _invalid("it is no list of embeddings") from None


_decode = msgspec.json.Decoder(_Reply).decode
_encode = msgspec.json.encode


def embeddings_answer(body: bytes, request: EmbeddingsRequest, labels: Labels) -> WholeAnswer:
    """Return the client's answer for an upstream's whole one, all at once. Raises UpstreamFailure."""
    steps = answer_in_steps(body, request, labels)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            answer: WholeAnswer = done.value
            return answer


def answer_in_steps(body: bytes, request: EmbeddingsRequest, labels: Labels) -> Generator[None, None, WholeAnswer]:
    """Return the client's answer for an upstream's whole one, with a pause wherever others should get to run.

    Its usage is told as it is billed. Raises UpstreamFailure for an error object, for what is no answer, and for vectors that
    are not one for each input.
    """
    skeleton, since = _Skeleton(body, request.encoding_format), 0
    try:
        while (size := skeleton.cut_next()) is not None:
            if len(skeleton.vectors) > len(request.inputs):
                raise _invalid(f"it has more vectors than the {len(request.inputs)} inputs")
            since += size
            if since > STEP:
                since = 0
                yield
    except VectorError as error:
        raise _invalid(str(error)) from None
    reply = skeleton.decoded()
    if reply.error is not None:
        raise failure_from_error(reply.error, produced=False)
    ordered = _ordered(reply.data, skeleton.vectors, len(request.inputs))
    _check_dimensions(ordered, request.dimensions)
    usage, flags = _usage_of(reply.usage, request)
    told = TokenUsage(input=estimated_tokens(request)) if usage is None else usage
    return WholeAnswer(
        body=(yield from _written(ordered, labels.model, told)),
        usage=usage,
        flags=flags,
        has_output=True,
        output_bytes=0,
        estimated_input=told.input,
    )


def as_told(body: bytes, _usage: TokenUsage) -> bytes:
    """Return an answer of ours as it is: it was written with the usage that is billed."""
    return body


def add_cost_to_vectors(body: bytes, charge: int) -> bytes:
    """Return an answer of ours with ``cost`` (nano-USD as dollars) in its ``usage``, with which it ends: nothing is decoded."""
    return b"".join((memoryview(body)[:-2], b',"cost":', bytes(cost_number(charge)), b"}}"))


def _written(vectors: list[Vector], model: str, usage: TokenUsage) -> Generator[None, None, bytes]:
    # Grows in place and is given out without a copy, where a join would hold up everybody for 60 MB at a time.
    out, since = BytesIO(), 0
    out.write(b'{"object":"list","data":[')
    for at, vector in enumerate(vectors):
        out.write(b'%b{"object":"embedding","index":%d,"embedding":' % (b"," if at else b"", at))
        out.write(vector.json)
        out.write(b"}")
        since += len(vector.json)
        if since > COPY_STEP:
            since = 0
            yield
    out.write(b'],"model":%b,' % _encode(model))
    out.write(b'"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (usage.input, usage.input))
    return out.getvalue()


def _ordered(items: list[_Item] | None, vectors: list[Vector], count: int) -> list[Vector]:
    """Return the vectors in the order of the inputs. Raises UpstreamFailure unless each input has one.

    An entry without an index counts by its place: some leave out indexes, and some those that are 0.
    """
    if not items:
        raise _invalid("it has no embeddings")
    if len(items) != count:
        raise _invalid(f"it has {len(items)} embeddings for {count} inputs")
    ordered: list[Vector | None] = [None] * count
    for place, item in enumerate(items):
        index, (ordinal,) = place if item.index is None else item.index, item.embedding
        if not 0 <= index < count or ordered[index] is not None or not 0 <= ordinal < len(vectors):
            raise _invalid("its indexes are not one for each input")
        ordered[index] = vectors[ordinal]
    return [vector for vector in ordered if vector is not None]


def _check_dimensions(vectors: list[Vector], wanted: int | None) -> None:
    """Raise UpstreamFailure for vectors that cannot be compared with each other, or are not as long as was asked for."""
    expected = vectors[0].dimensions if wanted is None else wanted
    for vector in vectors:
        if vector.dimensions != expected:
            raise _invalid(f"a vector has {vector.dimensions} dimensions in place of {expected}")


def _usage_of(reported: Any, request: EmbeddingsRequest) -> tuple[TokenUsage | None, frozenset[str]]:
    """Return what the upstream reports, None if it reports nothing, and flags that say what had to be put right.

    Flags: ``usage_clamped`` (more than the input can be, or negative), ``usage_zero_input`` (none), ``usage_unreadable``. There is
    always input, so our own count stands in for none and for less.
    """
    counts = reported if isinstance(reported, dict) else {}
    count = counts.get("prompt_tokens")
    if count is None:
        count = counts.get("total_tokens")
    if count is None:
        return None, NO_FLAGS
    if not is_number(count):
        return None, frozenset({"usage_unreadable"})
    if count <= 0:
        flag = "usage_zero_input" if count == 0 else "usage_clamped"
        return TokenUsage(input=estimated_tokens(request)), frozenset({flag})
    clamped = min(int(count), tokens_upper_bound(request))
    return TokenUsage(input=clamped), frozenset({"usage_clamped"}) if clamped < int(count) else NO_FLAGS


def _invalid(detail: str) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.INVALID, f"its answer is not valid: {detail}")
