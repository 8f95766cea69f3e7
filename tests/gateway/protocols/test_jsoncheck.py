"""check_json with a decode by msgspec accepts what the standard library accepts, less what the module says it refuses."""

import contextlib
import json
import math
import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.protocols.jsoncheck import MAX_DEPTH, InvalidJsonError, check_json


def accepts(body: bytes) -> bool:
    """Whether a body passes as it does in the gateway: the check, then the grammar."""
    try:
        check_json(body)
        # A Raw inside an object is what the gateway decodes to: its content is only skipped over.
        msgspec.json.decode(b'{"x":' + body + b"}", type=dict[str, msgspec.Raw])
    except (InvalidJsonError, msgspec.DecodeError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in _strings(item))]
    return [text for item in value for text in _strings(item)] if isinstance(value, list) else []


def oracle(body: bytes) -> bool:
    """Return the same judgement by the standard library, slowly."""
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_finite)
        # Keys that a later duplicate hides are in the body all the same.
        hidden: list[Any] = []

        def keep_all(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            hidden.extend(key for key, _ in pairs)
            hidden.extend(item for _, item in pairs)
            return dict(pairs)

        json.loads(text, parse_int=float, object_pairs_hook=keep_all)
        for string in [*_strings(value), *_strings(hidden)]:
            string.encode()
            if "\x00" in string:
                return False
    except (ValueError, RecursionError):
        return False
    return not text.startswith("\ufeff") and _depth(value) <= MAX_DEPTH


pieces = st.sampled_from(
    [
        *(
            '"',
            "\\",
            "\\\\",
            '\\"',
            "\\n",
            "\\u0000",
            "\\u0041",
            "\\ud83d",
            "\\ude00",
            "\\uD83D\\uDE00",
            "u0000",
            "ud83d",
        ),
        *("{", "}", "[", "]", ",", ":", '"a":', " ", "\n", "\x00", "é", "😀", "\ufeff"),
        *(
            "0",
            "1",
            "12",
            "-",
            ".",
            ".5",
            "e",
            "E",
            "e1",
            "e400",
            "E+400",
            "e-400",
            "1e308",
            "1e309",
            "true",
            "null",
            "NaN",
        ),
        *("Infinity", "9" * 200, "0" * 350, "1" * 310, "[" * 33, "]" * 33, '{"a":' * 33, "}" * 33),
    ]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=12).map("".join))
@example('"\\\\ud83d\\ude00"')
@example('"\\\\\\ud83d\\ude00"')
@example('"\\ud83d\\ud83d\\ude00"')
@example('"\\ud83d\\ude00\\ude00"')
@example('["a", 1e400]')
@example('["a, 1e400"]')
@example('"a\\", 1e400"')
@example("1" + "0" * 309)
@example("1" * 200 + "e150")
def test_it_judges_as_the_oracle_does(text: str) -> None:
    body = text.encode()
    assert accepts(body) == oracle(body)


@settings(max_examples=150, deadline=None)
@given(values, st.booleans())
def test_what_the_standard_library_writes_is_accepted_unless_it_holds_what_is_refused(
    value: Any, ascii_only: bool
) -> None:
    try:
        body = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    assert accepts(body) == oracle(body)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_judged_as_the_oracle_does(noise: bytes) -> None:
    for body in (noise, b'"' + noise + b'"', b'{"a":[' + noise + b"]}"):
        assert accepts(body) == oracle(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a":"\xff"}', "The body is not valid UTF-8 (byte 6)."),
        (b'{"a":"\xed\xa0\x80"}', "The body is not valid UTF-8 (byte 6)."),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":"\x00"}', "NUL byte (byte 6)"),
        (b'{"a":"b\\u0000"}', "escaped NUL character (\\u0000, byte 7)"),
        (b'{"a":"\\ud83d"}', "half of a surrogate pair (byte 6)"),
        (b'{"a":"\\uDE00"}', "half of a surrogate pair (byte 6)"),
        (b'{"a":1e400}', "number out of range (byte 5)"),
        (b'{"a":-1E+999}', "number out of range (byte 5)"),
        (b'{"a":' + b"9" * 400 + b"}", "number out of range (byte 5)"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64 levels"),
        (b"[[]," * 100 + b"1" + b"]" * 100, "nested deeper than 64 levels"),
        (b"[" + b"[]," * 200_001 + b"1]", "more than 200000 lists and objects"),
        (b"[" + b'"",' * 500_001 + b"1]", "more than 1000000 quotation marks"),
        (b"[" + b"1," * 2_000_001 + b"1]", "more than 2000000 commas"),
        (b"[" + b"1e100," * 10_001 + b"1]", "more than 10000 numbers with very large exponents"),
    ],
)
def test_a_refusal_says_what_and_where(body: bytes, message: str) -> None:
    with pytest.raises(InvalidJsonError, match=re.escape(message)):
        check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\\\\u0000"}',
        b'{"a":"\\\\ud83d"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"1e400", "b":"x, 1e400"}',
        b'{"a":"' + b"9" * 400 + b'"}',
        b'{"a":1e-400, "b":1e308}',
        b"[" * 64 + b"]" * 64,
        b'["' + b"[{" * 500 + b'"]',
        b'["\\"' + b"[{" * 500 + b'\\\\"]',
        b'{"url":"data:image/png;base64,' + b"aE123+e456/0e999" * 1000 + b'"}',
        '{"a":"ключ, 鍵, 🔑"}'.encode(),
    ],
)
def test_what_only_looks_bad_is_accepted(body: bytes) -> None:
    check_json(body)
    assert accepts(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b"[" * 1_000_000 + b"]" * 1_000_000,
        b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
        (b"[" * 60 + b"]" * 60 + b",") * 50_000,
        b"[[]," * 500_000,
        b'"\\ud83d' * 300_000,
        b'"' + b"\\" * 4_000_000 + b'"',
        b"1e999," * 500_000,
        b'{"a":"' + b", 1e999" * 500_000 + b'"}',
        b'"\\' * 1_000_000 + b"1e999",
        # As large as a body may be: strings, keys and numbers without end, and text that looks like numbers.
        b'{"a":"' + b"e000" * 8_000_000 + b'"}',
        b'{"a":"' + b"A1E123" * 5_000_000 + b'"}',
        b'{"a":[' + b"1e100," * 5_000_000 + b"1]}",
        b'{"a":[1e100,' + b'"",' * 10_000_000 + b"1]}",
        b'{"a":{' + b'"k":1,' * 5_000_000 + b'"k":1}}',
    ],
    ids=range(15),
)
def test_a_hostile_body_is_judged_in_under_a_second(body: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(InvalidJsonError):
        check_json(body)
    assert time.process_time() - started < 1.0


def test_the_last_of_duplicate_keys_counts() -> None:
    check_json(b'{"model":"a","model":"b"}')
    fields = msgspec.json.decode(b'{"model":"a","model":"b"}', type=dict[str, msgspec.Raw])
    assert bytes(fields["model"]) == b'"b"'
