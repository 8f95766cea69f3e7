"""Vectors: from either form to the other and back, and what is none."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocols.vectors import VectorError, from_base64, from_list

#: The float32 numbers 1.0, -2.0 and 0.5, little-endian: 0000803f 000000c0 0000003f.
THREE, THREE_BASE64 = [1.0, -2.0, 0.5], "AACAPwAAAMAAAAA/"


def test_a_vector_by_hand_in_both_forms() -> None:
    as_list, as_text = json.dumps(THREE).encode(), f'"{THREE_BASE64}"'.encode()
    assert from_list(as_list, "base64") == (as_text, 3)
    assert from_base64(as_text, "float") == (b"[1.0,-2.0,0.5]", 3)
    assert from_base64(as_text, "base64") == (as_text, 3)
    assert from_list(b"[ 1.000,\n\t-2e0, 0.5 ]", "float") == (b"[1.000,-2e0,0.5]", 3)


def test_escaped_slashes_are_read() -> None:
    assert from_base64(b'"AACAPwAAAMAAAAA\\/"', "base64") == (f'"{THREE_BASE64}"'.encode(), 3)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_from_floats_to_base64_and_back_nothing_is_lost(numbers: list[float]) -> None:
    there = from_list(json.dumps(numbers).encode(), "base64")
    back = from_base64(there.json, "float")
    assert there.dimensions == back.dimensions == len(numbers)
    packed = struct.pack(f"<{len(numbers)}f", *numbers)
    assert struct.pack(f"<{len(numbers)}f", *json.loads(back.json)) == packed


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(min_value=-1e30, max_value=1e30), min_size=1, max_size=20))
def test_doubles_become_their_nearest_float32(numbers: list[float]) -> None:
    back = json.loads(from_base64(from_list(json.dumps(numbers).encode(), "base64").json, "float").json)
    assert back == list(struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}f", *numbers)))


@pytest.mark.parametrize(
    "text",
    [b"[]", b"[1,null]", b'["1"]', b"[true]", b"[NaN]", b"[Infinity]", b"[1e999]", b"[[1]]", b"[1 2]", b"[1,]", b"["],
)
def test_what_is_no_list_of_numbers_is_no_vector(text: bytes) -> None:
    for encoding in ("float", "base64"):
        with pytest.raises(VectorError):
            from_list(text, encoding)


def test_a_number_beyond_float32_has_no_base64() -> None:
    with pytest.raises(VectorError, match="not finite"):
        from_list(b"[1e39]", "base64")
    assert from_list(b"[3e38]", "base64").dimensions == 1
    assert from_list(b"[1e39]", "float").json == b"[1e39]"


@pytest.mark.parametrize(
    "text",
    [
        b'""',
        b'"AACA"',  # three bytes
        b'"AACAPw="',
        b'"AACA PwAA"',
        b'"AACAPwAA%AAA"',
        b'"\xff\xff\xff\xff"',
        b'"AACA\\',
        b'"AADAfw=="',  # NaN: 0000c07f
        b'"AACAfw=="',  # infinity: 0000807f
        b'"AACA/w=="',  # minus infinity: 000080ff
    ],
)
def test_what_is_no_base64_of_finite_float32_is_no_vector(text: bytes) -> None:
    for encoding in ("float", "base64"):
        with pytest.raises(VectorError):
            from_base64(text, encoding)


def test_the_largest_float32_is_finite() -> None:
    assert json.loads(from_base64(b'"//9/fw=="', "float").json) == [3.4028234663852886e38]
