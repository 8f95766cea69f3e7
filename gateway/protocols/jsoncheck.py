"""One check of a whole JSON body before it is taken apart: what msgspec's Raw values would let through unseen.

Together with a decode by msgspec, which checks the grammar, it accepts exactly what this gateway is ready to price, store and
forward. Refused here: text that is not UTF-8, NUL characters (PostgreSQL text cannot hold them), lone surrogates (no UTF-8 can
hold them), nesting deeper than 64, numbers that no double can hold (1e400).

Duplicate keys are not refused: as in every client library, the last one counts, and since the upstream's body is built from
the parsed fields, what is priced and what is forwarded are the same value.

It runs on every request, so each rule has a cheap scan in C that settles nearly all bodies and an exact one for the rest.
"""

import re

MAX_DEPTH = 64
#: Lists and objects in one body; more is an attack on parsers, not a prompt. Bounds the cost of the exact depth scan.
MAX_CONTAINERS = 200_000


class InvalidJsonError(Exception):
    """The body is refused; ``message`` tells the client what is wrong and where."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


#: High surrogates without a low one after them; low ones without a high one before them. Run on text without "\\\\".
_LONE_HIGH = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_LONE_LOW = re.compile(rb"\\u[dD][c-fC-F](?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F])")

#: Digits and the sign of an exponent become 0, E becomes e: one search finds every exponent that may be too large.
_DIGITS_ALIKE = bytes.maketrans(b"123456789+E", b"0000000000e")
#: A double ends at 1.8e308. Without three digits of exponent and without 200 digits in a row, a number stays below 1e299.
_LONG_NUMBER = b"0" * 200
_STRING_OR_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?\d++(?:\.\d++)?(?:[eE][+-]?\d++)?', re.DOTALL)

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_BRACKETS_ALIKE = bytes.maketrans(b"{}", b"[]")
_TOO_DEEP = b"[" * (MAX_DEPTH + 1)


def check_json(body: bytes) -> None:
    """Check what a decode by msgspec does not. Raises InvalidJsonError."""
    # A search for one byte (``0 in body``, split) runs at the speed of memory, one for several bytes, or a count, does not.
    if not body.isascii():
        _check_utf8(body)
    if 0x00 in body:
        raise InvalidJsonError(f"The body holds a NUL byte (byte {body.index(0)}).")
    if 0x5C in body and b"\\u" in body:
        _check_escapes(body)
    if len(body.split(b"{", MAX_DEPTH)) + len(body.split(b"[", MAX_DEPTH)) > MAX_DEPTH:
        _check_depth(body)
    alike = body.translate(_DIGITS_ALIKE)
    # 200 digits in a row cover two neighbours of every hundredth byte.
    if b"e000" in alike or (b"00" in alike[::100] and _LONG_NUMBER in alike):
        _check_numbers(body, alike)


def _check_utf8(body: bytes) -> None:
    if body.startswith(b"\xef\xbb\xbf"):
        raise InvalidJsonError("The body starts with a byte order mark; send plain UTF-8 without one.")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJsonError(f"The body is not valid UTF-8 (byte {error.start}).") from None


def _check_escapes(body: bytes) -> None:
    # With escaped backslashes out of the way (same length, so that positions stay), every "\u" is an escape.
    if b"\\\\" in body:
        body = body.replace(b"\\\\", b"__")
    if b"\\u0000" in body:
        raise InvalidJsonError(f"The body holds an escaped NUL character (\\u0000, byte {body.index(b'\\u0000')}).")
    if b"\\ud" in body or b"\\uD" in body:
        lone = _LONE_HIGH.search(body) or _LONE_LOW.search(body)
        if lone:
            raise InvalidJsonError(f"The body holds half of a surrogate pair (byte {lone.start()}).")


def _check_depth(body: bytes) -> None:
    # Without strings and with one kind of bracket, each removal of "[]" takes away the innermost level.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    skeleton = b"".join(body.translate(_BRACKETS_ALIKE, _NOT_STRUCTURE).split(b'"')[::2])
    if skeleton.count(b"[") > MAX_CONTAINERS:
        raise InvalidJsonError(f"The body holds more than {MAX_CONTAINERS} lists and objects.")
    for _ in range(MAX_DEPTH):
        if _TOO_DEEP in skeleton:
            break
        smaller = skeleton.replace(b"[]", b"")
        if len(smaller) == len(skeleton):
            return  # empty, or brackets without a partner: the decode says so, with the position
        skeleton = smaller
    if skeleton:
        raise InvalidJsonError(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _check_numbers(body: bytes, alike: bytes) -> None:
    # Base64 is full of "E123": only digits that begin where a JSON number can begin are worth the exact scan.
    if not _may_hold_a_huge_number(alike):
        return
    for token in _STRING_OR_NUMBER.finditer(body):
        text = token[0]
        if text[0] != 0x22 and abs(float(text)) == float("inf"):
            raise InvalidJsonError(f"The body holds a number out of range (byte {token.start()}).")


def _may_hold_a_huge_number(alike: bytes) -> bool:
    if _LONG_NUMBER in alike:
        return True
    at = alike.find(b"e000")
    while at >= 0:
        # The digits before it, at most 320 of them, and the byte before those.
        before = alike[max(0, at - 320) : at].rstrip(b"0.")
        if not before or (before[-1] in b"-:[, \t\r\n" and alike[at - 1] == 0x30):
            return True
        at = alike.find(b"e000", at + 1)
    return False
