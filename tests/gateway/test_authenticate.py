"""Who is calling, from the headers: both styles of every SDK, one resolver, and the documented refusals."""

import pytest

from gateway.errors import ApiError
from gateway.pipeline.authenticate import find_secret

KEY = "lx-" + "a" * 49


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", f"Bearer {KEY}".encode())],
        [(b"authorization", f"bearer   {KEY} ".encode())],
        [(b"x-api-key", KEY.encode())],
        [(b"x-api-key", KEY.encode()), (b"authorization", f"Bearer {KEY}".encode())],
    ],
)
def test_a_key_is_found_in_either_header(headers: list[tuple[bytes, bytes]]) -> None:
    assert find_secret(headers) == KEY


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer ")], [(b"x-api-key", b"  ")]])
def test_no_key_is_no_key(headers: list[tuple[bytes, bytes]]) -> None:
    assert find_secret(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer one"), (b"x-api-key", b"two")],
        [(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")],
    ],
)
def test_two_different_keys_are_a_conflict(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ApiError) as caught:
        find_secret(headers)
    assert (caught.value.status, caught.value.code) == (401, "conflicting_api_keys")


def test_another_scheme_than_bearer_is_refused_with_words_that_help() -> None:
    with pytest.raises(ApiError) as caught:
        find_secret([(b"authorization", b"Basic Zm9vOmJhcg==")])
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert "Bearer" in caught.value.message
    assert (b"x-should-retry", b"false") in caught.value.headers
