"""Bad input over real sockets: each gets its documented error in the one shape, nothing is lost, nothing is charged."""

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.wire import (
    CHAT,
    HELLO,
    Answer,
    assert_is_error,
    connect,
    encode_request,
    exchange,
    post,
    receive_answer,
)

MEGABYTE = 1024 * 1024
USER = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def rich(installation: Installation) -> Tenant:
    """One workspace for all bad requests of this module: none may cost it anything."""
    return installation.new_tenant()


@pytest.fixture(autouse=True)
def nothing_is_charged(rich: Tenant, books: Books, gateway: Gateway) -> Iterator[None]:
    """After bad input the balance is untouched, no hold is open, and the gateway still answers."""
    before = books.posted(rich)
    yield
    assert books.posted(rich) == before
    assert books.held(rich) == 0
    assert books.counted(rich) == (0, 0)
    assert exchange(gateway.port, encode_request(path="/healthz", method="GET")).status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "invalid_json", id="nothing"),
        pytest.param(b"{", "invalid_json", id="cut"),
        pytest.param(b"model=sandbox/paid", "invalid_json", id="a form"),
        pytest.param(b'{"model": "sandbox/paid", "messages": []} extra', "invalid_json", id="more after it"),
        pytest.param(b"\xff\xfe{}", "invalid_json", id="not utf-8"),
        pytest.param(b'{"model": NaN}', "invalid_json", id="not a number"),
        pytest.param(b'{"temperature": 1e400}', "invalid_json", id="a number too large"),
        pytest.param(b'{"model": "a\\u0000b"}', "invalid_json", id="a NUL"),
        pytest.param(b'{"model": "\\ud800"}', "invalid_json", id="half a surrogate pair"),
        pytest.param(b"[" * 1_000_000 + b"]" * 1_000_000, "invalid_json", id="a million deep"),
        pytest.param(b'{"messages":' + b"[" * 100 + b"]" * 100 + b"}", "invalid_json", id="a hundred deep"),
    ],
)
def test_what_is_not_sound_json_is_400_at_once(gateway: Gateway, rich: Tenant, body: bytes, code: str) -> None:
    began = time.monotonic()
    answer = post(gateway.port, body, key=rich.key)
    assert time.monotonic() - began < 1
    assert_is_error(answer, 400, code, secret=rich.key)


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        pytest.param([], "invalid_json", "object", id="a list"),
        pytest.param("text", "invalid_json", "object", id="a string"),
        pytest.param(None, "invalid_json", "object", id="null"),
        pytest.param({"messages": USER}, "missing_parameter", "model", id="no model"),
        pytest.param({"model": "sandbox/paid"}, "missing_parameter", "messages", id="no messages"),
        pytest.param({"model": 5, "messages": USER}, "invalid_parameter", "model", id="model is a number"),
        pytest.param({"model": ["a"], "messages": USER}, "invalid_parameter", "model", id="model is a list"),
        pytest.param({"model": "", "messages": USER}, "invalid_parameter", "model", id="model is empty"),
        pytest.param({"model": "sandbox/paid", "messages": {}}, "invalid_parameter", "messages", id="messages are an object"),
        pytest.param({"model": "sandbox/paid", "messages": []}, "invalid_parameter", "messages", id="no message in messages"),
        pytest.param({"model": "sandbox/paid", "messages": ["a"]}, "invalid_parameter", "messages", id="a message is a string"),
        pytest.param({**HELLO, "stream": "yes"}, "invalid_parameter", "stream", id="stream is a string"),
        pytest.param({**HELLO, "max_tokens": "many"}, "invalid_parameter", "max_tokens", id="max_tokens is a string"),
        pytest.param({**HELLO, "max_tokens": 0}, "invalid_parameter", "max_tokens", id="max_tokens is zero"),
        pytest.param({**HELLO, "max_tokens": 1.5}, "invalid_parameter", "max_tokens", id="max_tokens is a fraction"),
        pytest.param({**HELLO, "model": "m" * 5000}, "invalid_parameter", "model", id="model is long"),
        pytest.param({**HELLO, "n": -1}, "invalid_parameter", "n", id="n is negative"),
        pytest.param({**HELLO, "stream_options": "all"}, "invalid_parameter", "stream_options", id="stream_options is a string"),
    ],
)  # fmt: skip
def test_wrong_types_are_400_and_name_the_parameter(
    gateway: Gateway, rich: Tenant, body: Any, code: str, named: str
) -> None:
    message = assert_is_error(post(gateway.port, body, key=rich.key), 400, code, secret=rich.key)
    assert named in message


@pytest.mark.parametrize("model", ["no/such-model", "sandbox/paid ", "SANDBOX/PAID", "../etc/passwd", "🦊"])
def test_an_unknown_model_is_404(gateway: Gateway, rich: Tenant, model: str) -> None:
    assert_is_error(post(gateway.port, {**HELLO, "model": model}, key=rich.key), 404, "model_not_found")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param([], "missing_api_key", id="none"),
        pytest.param([("x-api-key", "")], "missing_api_key", id="empty x-api-key"),
        pytest.param([("Authorization", "")], "invalid_api_key", id="empty"),
        pytest.param([("Authorization", "Bearer ")], "missing_api_key", id="bearer without a key"),
        pytest.param([("Authorization", "Bearer lx-wrong")], "invalid_api_key", id="wrong"),
        pytest.param([("Authorization", "Bearer " + "x" * 4000)], "invalid_api_key", id="long"),
        pytest.param([("Authorization", "Bearer lx-\xe9\xff")], "invalid_api_key", id="not ascii"),
        pytest.param([("Authorization", "Basic dXNlcjpwYXNz")], "invalid_api_key", id="basic"),
        pytest.param([("x-api-key", "lx-wrong")], "invalid_api_key", id="wrong in x-api-key"),
    ],
)
def test_a_missing_or_wrong_key_is_401_and_not_to_be_retried(
    gateway: Gateway, headers: list[tuple[str, str]], code: str
) -> None:
    answer = post(gateway.port, HELLO, key=None, headers=headers)
    assert_is_error(answer, 401, code)
    assert answer.headers["x-should-retry"] == "false"
    assert "lx-wrong" not in answer.body.decode()


def test_a_well_formed_key_that_nobody_has_is_401(gateway: Gateway, installation: Installation, rich: Tenant) -> None:
    stranger = installation.new_key(rich.slug)
    installation.query("DELETE FROM accounts_apikey WHERE prefix = %s RETURNING id", stranger[:11])
    assert_is_error(post(gateway.port, HELLO, key=stranger), 401, "invalid_api_key", secret=stranger)


def test_two_different_keys_at_once_are_401(gateway: Gateway, rich: Tenant, installation: Installation) -> None:
    other = installation.new_key(rich.slug)
    answer = post(gateway.port, HELLO, key=rich.key, headers=[("x-api-key", other)])
    assert_is_error(answer, 401, "conflicting_api_keys", secret=rich.key)
    assert other not in answer.body.decode()


def test_an_expired_key_is_401(gateway: Gateway, rich: Tenant, installation: Installation) -> None:
    key = installation.new_key(rich.slug, "--expires", "2100-01-01T00:00:00+00:00")
    assert exchange(gateway.port, encode_request(path="/api/v1/models", method="GET", key=key)).status == 200
    installation.query("UPDATE accounts_apikey SET expires_at = now() WHERE prefix = %s RETURNING id", key[:11])
    assert_is_error(post(gateway.port, HELLO, key=key), 401, "expired_api_key", secret=key)


def test_a_key_is_refused_within_a_second_of_its_revocation(
    gateway: Gateway, new_tenant: Callable[..., Tenant], installation: Installation
) -> None:
    tenant = new_tenant()
    assert post(gateway.port, HELLO, key=tenant.key).status == 200
    installation.manage("apikey", "revoke", tenant.key[:11])
    assert_is_error(post(gateway.port, HELLO, key=tenant.key), 401, "revoked_api_key", secret=tenant.key)


def test_a_suspended_workspace_is_403_within_a_second(
    gateway: Gateway, new_tenant: Callable[..., Tenant], installation: Installation
) -> None:
    tenant = new_tenant()
    assert post(gateway.port, HELLO, key=tenant.key).status == 200
    installation.manage("workspace", "suspend", tenant.slug)
    assert_is_error(post(gateway.port, HELLO, key=tenant.key), 403, "workspace_suspended", secret=tenant.key)


def test_a_key_for_other_models_is_403(gateway: Gateway, rich: Tenant, installation: Installation) -> None:
    key = installation.new_key(rich.slug, "--models", "sandbox/echo")
    assert_is_error(post(gateway.port, HELLO, key=key), 403, "model_not_allowed", secret=key)


def test_no_credits_is_402(gateway: Gateway, new_tenant: Callable[..., Tenant]) -> None:
    poor = new_tenant(credits_usd=None)
    assert_is_error(post(gateway.port, HELLO, key=poor.key), 402, "insufficient_credits", secret=poor.key)


def test_an_explicit_max_tokens_beyond_the_balance_is_402_and_names_the_affordable_value(
    gateway: Gateway, new_tenant: Callable[..., Tenant]
) -> None:
    poor = new_tenant(credits_usd="0.001")
    refused = post(gateway.port, {**HELLO, "max_tokens": 4000}, key=poor.key)
    message = assert_is_error(refused, 402, "insufficient_credits")
    numbers = [int(word.strip(".,")) for word in message.split() if word.strip(".,").isdigit()]
    affordable = max(number for number in numbers if number != 4000)
    assert 0 < affordable < 4000
    assert post(gateway.port, {**HELLO, "max_tokens": affordable}, key=poor.key).status == 200


def test_without_max_tokens_the_ceiling_is_lowered_to_what_the_balance_covers(
    gateway: Gateway, new_tenant: Callable[..., Tenant]
) -> None:
    poor = new_tenant(credits_usd="0.001")
    answer = post(gateway.port, HELLO, key=poor.key)
    assert answer.status == 200, answer.body
    assert 0 < int(answer.headers["x-lumyx-max-tokens"]) < 4096


def test_more_tokens_than_the_model_has_are_lowered_to_what_it_has(
    gateway: Gateway, new_tenant: Callable[..., Tenant]
) -> None:
    answer = post(gateway.port, {**HELLO, "max_tokens": 10**30}, key=new_tenant().key)
    assert answer.status == 200, answer.body
    assert answer.headers["x-lumyx-max-tokens"] == "4096"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_405_and_says_which_is_right(gateway: Gateway, rich: Tenant, method: str) -> None:
    answer = exchange(gateway.port, encode_request(method=method, key=rich.key, body=b"{}"))
    assert_is_error(answer, 405, "method_not_allowed", secret=rich.key)
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v1", "/api", "/api/v2/chat/completions", "/api/v1/chat/completions/"]
)
def test_an_unknown_path_is_404_in_the_error_shape(gateway: Gateway, rich: Tenant, path: str) -> None:
    answer = exchange(gateway.port, encode_request(path=path, key=rich.key, body=b"{}"))
    assert_is_error(answer, 404, "not_found", secret=rich.key)


def test_an_unknown_model_in_the_path_is_404(gateway: Gateway, rich: Tenant) -> None:
    answer = exchange(gateway.port, encode_request(path="/api/v1/models/no%2Fsuch", method="GET", key=rich.key))
    assert_is_error(answer, 404, "model_not_found")


def test_a_body_of_fifty_megabytes_is_413_before_it_is_read(gateway: Gateway, rich: Tenant) -> None:
    began = time.monotonic()
    with connect(gateway.port) as line:
        line.sendall(encode_request(key=rich.key, headers=[("Content-Length", str(50 * MEGABYTE))]))
        line.sendall(b"[" * 65536)
        line.shutdown(socket.SHUT_WR)
        answer = receive_answer(line)
    assert time.monotonic() - began < 1
    assert_is_error(answer, 413, "body_too_large", secret=rich.key)


def test_a_client_that_sends_all_fifty_megabytes_reads_the_413_too(gateway: Gateway, rich: Tenant) -> None:
    answer = exchange(gateway.port, encode_request(key=rich.key, body=b" " * (50 * MEGABYTE)))
    assert_is_error(answer, 413, "body_too_large", secret=rich.key)


def test_a_site_form_of_three_megabytes_is_413(gateway: Gateway) -> None:
    assert_is_error(
        exchange(gateway.port, encode_request(path="/login", body=b"a" * (3 * MEGABYTE))), 413, "body_too_large"
    )


def test_a_chunked_body_is_411(gateway: Gateway, rich: Tenant) -> None:
    body = json.dumps(HELLO).encode()
    request = encode_request(
        key=rich.key,
        headers=[("Transfer-Encoding", "chunked")],
        body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        length=False,
    )
    assert_is_error(exchange(gateway.port, request), 411, "length_required", secret=rich.key)


def test_a_key_in_a_chunked_trailer_is_not_a_key(gateway: Gateway, rich: Tenant) -> None:
    body = json.dumps(HELLO).encode()
    request = encode_request(
        headers=[("Transfer-Encoding", "chunked")],
        body=b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\n\r\n" % (len(body), body, rich.key.encode()),
        length=False,
    )
    assert_is_error(exchange(gateway.port, request), 411, "length_required", secret=rich.key)


def test_a_dripped_body_is_cut_at_the_deadline_while_others_are_served(
    gateway: Gateway, rich: Tenant, new_tenant: Callable[..., Tenant]
) -> None:
    other = new_tenant()
    began = time.monotonic()
    lines = [connect(gateway.port) for _ in range(20)]
    try:
        for line in lines:
            line.sendall(encode_request(key=rich.key, headers=[("Content-Length", "1000")]) + b"{")
        asked = time.monotonic()
        assert post(gateway.port, HELLO, key=other.key).status == 200
        assert time.monotonic() - asked < 1
        for line in lines:
            assert_is_error(receive_answer(line), 408, "request_timeout", secret=rich.key)
        assert 1.5 < time.monotonic() - began < 6  # the deadline is 2 s in these installations
    finally:
        for line in lines:
            line.close()


@pytest.mark.parametrize(
    "content_type",
    ["text/x; a*=nope''x", "a" * 9800, "multipart/form-data; boundary*=utf-8''x", "application/json; " + "a=b;" * 100],
)
@pytest.mark.parametrize("path", [CHAT, "/login"])
def test_a_hostile_content_type_is_400(gateway: Gateway, rich: Tenant, content_type: str, path: str) -> None:
    request = encode_request(path=path, key=rich.key, headers=[("Content-Type", content_type)], body=b"{}")
    began = time.monotonic()
    answer = exchange(gateway.port, request)
    assert time.monotonic() - began < 1
    assert_is_error(answer, 400, "invalid_parameter", secret=rich.key)


@pytest.mark.parametrize("name", ["Content-Type", "Content-Length", "Host"])
def test_a_header_that_may_come_once_is_400_when_it_comes_twice(gateway: Gateway, rich: Tenant, name: str) -> None:
    body = json.dumps(HELLO).encode()
    value = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Host": "other"}[name]
    extra = [(name, value)] * (1 if name == "Host" else 2)
    answer = exchange(
        gateway.port, encode_request(key=rich.key, headers=extra, body=body, length=name != "Content-Length")
    )
    assert_is_error(answer, 400, "invalid_parameter", secret=rich.key)


def _refused_headers(answer: Answer, rich: Tenant) -> None:
    assert_is_error(answer, 431, "headers_too_large", secret=rich.key)


def test_too_many_headers_are_431(gateway: Gateway, rich: Tenant) -> None:
    extra = [(f"X-Filler-{number}", "a") for number in range(150)]
    _refused_headers(post(gateway.port, HELLO, key=rich.key, headers=extra), rich)


def test_headers_too_large_together_are_431(gateway: Gateway, rich: Tenant) -> None:
    extra = [(f"X-Filler-{number}", "a" * 7000) for number in range(10)]
    _refused_headers(post(gateway.port, HELLO, key=rich.key, headers=extra), rich)


def test_a_compressed_body_is_415_and_never_unpacked(gateway: Gateway, rich: Tenant) -> None:
    bomb = gzip.compress(b" " * (64 * MEGABYTE))
    began = time.monotonic()
    answer = post(gateway.port, bomb, key=rich.key, headers=[("Content-Encoding", "gzip")])
    assert time.monotonic() - began < 1
    assert_is_error(answer, 415, "unsupported_media_type", secret=rich.key)


def test_the_key_is_nowhere_in_the_gateways_log(gateway: Gateway, rich: Tenant) -> None:
    post(gateway.port, b"{", key=rich.key)
    assert rich.key not in gateway.read_log()
