"""Habits of real clients besides the official SDKs: other headers, other paths, explicit defaults, unknown fields."""

import json
from typing import Any

import pytest

from tests.flows.books import Books
from tests.flows.installation import Gateway, Tenant
from tests.flows.wire import CHAT, HELLO, Answer, encode_request, exchange, post


def _get(gateway: Gateway, path: str, *, key: str | None = None, method: str = "GET", **headers: str) -> Answer:
    extra = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return exchange(gateway.port, encode_request(path=path, method=method, key=key, headers=extra))


def test_an_explicit_stream_false_is_a_whole_answer(gateway: Gateway, tenant: Tenant) -> None:
    answer = post(gateway.port, {**HELLO, "stream": False}, key=tenant.key)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["object"] == "chat.completion"


def test_explicit_nulls_are_absent_values(gateway: Gateway, tenant: Tenant) -> None:
    nulls = dict.fromkeys(("stream", "max_tokens", "stream_options", "tools", "tool_choice", "temperature", "stop"))
    assert post(gateway.port, {**HELLO, **nulls}, key=tenant.key).status == 200


def test_a_key_in_x_api_key_is_as_good_as_a_bearer(gateway: Gateway, tenant: Tenant) -> None:
    assert post(gateway.port, HELLO, key=None, headers=[("x-api-key", tenant.key)]).status == 200


def test_the_same_key_in_both_headers_is_no_conflict(gateway: Gateway, tenant: Tenant) -> None:
    assert post(gateway.port, HELLO, key=tenant.key, headers=[("x-api-key", tenant.key)]).status == 200


def test_the_word_bearer_may_be_written_in_any_case(gateway: Gateway, tenant: Tenant) -> None:
    answer = post(gateway.port, HELLO, key=None, headers=[("Authorization", f"bearer {tenant.key}")])
    assert answer.status == 200


def test_telemetry_headers_and_unknown_query_strings_are_ignored(gateway: Gateway, tenant: Tenant) -> None:
    headers = [
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
        ("openai-organization", "org-1"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "a,b"),
    ]
    request = encode_request(
        path=f"{CHAT}?beta=true&x=%00", key=tenant.key, headers=headers, body=json.dumps(HELLO).encode()
    )
    assert exchange(gateway.port, request).status == 200


@pytest.mark.parametrize(
    "extra", [{"user": "u-1"}, {"metadata": {"a": "b"}}, {"seed": 7}, {"something_new": [1, {"a": None}]}]
)
def test_fields_that_we_do_not_know_are_no_error(gateway: Gateway, tenant: Tenant, extra: dict[str, Any]) -> None:
    assert post(gateway.port, {**HELLO, **extra}, key=tenant.key).status == 200


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "look_up"}}])
def test_a_forced_tool_choice_passes(gateway: Gateway, tenant: Tenant, choice: Any) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    body = {**HELLO, "model": "sandbox/tool-call", "tools": [tool], "tool_choice": choice}
    answer = post(gateway.port, body, key=tenant.key)
    assert answer.status == 200, answer.body
    assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look_up"


def test_a_json_schema_is_answered_with_json_that_fits(gateway: Gateway, tenant: Tenant) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}
    answer = post(gateway.port, {**HELLO, "model": "sandbox/json-schema", "response_format": shape}, key=tenant.key)
    assert answer.status == 200, answer.body
    content = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert isinstance(content["city"], str)
    assert isinstance(content["people"], int)


def test_reasoning_comes_as_reasoning_content(gateway: Gateway, tenant: Tenant) -> None:
    body = {**HELLO, "model": "sandbox/reasoning", "reasoning_effort": "low"}
    answer = post(gateway.port, body, key=tenant.key)
    assert answer.status == 200, answer.body
    assert answer.json()["choices"][0]["message"]["reasoning_content"]


def test_a_data_url_image_is_acknowledged(gateway: Gateway, tenant: Tenant) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content = [{"type": "text", "text": "What is this?"}, image]
    body = {"model": "sandbox/vision", "messages": [{"role": "user", "content": content}]}
    answer = post(gateway.port, body, key=tenant.key)
    assert answer.status == 200, answer.body
    assert "8 bytes" in answer.json()["choices"][0]["message"]["content"]


def test_models_are_public_and_serve_both_families_of_clients_at_once(gateway: Gateway) -> None:
    answer = _get(gateway, "/api/v1/models").json()
    assert answer["object"] == "list"
    assert answer["has_more"] is False
    assert answer["first_id"] == answer["data"][0]["id"]
    assert answer["last_id"] == answer["data"][-1]["id"]
    for model in answer["data"]:
        assert model["object"] == model["type"] == "model"
        assert model["display_name"]
        assert isinstance(model["created"], int)
        assert model["created_at"].endswith("Z")
        assert model["owned_by"]
        assert isinstance(model["_meta"]["pricing"]["input"], int | float)


def test_models_with_a_wrong_key_are_401(gateway: Gateway) -> None:
    assert _get(gateway, "/api/v1/models", key="lx-wrong").status == 401


@pytest.mark.parametrize(
    "path", ["/api/v1/v1/models", "/api/v1/v1/models/sandbox%2Fpaid", "/api/v1/models/sandbox/paid"]
)
def test_models_answer_under_the_paths_that_clients_call(gateway: Gateway, path: str) -> None:
    answer = _get(gateway, path)
    assert answer.status == 200
    assert "sandbox/paid" in answer.body.decode()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_head_answers_like_get_without_a_body(gateway: Gateway, path: str) -> None:
    answer = _get(gateway, path, method="HEAD")
    assert answer.status == 200
    assert answer.body == b""


def test_two_answers_have_two_ids_and_the_headers_carry_them(gateway: Gateway, tenant: Tenant, books: Books) -> None:
    answers = [post(gateway.port, HELLO, key=tenant.key) for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert ids == [answer.headers["request-id"] for answer in answers]
    assert len(set(ids)) == 2
    for answer, request_id in zip(answers, ids, strict=True):
        assert answer.json()["id"] == f"chatcmpl-{request_id}"
    assert [event["id"].hex for event in books.wait_for_events(tenant, 2)] == [name.replace("-", "") for name in ids]


def test_two_requests_on_one_connection_are_both_answered(gateway: Gateway, tenant: Tenant) -> None:
    body = json.dumps(HELLO).encode()
    one = encode_request(key=tenant.key, body=body)
    answer = exchange(gateway.port, one.replace(b"Connection: close\r\n", b"") + one)
    assert answer.status == 200
    assert answer.body.count(b'"chat.completion"') == 2
