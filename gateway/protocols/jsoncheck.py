"""One check of a whole JSON body before it is taken apart: what msgspec's Raw values would let through unseen.

Together with a decode by msgspec, which checks the grammar, it accepts exactly what this gateway is ready to price, store and
forward. Refused here: text that is not UTF-8, NUL characters (PostgreSQL text cannot hold them), lone surrogates (no UTF-8 can
hold them), nesting deeper than 64, numbers that no double can hold (1e400), and values beyond number.

Duplicate keys are not refused: as in every client library, the last one counts, and since the upstream's body is built from
the parsed fields, what is priced and what is forwarded are the same value.

It runs on every request, so each rule has a cheap scan in C that settles nearly all bodies and an exact one for the rest.
"""

import re

MAX_DEPTH = 64
#: Lists and objects in one body; more is an attack on parsers, not a prompt. Bounds the cost of the exact depth scan.
MAX_CONTAINERS = 200_000
#: Quotation marks and commas in one body, likewise: they bound its strings, keys and values, and with them the time that a
#: parse holds up everybody else. A million of either is more than a million tokens. Bodies below ``SMALL`` cannot cost much.
MAX_QUOTES, MAX_COMMAS = 1_000_000, 2_000_000
SMALL = 1024 * 1024


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
#: All up to the next number that may be too large, in one match, so that a body costs no Python code for what it holds.
_HARMLESS = re.compile(
    rb'(?:[^"0-9]++'
    rb'|"[^"\\]*+(?:\\.[^"\\]*+)*+"'
    rb"|\d{1,199}+(?!\d)(?:\.\d++)?+(?:[eE][+-]?\d{1,2}+(?!\d))?+(?![eE.]))*+",
    re.DOTALL,
)
_NUMBER = re.compile(rb"\d++(?:\.\d++)?(?:[eE][+-]?\d++)?")
#: Numbers that may be too large in one body; each is looked at by itself.
MAX_HUGE_NUMBERS = 10_000

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
    if len(body) > SMALL:
        _check_size(body)
    if len(body.split(b"{", MAX_DEPTH)) + len(body.split(b"[", MAX_DEPTH)) > MAX_DEPTH:
        _check_depth(body)
    alike = body.translate(_DIGITS_ALIKE)
    # 200 digits in a row cover two neighbours of every hundredth byte.
    if b"e000" in alike or (b"00" in alike[::100] and _LONG_NUMBER in alike):
        _check_numbers(body)


def _check_utf8(body: bytes) -> None:
    if body.startswith(b"\xef\xbb\xbf"):
        raise InvalidJsonError("The body starts with a byte order mark; send plain UTF-8 without one.")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJsonError(f"The body is not valid UTF-8 (byte {error.start}).") from None


def _check_size(body: bytes) -> None:
    for mark, name, limit in ((b'"', "quotation marks", MAX_QUOTES), (b",", "commas", MAX_COMMAS)):
        if body.count(mark) > limit:
            raise InvalidJsonError(f"The body holds more than {limit} {name}.")


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


def _check_numbers(body: bytes) -> None:
    at = 0
    for _ in range(MAX_HUGE_NUMBERS):
        harmless = _HARMLESS.match(body, at)
        at = harmless.end() if harmless else at
        number = _NUMBER.match(body, at)
        if number is None:
            return  # the end, or a string without one: the decode says so, with the position
        if abs(float(number[0])) == float("inf"):
            start = number.start() - (body[at - 1 : at] == b"-")
            raise InvalidJsonError(f"The body holds a number out of range (byte {start}).")
        at = number.end()
    raise InvalidJsonError(f"The body holds more than {MAX_HUGE_NUMBERS} numbers with very large exponents.")
