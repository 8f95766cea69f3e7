"""The sandbox's embedding model: vectors that depend on the text alone, so that searching and comparing can be tried for free.

Texts that share words are near each other: each word lights up the same few dimensions wherever it stands. Vectors have unit
length and ``DIMENSIONS`` dimensions, or as many as were asked for. It counts as the sandbox does: a word is a token, a token
id is one.
"""

import asyncio
import binascii
import hashlib
import math
import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from gateway.protocols.embeddings import parse_embeddings_request
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.types import RouteInfo
from gateway.upstreams.taker import Taker

DIMENSIONS = 256
MAX_DIMENSIONS = 4_096
#: Dimensions that one word lights up.
LIGHTS = 16
#: Words of one input; more is refused, as models do.
MAX_WORDS = 8_192
#: Words after which others get to run.
BATCH = 2_000
#: Longer ones are known by their digest, so that remembering them takes little.
LONG_WORD = 64


class SandboxEmbeddingsCall:
    """One call of the sandbox's embedding model."""

    #: Nobody bills for it.
    stops_billing_on_cancel = True

    def __init__(self, route: RouteInfo, body: bytes) -> None:
        self._request = parse_embeddings_request(body)
        self._behaviour = route.upstream_model

    async def start(self) -> None:
        """Look at what is asked for. Raises UpstreamFailure for the model that fails, and for too many dimensions."""
        if self._behaviour.startswith("error"):
            raise UpstreamFailure(FailureKind.SERVER_ERROR, "the sandbox failed, as asked", status=500)
        if (self._request.dimensions or 0) > MAX_DIMENSIONS:
            detail = f"the sandbox has {MAX_DIMENSIONS} dimensions at most"
            raise UpstreamFailure(FailureKind.CLIENT_CONTENT, detail, status=400)

    async def pour(self, taker: Taker) -> None:
        """Raise UpstreamFailure: an embedding is no stream."""
        raise UpstreamFailure(FailureKind.INVALID, "embeddings are not streamed")

    async def read(self) -> bytes:
        """Return the whole answer. Raises UpstreamFailure for an input that is too long."""
        request, data, tokens, since = self._request, [], 0, 0
        inputs: Sequence[str | list[int]] = request.inputs
        for index, given in enumerate(inputs):
            words = _words_of(given)
            vector = vector_of(words, request.dimensions or DIMENSIONS)
            data.append({"object": "embedding", "index": index, "embedding": _in_form(vector, request.encoding_format)})
            tokens += len(words)
            since += len(words) + LIGHTS
            if since > BATCH:
                since = 0
                await asyncio.sleep(0)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return msgspec.json.encode({"object": "list", "data": data, "model": self._behaviour, "usage": usage})

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


def _words_of(given: str | list[int]) -> list[str]:
    words = [f"#{token}" for token in given] if isinstance(given, list) else given.casefold().split() or [" "]
    if len(words) > MAX_WORDS:
        detail, code = f"the sandbox reads {MAX_WORDS} words at most", "context_length_exceeded"
        raise UpstreamFailure(FailureKind.CLIENT_CONTENT, detail, status=400, code=code)
    return [word if len(word) <= LONG_WORD else hashlib.sha256(word.encode()).hexdigest() for word in words]


def vector_of(words: list[str], dimensions: int) -> "array[float]":
    """Return the vector of some words: of unit length, and the same for the same words in any order."""
    sums = [0] * dimensions
    for word in words:
        for at, sign in _lights_of(word):
            sums[at % dimensions] += sign
    length = math.sqrt(sum(value * value for value in sums))
    if not length:  # the words have put each other out
        sums[0], length = 1, 1.0
    return array("f", [value / length for value in sums])


@lru_cache(maxsize=4_096)
def _lights_of(word: str) -> tuple[tuple[int, int], ...]:
    """Return the dimensions that a word lights up, each with its sign."""
    digest = hashlib.shake_128(word.encode()).digest(2 * LIGHTS)
    numbers = (int.from_bytes(digest[at : at + 2], "big") for at in range(0, len(digest), 2))
    return tuple((number >> 1, 1 if number & 1 else -1) for number in numbers)


def _in_form(vector: "array[float]", encoding: str) -> list[float] | str:
    if encoding == "float":
        return vector.tolist()
    if sys.byteorder == "big":
        vector.byteswap()
    return binascii.b2a_base64(vector.tobytes(), newline=False).decode()
