"""An upstream's list of models: read as far as it can be used, capped, and never trusted."""

import asyncio
import json
from typing import Any

import pytest

from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure
from gateway.upstreams import model_list as module
from gateway.upstreams.model_list import ListedModel, ModelList, list_models
from tests.fakes.upstream import FakeUpstream, garbage, huge, redirect, status
from tests.gateway.upstreams.calls import upstream_at


def listed(*bodies: Any, protocol: str = "openai_chat", **options: Any) -> tuple[ModelList, FakeUpstream]:
    """Return what comes of a list that an upstream gives in these pages, and the upstream."""

    async def ask() -> tuple[ModelList, FakeUpstream]:
        async with FakeUpstream() as fake, UpstreamClient() as client:
            fake.script(*(body if callable(body) else garbage(json.dumps(body).encode()) for body in bodies))
            return await list_models(client, upstream_at(fake.base_url, protocol=protocol, **options)), fake

    return asyncio.run(ask())


def failure_of(*bodies: Any, **options: Any) -> UpstreamFailure:
    """Return how a list fails."""
    with pytest.raises(UpstreamFailure) as failed:
        listed(*bodies, **options)
    return failed.value


def test_what_providers_tell_beside_the_id_is_read() -> None:
    found, fake = listed(
        {
            "data": [
                {"id": "plain"},
                {"id": "or/one", "name": "One", "context_length": 8000, "top_provider": {"max_completion_tokens": 100}},
                {"id": "vllm", "max_model_len": 4096},
                {"id": "text-embedding-3"},
                {"id": "vectors", "type": "embedding", "display_name": "Vectors"},
            ]
        }
    )
    assert list(found.models.values()) == [
        ListedModel("plain"),
        ListedModel("or/one", "One", False, 8000, 100),
        ListedModel("vllm", "", False, 4096, None),
        ListedModel("text-embedding-3", "", True),
        ListedModel("vectors", "Vectors", True),
    ]
    assert fake.requests[0].path == "/v1/models"


def test_a_bare_list_is_a_list_too() -> None:
    assert list(listed([{"id": "a"}, {"id": "b"}])[0].models) == ["a", "b"]


def test_ids_that_cannot_be_used_are_left_out_and_counted() -> None:
    bad = ["", " a", "x" * 201, "a\u0000b", "a\nb", "a\u202eb", None, 7, ["a"]]
    found, _ = listed({"data": [*({"id": name} for name in bad), "text", None, {}, {"id": "good"}, {"id": "good"}]})
    assert list(found.models) == ["good"]
    assert found.left_out == len(bad) + 3


def test_what_is_not_of_the_expected_shape_is_taken_for_not_told() -> None:
    entry = {"id": "a", "name": ["x"], "context_length": "8000", "max_tokens": True, "top_provider": 3, "type": {}}
    assert listed({"data": [entry, {"id": "b", "context_length": -1, "name": "a\u0000"}]})[0].models == {
        "a": ListedModel("a"),
        "b": ListedModel("b"),
    }


def test_a_list_that_is_too_long_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MODELS", 3)
    found, _ = listed({"data": [{"id": str(number)} for number in range(5)]})
    assert (list(found.models), found.left_out) == (["0", "1", "2"], 2)


def test_pages_of_messages_are_followed_and_no_further_than_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    pages = [{"data": [{"id": f"c{n}"}], "has_more": True, "last_id": f"c{n}&x=/"} for n in range(9)]
    found, fake = listed(*pages, protocol="anthropic_messages")
    assert list(found.models) == ["c0", "c1", "c2"]
    assert [seen.path for seen in fake.requests][1:] == [
        "/v1/v1/models?after_id=c0%26x%3D%2F",
        "/v1/v1/models?after_id=c1%26x%3D%2F",
    ]


def test_a_list_that_leads_in_circles_ends() -> None:
    page = {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}
    found, fake = listed(page, page, page, protocol="anthropic_messages")
    assert (list(found.models), len(fake.requests)) == (["a"], 2)


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 5}', b"5", b"null", b"[" * 100_000, b"\xff"])
def test_what_is_no_list_is_a_failure(body: bytes) -> None:
    assert failure_of(garbage(body)).kind is FailureKind.INVALID


def test_redirects_are_not_followed() -> None:
    assert failure_of(redirect("http://127.0.0.1:9/v1/models")).status == 307


def test_a_list_above_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_LIMIT", 100_000)
    assert "larger than 100000 bytes" in str(failure_of(huge(1_000_000)))


def test_a_private_address_is_refused_unless_allowed() -> None:
    assert failure_of({"data": []}, allow_private_network=False).kind is FailureKind.PRIVATE_ADDRESS


def test_a_refusal_does_not_repeat_the_credential() -> None:
    failure = failure_of(status(401, "wrong key sk-secret"), credential="sk-secret")
    assert failure.kind is FailureKind.AUTH
    assert "sk-secret" not in str(failure)


def test_the_sandbox_keeps_no_list() -> None:
    assert failure_of(protocol="sandbox").kind is FailureKind.NOT_FOUND
