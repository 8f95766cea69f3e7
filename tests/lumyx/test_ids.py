"""Identifiers: their version, their order, their alphabet."""

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from lumyx.lib import ids


def test_a_uuid7_says_its_version_variant_and_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = ids.uuid7()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= after


def test_later_uuids_sort_after_earlier_ones() -> None:
    earlier = ids.uuid7()
    time.sleep(0.003)
    assert earlier < ids.uuid7()


def test_uuids_of_one_millisecond_differ() -> None:
    assert len({ids.uuid7() for _ in range(5_000)}) == 5_000


@given(st.integers(min_value=0, max_value=2**256))
def test_base62_can_be_read_back(number: int) -> None:
    value = 0
    for letter in ids.base62(number):
        value = value * 62 + ids.ALPHABET.index(letter)
    assert value == number


@given(st.integers(min_value=0, max_value=2**256 - 1))
def test_base62_keeps_its_width_and_pads_on_the_left(number: int) -> None:
    padded = ids.base62(number, width=43)
    assert len(padded) == 43
    assert padded.lstrip("0") == ids.base62(number)


def test_random_names_have_their_length_and_only_letters_and_digits() -> None:
    names = {ids.random_name(16) for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) == 16 and name.isalnum() and name.isascii() for name in names)
