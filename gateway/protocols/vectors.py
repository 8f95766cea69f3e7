"""Vectors in the two forms of the embeddings protocol, and the way from each to the other.

A list is JSON numbers; base64 is of the same numbers as little-endian float32. From float32 to a list and back nothing is lost.
Each call takes one vector: some 100 µs for 1,536 numbers, so that whoever has many can let others run between them.
"""

import binascii
import math
import sys
from array import array
from typing import Literal, NamedTuple

import msgspec

type Encoding = Literal["float", "base64"]

_WHITESPACE = b" \t\r\n"
_BIG_ENDIAN = sys.byteorder == "big"
#: A float32 without a finite value has all bits of its exponent set: 0x7f or 0xff in its last byte, which few others have.
_MAYBE_NOT_FINITE = (0x7F, 0xFF)

_decode_numbers = msgspec.json.Decoder(list[float]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.encode


class VectorError(Exception):
    """This is no vector; the message says why, in the third person."""


class Vector(NamedTuple):
    """A vector as it stands in an answer, quotes or brackets included."""

    json: bytes
    dimensions: int


def from_list(text: bytes, encoding: Encoding) -> Vector:
    """Return the vector of a JSON list, brackets included. Raises VectorError.

    A list stays as it is but for white space: no digit of it changes.
    """
    try:
        numbers = _decode_numbers(text)
    except (msgspec.DecodeError, RecursionError):
        raise VectorError("a vector is no list of finite numbers") from None
    if not numbers:
        raise VectorError("a vector is empty")
    if encoding == "float":
        spaced = b" " in text or b"\n" in text
        return Vector(text.translate(None, _WHITESPACE) if spaced else text, len(numbers))
    packed = array("f", numbers)
    if _BIG_ENDIAN:
        packed.byteswap()
    raw = packed.tobytes()
    _require_finite(raw)
    return Vector(b'"' + binascii.b2a_base64(raw, newline=False) + b'"', len(numbers))


def from_base64(text: bytes, encoding: Encoding) -> Vector:
    """Return the vector of a JSON string, quotes included. Raises VectorError."""
    inner = text[1:-1]
    try:
        if b"\\" in inner:  # some encoders escape slashes
            inner = _decode_text(text).encode()
        raw = binascii.a2b_base64(inner, strict_mode=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error):
        raise VectorError("a vector is not base64") from None
    if not raw or len(raw) % 4:
        raise VectorError(f"a vector has {len(raw)} bytes, which are no float32 numbers")
    _require_finite(raw)
    if encoding == "base64":
        return Vector(b'"' + inner + b'"', len(raw) // 4)
    return Vector(_encode(_numbers(raw).tolist()), len(raw) // 4)


def _require_finite(raw: bytes) -> None:
    last = raw[3::4]
    if any(mark in last for mark in _MAYBE_NOT_FINITE) and not all(map(math.isfinite, _numbers(raw))):
        raise VectorError("a vector holds numbers that are not finite as float32")


def _numbers(raw: bytes) -> "array[float]":
    numbers = array("f", raw)
    if _BIG_ENDIAN:
        numbers.byteswap()
    return numbers
