"""The rules of every endpoint: bodies, pages, repeated requests, pace, and the one error shape."""

import datetime as dt
import json
import threading
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.db import OperationalError, connections
from django.test import Client

from accounts.models import ApiKey, IdempotentAnswer
from accounts.services.idempotency import forget_old_answers
from accounts.tasks import forget_idempotent_answers
from dashboard.api.base import BODY_LIMIT
from lumyx.lib import clock
from lumyx.settings.base import cache_at
from tests.dashboard.api.conftest import BASE, Managed, management_key, program
from tests.factories import make_cast

JSON = "application/json"


def post(client: Client, body: Any, *, key: str | None = None, path: str = "keys", content_type: str = JSON) -> Any:
    """Send a POST; a body that is no text or bytes goes as JSON."""
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(f"{BASE}/{path}", data, content_type=content_type, headers=headers)


def code_of(response: Any) -> tuple[int, str]:
    """Return status and code of an error, whose shape is checked."""
    body = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert set(body["error"]) == {"message", "type", "code"}
    assert body["request_id"] == response["x-request-id"] == response["request-id"]
    return response.status_code, body["error"]["code"]


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ("{", "invalid_json", "JSON"),
        ("[]", "invalid_json", "object"),
        ("", "missing_parameter", "name"),
        ({}, "missing_parameter", "name"),
        ({"name": "a", "colour": 1, "size": 2}, "unsupported_parameter", "colour"),
        ({"name": "a", "colour": 1, "size": 2}, "unsupported_parameter", "size"),
        ({"name": ["a"]}, "invalid_parameter", "name"),
        ('{"name": "a\\u0000"}', "invalid_json", "NUL"),
        ('{"name": "\\ud800"}', "invalid_json", "surrogate"),
        ('{"name": NaN}', "invalid_json", "JSON"),
        ("[" * 100_000, "invalid_json", ""),
        (b'{"name": "\xff"}', "invalid_json", "UTF-8"),
        ({"name": "a", "is_test": "maybe"}, "invalid_parameter", "is_test"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-12:00"}, "invalid_parameter", "expires_at"),
    ],
)
def test_a_bad_body_is_refused_in_words_that_help(managed: Managed, body: Any, code: str, word: str) -> None:
    count = ApiKey.objects.count()
    response = post(managed.alice, body)
    assert code_of(response) == (400, code)
    assert word in response.json()["error"]["message"]
    assert ApiKey.objects.count() == count


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_only_json_is_taken(managed: Managed, content_type: str) -> None:
    assert code_of(post(managed.alice, '{"name": "a"}', content_type=content_type)) == (415, "unsupported_media_type")


def test_a_charset_may_be_named(managed: Managed) -> None:
    assert post(managed.alice, {"name": "a"}, content_type="application/json; charset=utf-8").status_code == 201


def test_a_body_above_one_megabyte_is_refused(managed: Managed) -> None:
    fits = json.dumps({"name": "a"}).ljust(BODY_LIMIT)
    assert post(managed.alice, fits).status_code == 201
    assert code_of(post(managed.alice, fits + " ")) == (413, "body_too_large")


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "POST"])
def test_a_method_that_an_endpoint_does_not_answer_is_told_which_it_does(managed: Managed, method: str) -> None:
    response = managed.alice.generic(method, f"{BASE}/usage")
    assert code_of(response) == (405, "method_not_allowed")
    assert response["allow"] == "GET, HEAD"


def test_head_is_answered_like_get(managed: Managed) -> None:
    response = managed.alice.head(f"{BASE}/workspace")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    "path", ["keys/", "keys/lx-12345678/x", "nothing", "members/-1", "members/a", "openapi.json/x"]
)
def test_an_address_below_that_is_none_is_a_404_in_the_same_shape(managed: Managed, path: str) -> None:
    assert code_of(managed.alice.get(f"{BASE}/{path}")) == (404, "not_found")


@pytest.mark.parametrize("path", ["keys/lx-12345678", f"members/{2**64}", "members/0"])
def test_an_object_that_is_not_there_is_a_404(managed: Managed, path: str) -> None:
    assert code_of(managed.alice.get(f"{BASE}/{path}")) == (404, "not_found")


@pytest.mark.parametrize(
    "cursor",
    ["x", "", "é", "W10", "WyJrZXlzIiwgLTFd", "WyJrZXlzIiwgIjEiXQ", "WyJtZW1iZXJzIiwgMV0", "W1tb" * 200, "A" * 1001],
)
def test_a_cursor_that_is_none_is_refused(managed: Managed, cursor: str) -> None:
    for path in ("keys", "members", "usage", "generations", "credits/ledger", "audit-log"):
        if (path, cursor) != ("members", "WyJtZW1iZXJzIiwgMV0"):
            assert code_of(managed.alice.get(f"{BASE}/{path}", {"cursor": cursor})) == (400, "invalid_parameter"), path


@pytest.mark.parametrize(
    ("query", "code"),
    [("limit=0", "invalid_parameter"), ("limit=101", "invalid_parameter"), ("limit=x", "invalid_parameter"),
     ("limit=1&limit=2", "invalid_parameter"), ("colour=red", "unsupported_parameter"), ("cursor=%00", "invalid_parameter")],
)  # fmt: skip
def test_a_bad_query_is_refused(managed: Managed, query: str, code: str) -> None:
    assert code_of(managed.alice.get(f"{BASE}/keys?{query}")) == (400, code)


def test_a_repeated_request_changes_nothing_and_gets_the_answer_without_the_secret(managed: Managed) -> None:
    count = ApiKey.objects.count()
    first = post(managed.alice, {"name": "CI", "is_test": True}, key="deploy-1")
    # The order of fields and blanks make no other request.
    again = post(managed.alice, '{"is_test":  true, "name": "CI"}', key="deploy-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json() | {"secret": None}
    assert ApiKey.objects.count() == count + 1
    assert first.json()["secret"] not in str(list(IdempotentAnswer.objects.values()))


def test_without_an_idempotency_key_each_request_is_one(managed: Managed) -> None:
    count = ApiKey.objects.count()
    assert post(managed.alice, {"name": "CI"}).json()["prefix"] != post(managed.alice, {"name": "CI"}).json()["prefix"]
    assert ApiKey.objects.count() == count + 2


def test_an_idempotency_key_is_good_for_one_body_and_belongs_to_one_management_key(managed: Managed) -> None:
    first = post(managed.alice, {"name": "CI"}, key="k")
    assert code_of(post(managed.alice, {"name": "other"}, key="k")) == (422, "idempotency_key_reused")
    other = program(management_key(managed.workspace, managed.cast.alice))
    assert post(other, {"name": "other"}, key="k").json()["prefix"] != first.json()["prefix"]


def test_an_idempotency_key_is_forgotten_after_a_day(managed: Managed) -> None:
    first = post(managed.alice, {"name": "CI"}, key="k")
    IdempotentAnswer.objects.update(created_at=clock.now() - dt.timedelta(hours=23, minutes=59))
    assert forget_idempotent_answers() == 0
    assert post(managed.alice, {"name": "CI"}, key="k").json()["prefix"] == first.json()["prefix"]
    IdempotentAnswer.objects.update(created_at=clock.now() - dt.timedelta(hours=24))
    assert post(managed.alice, {"name": "CI"}, key="k").json()["prefix"] != first.json()["prefix"]
    IdempotentAnswer.objects.update(created_at=clock.now() - dt.timedelta(hours=24))
    assert forget_old_answers() == 1


def test_a_refused_request_is_not_remembered(managed: Managed) -> None:
    assert post(managed.alice, {"name": ""}, key="k").status_code == 400
    assert post(managed.alice, {"name": "CI"}, key="k").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
def test_an_idempotency_key_that_cannot_be_kept_is_refused(managed: Managed, key: str) -> None:
    assert code_of(post(managed.alice, {"name": "CI"}, key=key)) == (400, "invalid_parameter")


@pytest.mark.django_db(transaction=True)
def test_repeated_requests_that_race_make_one_key() -> None:
    cast = make_cast()
    secret = management_key(cast.workspace, cast.alice).secret
    start, answers = threading.Barrier(4), []

    def send() -> None:
        try:
            start.wait(timeout=10)
            answers.append(post(program(secret), {"name": "CI"}, key="race"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["prefix"] for answer in answers}) == 1
    assert sum(answer.json()["secret"] is not None for answer in answers) == 1
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("shared", [False, True])
def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    managed: Managed, settings: LazySettings, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shared:
        settings.CACHES = cache_at(settings.REDIS_URL)
    cache.clear()
    settings.LUMYX_MANAGEMENT_PER_MINUTE = 3
    now = dt.datetime(2030, 1, 1, 12, 0, 20, tzinfo=dt.UTC)
    monkeypatch.setattr("dashboard.api.pace.clock.now", lambda: now)
    left = [managed.alice.get(f"{BASE}/workspace")["x-ratelimit-remaining-requests"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refused = managed.alice.get(f"{BASE}/workspace")
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert (refused["retry-after"], refused["x-ratelimit-limit-requests"]) == ("40", "3")
    other = program(management_key(managed.workspace, managed.cast.alice))
    assert other.get(f"{BASE}/workspace").status_code == 200
    now += dt.timedelta(seconds=40)
    assert managed.alice.get(f"{BASE}/workspace").status_code == 200
    cache.clear()


def test_an_outage_is_a_503_and_never_a_401(managed: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_digest: bytes) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("dashboard.api.bearer.bearer_of", away)
    response = managed.alice.get(f"{BASE}/workspace")
    assert code_of(response) == (503, "unavailable")
    assert "retry-after" in response


def test_nobody_keeps_an_answer(managed: Managed) -> None:
    for response in (managed.alice.get(f"{BASE}/workspace"), Client().get(f"{BASE}/workspace")):
        assert response["Cache-Control"] == "no-store, private"


def test_a_bad_host_is_refused_in_the_same_shape(managed: Managed, settings: LazySettings) -> None:
    settings.ALLOWED_HOSTS = ["lumyx.example"]
    assert code_of(managed.alice.get(f"{BASE}/workspace", headers={"host": "evil.example"})) == (
        400,
        "invalid_parameter",
    )
    assert managed.alice.get(f"{BASE}/workspace", headers={"host": "lumyx.example"}).status_code == 200
