"""Heads of requests as nobody should send them, each with a sound body: drawn by a generator of chance, so a seed repeats them."""

import json
import random
from collections.abc import Callable, Sequence

CHAT_PATH = b"/api/v1/chat/completions"
#: Bytes that a header's value may not have, and bytes that it may, though nobody expects them.
_FORBIDDEN = [bytes([byte]) for byte in (*range(9), *range(10, 32), 127)]
_ODD = [bytes([byte]) for byte in range(128, 256)]

type Line = tuple[bytes, bytes]


def draw_request(chance: random.Random, *, key: str, other_key: str, model: str) -> bytes:
    """Return a whole request for a chat completion with one or two things wrong in its head, or nearly."""
    body = json.dumps({"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    lines: list[Line] = [
        (b"host", b"127.0.0.1"),
        (b"authorization", b"Bearer " + key.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    start = b"POST " + CHAT_PATH + b" HTTP/1.1"
    for _ in range(chance.randint(1, 2)):
        if chance.random() < 0.15:
            start = _draw_start(chance)
        else:
            chance.choice(_CHANGES)(chance, lines, (key.encode(), other_key.encode()))
    return start + b"\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in lines) + b"\r\n" + body


def _draw_start(chance: random.Random) -> bytes:
    methods = [b"GET", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"post", b"P\xf6ST", b"PRI", b"CONNECT", b"POST POST"]
    paths = [
        *(CHAT_PATH + end for end in (b"%00", b"%ff", b"%2e%2e", b"?a=%ff&b", b"#x", b"/", b"//", b";a=b", b"\xff")),
        b"/api/v1/" + b"a" * chance.choice([300, 9_000, 70_000]),
        b"/api/../api/v1/models",
        b"http://other.example" + CHAT_PATH,
        b"",
    ]
    versions = [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 x", b"HTTP/11", b"", b"http/1.1"]
    parts = [b"POST", CHAT_PATH, b"HTTP/1.1"]
    spoilt = chance.randrange(3)
    parts[spoilt] = chance.choice((methods, paths, versions)[spoilt])
    return b" ".join(parts)


def _replace(lines: list[Line], name: bytes, *values: bytes) -> None:
    lines[:] = [line for line in lines if line[0] != name] + [(name, value) for value in values]


def _content_type(chance: random.Random, lines: list[Line], _: Sequence[bytes]) -> None:
    odd = [
        b"text/plain", b"", b"application/json; charset=utf-16", b"text/x; a*=nope''x", b"a" * 9_800, b"multipart/form-data",
        b"multipart/form-data; boundary*=utf-8''x", b"application/json; " + b"a=b;" * 100, b"*/*", b"\xff\xfe",
    ]  # fmt: skip
    _replace(lines, b"content-type", *chance.choices(odd, k=chance.choice([0, 1, 1, 1, 2])))


def _credentials(chance: random.Random, lines: list[Line], keys: Sequence[bytes]) -> None:
    own, other = keys
    bearer = b"Bearer " + own
    authorizations = [
        [bearer, bearer], [bearer, b"Bearer " + other], [b"bearer\t" + own], [b"BEARER  " + own], [b"Basic " + own], [own],
        [bearer + b" " + other], [bearer[:-1]], [b"Bearer \xff" + own], [b"Bearer " + b"x" * 5_000], [b""], [],
    ]  # fmt: skip
    besides = [
        [(b"x-api-key", own)], [(b"x-api-key", other)], [(b"x-api-key", other), (b"x-api-key", own)],
        [(b"proxy-authorization", bearer)], [(b"cookie", b"key=" + own), (b"referer", b"http://a/?key=" + own)], [],
    ]  # fmt: skip
    if chance.random() < 0.8:
        _replace(lines, b"authorization", *chance.choice(authorizations))
    lines.extend(chance.choice(besides))


def _odd_bytes(chance: random.Random, lines: list[Line], _: Sequence[bytes]) -> None:
    value = b"a" + chance.choice([*_FORBIDDEN, *_ODD]) + b"b"
    name = chance.choice([b"x-odd", b"x\xffodd", b"x odd", b"", b"x:odd", b"x-odd\t", b"(x)", b"x" * 500])
    lines.insert(chance.randrange(len(lines) + 1), (name, value) if chance.random() < 0.7 else (b"x-odd", value))


def _many(chance: random.Random, lines: list[Line], _: Sequence[bytes]) -> None:
    count, size = chance.choice([(150, 1), (10, 7_000), (1, 70_000), (90, 100), (3, 1_000)])
    lines.extend((b"x-filler-%d" % number, b"a" * size) for number in range(count))


def _length(chance: random.Random, lines: list[Line], _: Sequence[bytes]) -> None:
    true = next((value for name, value in lines if name == b"content-length"), b"0")
    odd = [b"+" + true, true + b"x", b"0x10", b"-1", b"9" * 30, true + b", " + true, b"", b"1e2", b"0", b"5"]
    _replace(lines, b"content-length", chance.choice(odd), *([true] if chance.random() < 0.3 else []))


def _encodings(chance: random.Random, lines: list[Line], _: Sequence[bytes]) -> None:
    odd = [
        (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"gzip"), (b"transfer-encoding", b"chunked, identity"),
        (b"content-encoding", b"gzip"), (b"content-encoding", b"identity"), (b"content-encoding", b"br, gzip"),
        (b"expect", b"miracles"), (b"upgrade", b"h2c"), (b"upgrade", b"websocket"),
        (b"connection", b"upgrade, \xff"), (b"te", b"trailers"), (b"accept", b"text/html"), (b"accept-encoding", b"br"),
        (b"host", b"other.example"), (b"host", b""), (b"x-forwarded-for", b"\xff, 1.2.3.4"), (b"x-request-id", b"a" * 3_000),
    ]  # fmt: skip
    lines.extend(chance.choices(odd, k=chance.randint(1, 3)))


_CHANGES: Sequence[Callable[[random.Random, list[Line], Sequence[bytes]], None]] = (
    _content_type,
    _credentials,
    _odd_bytes,
    _many,
    _length,
    _encodings,
)
