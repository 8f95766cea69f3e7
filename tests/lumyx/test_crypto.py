"""Encryption at rest, and the form of API keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumyx.lib import crypto

MASTER, OTHER = b"m" * 32, b"o" * 32


@given(st.text(max_size=300))
def test_what_was_sealed_opens_again(plaintext: str) -> None:
    sealed = crypto.seal(plaintext, master=MASTER, purpose="credential", row="upstream:1")
    assert crypto.unseal(sealed, master=MASTER, purpose="credential", row="upstream:1") == plaintext


def test_sealing_twice_gives_different_bytes_that_do_not_hold_the_secret() -> None:
    first, second = (crypto.seal("sk-secret", master=MASTER, purpose="p", row="r") for _ in range(2))
    assert first != second
    assert b"sk-secret" not in first


@pytest.mark.parametrize(
    ("master", "purpose", "row"),
    [(OTHER, "credential", "upstream:1"), (MASTER, "other", "upstream:1"), (MASTER, "credential", "upstream:2")],
)
def test_another_key_purpose_or_row_does_not_open_it(master: bytes, purpose: str, row: str) -> None:
    sealed = crypto.seal("secret", master=MASTER, purpose="credential", row="upstream:1")
    with pytest.raises(crypto.SecretError):
        crypto.unseal(sealed, master=master, purpose=purpose, row=row)


@given(st.integers(min_value=0, max_value=33), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_does_not_open_it(position: int, change: int) -> None:
    sealed = bytearray(crypto.seal("secret", master=MASTER, purpose="p", row="r"))
    sealed[position % len(sealed)] ^= change
    with pytest.raises(crypto.SecretError):
        crypto.unseal(bytes(sealed), master=MASTER, purpose="p", row="r")


@pytest.mark.parametrize("cut", [b"", b"short", b"x" * 12])
def test_what_is_too_short_to_be_sealed_is_a_secret_error(cut: bytes) -> None:
    with pytest.raises(crypto.SecretError):
        crypto.unseal(cut, master=MASTER, purpose="p", row="r")


def test_new_api_keys_are_well_formed_and_differ() -> None:
    keys = {crypto.new_api_key() for _ in range(200)}
    assert len(keys) == 200
    for key in keys:
        assert len(key) == crypto.API_KEY_LENGTH == 52
        assert key.startswith("lx-")
        assert crypto.api_key_is_well_formed(key)


@given(position=st.integers(min_value=0, max_value=51), letter=st.characters(codec="ascii"))
def test_a_typo_in_one_place_is_noticed_without_a_look_up(position: int, letter: str) -> None:
    key = crypto.new_api_key()
    changed = key[:position] + letter + key[position + 1 :]
    assert crypto.api_key_is_well_formed(changed) == (changed == key)


@pytest.mark.parametrize("wrong", ["", "lx-", "sk-" + "0" * 49, "lx-" + "é" * 49, "lx-" + "0" * 50])
def test_what_is_no_key_at_all_is_not_well_formed(wrong: str) -> None:
    assert not crypto.api_key_is_well_formed(wrong)


def test_the_digest_depends_on_key_and_pepper() -> None:
    digest = crypto.api_key_digest("lx-a", pepper=MASTER)
    assert len(digest) == 32
    assert digest == crypto.api_key_digest("lx-a", pepper=MASTER)
    assert digest not in {crypto.api_key_digest("lx-b", pepper=MASTER), crypto.api_key_digest("lx-a", pepper=OTHER)}
