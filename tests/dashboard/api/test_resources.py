"""What the management API's endpoints answer and change, and what the audit log says of it."""

import datetime as dt
from typing import Any

import pytest
from django.conf import LazySettings

from accounts.models import ApiKey, AuditEntry, Membership
from accounts.roles import Role
from accounts.selectors.principals import principal_row
from accounts.services.apikeys import create_api_key
from gateway.tasks import aggregate_usage
from lumyx.lib import clock
from lumyx.lib.crypto import api_key_digest
from tests.dashboard.api.conftest import BASE, Managed, key_of_role, program
from tests.dashboard.usage_rows import make_request
from tests.factories import make_member

JSON = "application/json"


def newest_act(managed: Managed) -> AuditEntry:
    """Return the audit log's last line of the workspace."""
    entry = AuditEntry.objects.filter(workspace_id=managed.workspace.pk).order_by("-pk").first()
    assert entry is not None
    return entry


def all_pages(managed: Managed, path: str, **query: Any) -> list[dict[str, Any]]:
    """Follow a list to its end."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = managed.alice.get(f"{BASE}/{path}", query | cursor).json()
        found.extend(page["data"])
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            return found
        assert len(page["data"]) == query["limit"]
        cursor = {"cursor": page["next_cursor"]}


def test_the_workspace_is_described(managed: Managed) -> None:
    view = managed.alice.get(f"{BASE}/workspace").json()
    assert (view["slug"], view["tier"]) == (managed.workspace.slug, "free")
    assert view["owner"] == {"user_id": managed.cast.alice.pk, "email": "alice@example.com"}
    assert view["limits"]["free_requests_per_day"] == 25
    assert view["limits"]["free_requests_left_today"] == 25


def test_a_made_key_works_and_its_secret_is_seen_once(managed: Managed, settings: LazySettings) -> None:
    body = {"name": "CI", "expires_at": "2199-01-31T00:00:00+02:00", "allowed_models": ["a/b"], "is_test": True}
    made = managed.alice.post(f"{BASE}/keys", body, content_type=JSON)
    assert made.status_code == 201
    view = made.json()
    secret = view.pop("secret")
    row = principal_row(api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER))
    assert row is not None
    assert (row.workspace_id, row.is_test, row.allowed_models) == (managed.workspace.pk, True, frozenset({"a/b"}))
    assert view["expires_at"] == "2199-01-30T22:00:00Z"
    assert view["created_by"] == managed.cast.alice.pk
    assert managed.alice.get(f"{BASE}/keys/{view['prefix']}").json() == view
    assert secret not in managed.alice.get(f"{BASE}/keys").content.decode()
    act = newest_act(managed)
    assert (act.action, act.actor_kind, act.target_name[: len(view["prefix"])]) == (
        "api_key.created",
        "key",
        view["prefix"],
    )
    assert secret not in str(act.details)


def test_the_audit_log_names_the_management_key_and_its_address(managed: Managed) -> None:
    key = key_of_role(managed.workspace, Role.ADMIN)
    program(key).post(f"{BASE}/keys", {"name": "CI"}, content_type=JSON, REMOTE_ADDR="192.0.2.7")
    act = newest_act(managed)
    assert (act.actor_kind, act.actor_id, act.address) == ("key", key.row.pk, "192.0.2.7")
    line = managed.alice.get(f"{BASE}/audit-log", {"actor_kind": "key", "actor_id": str(key.row.pk)}).json()["data"][0]
    assert (line["action"], line["summary"]) == ("api_key.created", "Made an API key")


def test_a_key_is_changed_where_the_body_says_so_only(managed: Managed) -> None:
    path = f"{BASE}/keys/{managed.api_key.row.prefix}"
    before = managed.alice.get(path).json()
    after = managed.alice.patch(path, {"allowed_models": ["a"]}, content_type=JSON).json()
    assert after == before | {"allowed_models": ["a"]}
    act = newest_act(managed)
    assert (act.action, list(act.details)) == ("api_key.changed", ["allowed_models"])
    lines = AuditEntry.objects.count()
    assert managed.alice.patch(path, {"allowed_models": ["a"]}, content_type=JSON).json() == after
    assert AuditEntry.objects.count() == lines
    ends = managed.alice.patch(path, {"expires_at": "2199-01-01T00:00:00Z"}, content_type=JSON).json()
    assert ends["expires_at"] == "2199-01-01T00:00:00Z"
    assert managed.alice.patch(path, {"expires_at": None}, content_type=JSON).json() == after


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"name": "\n"}, "name"),
        ({"name": "x" * 81}, "80"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "past"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"allowed_models": ["no spaces"]}, "model"),
        ({"allowed_models": "a"}, "allowed_models"),
    ],
)
def test_a_key_cannot_become_what_no_key_may_be(managed: Managed, body: dict[str, object], word: str) -> None:
    path = f"{BASE}/keys/{managed.api_key.row.prefix}"
    before = managed.alice.get(path).json()
    refused = managed.alice.patch(path, body, content_type=JSON)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_parameter")
    assert word in refused.json()["error"]["message"]
    assert managed.alice.get(path).json() == before
    made = managed.alice.post(f"{BASE}/keys", {"name": "n", **body}, content_type=JSON)
    assert made.status_code == 400


def test_a_revoked_key_stays_revoked_and_cannot_be_changed(managed: Managed) -> None:
    path = f"{BASE}/keys/{managed.api_key.row.prefix}"
    first = managed.alice.delete(path).json()
    assert first["state"] == "revoked"
    assert newest_act(managed).action == "api_key.revoked"
    lines = AuditEntry.objects.count()
    assert managed.alice.delete(path).json() == first
    assert AuditEntry.objects.count() == lines
    refused = managed.alice.patch(path, {"name": "again"}, content_type=JSON)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")


def test_roles_are_given_and_taken_and_written_down(managed: Managed) -> None:
    path = f"{BASE}/members/{managed.cast.bob.pk}"
    changed = managed.alice.patch(path, {"role": "billing"}, content_type=JSON).json()
    assert changed["role"] == "billing"
    act = newest_act(managed)
    assert (act.action, act.target_id) == ("member.role_changed", str(managed.cast.bob.pk))
    assert act.details == {"from": "developer", "to": "billing"}
    assert managed.alice.delete(path).status_code == 204
    assert newest_act(managed).action == "member.removed"
    assert managed.alice.get(path).status_code == 404


def test_the_owner_is_neither_changed_nor_removed_nor_made(managed: Managed) -> None:
    path = f"{BASE}/members/{managed.cast.alice.pk}"
    for answer in (managed.alice.patch(path, {"role": "viewer"}, content_type=JSON), managed.alice.delete(path)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    bob = f"{BASE}/members/{managed.cast.bob.pk}"
    assert managed.alice.patch(bob, {"role": "owner"}, content_type=JSON).status_code == 400


def test_nobody_gives_or_takes_a_role_that_may_do_more_than_theirs(managed: Managed) -> None:
    admin = program(key_of_role(managed.workspace, Role.ADMIN))
    payer = make_member(managed.workspace, Role.BILLING)
    refused = [
        admin.patch(f"{BASE}/members/{managed.cast.bob.pk}", {"role": "billing"}, content_type=JSON),
        admin.patch(f"{BASE}/members/{payer.pk}", {"role": "viewer"}, content_type=JSON),
        admin.delete(f"{BASE}/members/{payer.pk}"),
    ]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refused] == [(403, "scope_missing")] * 3
    assert Membership.objects.get(workspace=managed.workspace, user=payer).role == "billing"
    given = admin.patch(f"{BASE}/members/{managed.cast.bob.pk}", {"role": "admin"}, content_type=JSON)
    assert given.status_code == 200


def test_lists_are_whole_by_pages_of_any_size(managed: Managed) -> None:
    for number in range(4):
        key = create_api_key(workspace=managed.workspace, name=f"k{number}", created_by=managed.cast.alice)
        make_request(managed.workspace, key=key.row, model=f"m{number % 2}")
        make_member(managed.workspace, Role.VIEWER)
        managed.alice.delete(f"{BASE}/keys/{key.row.prefix}")
    for path in ("keys", "members", "generations", "credits/ledger", "audit-log", "usage?group_by=key,model"):
        path, _, group = path.partition("?group_by=")
        query = {"group_by": group} if group else {}
        whole = managed.alice.get(f"{BASE}/{path}", query | {"limit": 100}).json()
        assert whole["has_more"] is False
        assert len(whole["data"]) >= 5
        for limit in (1, 2, 3):
            assert all_pages(managed, path, limit=limit, **query) == whole["data"], path


def test_usage_is_summed_as_asked_before_and_after_the_roll_up(managed: Managed) -> None:
    now = clock.now()
    long_ago = now - dt.timedelta(days=2)
    for at in (now, long_ago, long_ago):
        make_request(managed.workspace, key=managed.api_key.row, model="m", charge=1_000_000, at=at)
    start = long_ago.date().isoformat()

    def usage(group_by: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = managed.alice.get(f"{BASE}/usage", {"group_by": group_by, "start": start}).json()[
            "data"
        ]
        return data

    before = {by: usage(by) for by in ("day", "hour", "model", "key", "model,day", "day,key,model")}
    aggregate_usage()
    assert {by: usage(by) for by in before} == before
    assert [(group["model"], group["requests"]) for group in before["model"]] == [
        ("m", 3),
        (f"model-of-{managed.workspace.slug}", 1),
    ]
    (mine, _) = before["model"]
    assert (mine["charge"], mine["charge_nano"], mine["input_tokens"]) == ("0.003", "3000000", 3000)
    assert [(group["day"], group["requests"]) for group in before["day"]] == [(start, 2), (now.date().isoformat(), 2)]
    assert [group["key"] for group in before["key"]] == [managed.api_key.row.prefix]
    assert sum(group["requests"] for group in before["hour"]) == 4


@pytest.mark.parametrize(
    "query",
    [
        {"group_by": "colour"},
        {"group_by": "day,day"},
        {"group_by": ""},
        {"start": "2026-02-30"},
        {"start": "2024-01-01", "end": "2025-06-01"},
        {"group_by": "hour", "start": "2025-01-01", "end": "2025-03-01"},
        {"start": "2025-01-02", "end": "2025-01-01"},
        {"end": "0001-01-01"},
        {"limit": "0"},
    ],
)
def test_usage_of_no_possible_range_or_group_is_refused(managed: Managed, query: dict[str, str]) -> None:
    refused = managed.alice.get(f"{BASE}/usage", query)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_parameter")


def test_generations_are_filtered(managed: Managed) -> None:
    at = clock.now() - dt.timedelta(hours=1)
    make_request(managed.workspace, key=managed.api_key.row, model="old", at=at)
    make_request(managed.workspace, key=managed.api_key.row, model="bad", status="upstream_error", http_status=502)

    def models(**query: str) -> list[str]:
        return [row["model"] for row in managed.alice.get(f"{BASE}/generations", query).json()["data"]]

    own = f"model-of-{managed.workspace.slug}"
    assert models() == ["bad", own, "old"]
    assert models(model="old") == ["old"]
    assert models(status="upstream_error") == ["bad"]
    assert models(key=managed.api_key.row.prefix) == ["bad", own, "old"]
    half_an_hour_ago = (clock.now() - dt.timedelta(minutes=30)).isoformat()
    assert models(since=half_an_hour_ago) == ["bad", own]
    assert models(until=half_an_hour_ago) == ["old"]
    assert models(since="0001-01-01T00:00:00Z", until="9999-12-31T00:00:00Z") == ["bad", own, "old"]


def test_a_generation_tells_its_key_its_charge_and_nothing_of_upstreams(managed: Managed) -> None:
    (row,) = managed.alice.get(f"{BASE}/generations").json()["data"]
    assert row["key"] == managed.api_key.row.prefix
    assert (row["charge"], row["charge_nano"], row["usage_source"]) == ("0.0042", "4200000", "reported")
    assert not [name for name in row if "upstream" in name or "cost" in name]


def test_credits_are_told_by_kind_and_the_ledger_leads_to_the_request(managed: Managed) -> None:
    view = managed.alice.get(f"{BASE}/credits").json()
    assert (view["available"], view["available_nano"]) == ("4.9958", "4995800000")
    assert [(line["kind"], line["amount"]) for line in view["credits"]] == [("paid", "4.9958")]
    (generation,) = managed.alice.get(f"{BASE}/generations").json()["data"]
    (usage,) = managed.alice.get(f"{BASE}/credits/ledger", {"kind": "usage"}).json()["data"]
    assert (usage["amount"], usage["balance"], usage["generation"]) == ("-0.0042", "4.9958", generation["id"])
    (added,) = managed.alice.get(f"{BASE}/credits/ledger", {"kind": "grant"}).json()["data"]
    assert (added["amount_nano"], added["generation"]) == ("5000000000", None)


def test_the_audit_log_is_filtered(managed: Managed) -> None:
    managed.alice.post(f"{BASE}/keys", {"name": "a"}, content_type=JSON)
    managed.alice.delete(f"{BASE}/members/{managed.cast.bob.pk}")

    def actions(**query: str) -> list[str]:
        return [line["action"] for line in managed.alice.get(f"{BASE}/audit-log", query).json()["data"]]

    assert actions()[:2] == ["member.removed", "api_key.created"]
    assert set(actions(action="api_key")) == {"api_key.created"}
    assert actions(action="member.removed") == ["member.removed"]
    assert actions(until="2001-01-01T00:00:00Z") == []
    assert actions(since="2001-01-01T00:00:00Z") == actions()
    assert managed.alice.get(f"{BASE}/audit-log", {"action": "no.such"}).status_code == 400


def test_a_refused_change_changes_nothing_and_is_not_written_down(
    managed: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, keys = AuditEntry.objects.count(), ApiKey.objects.count()
    monkeypatch.setattr("accounts.services.audit.record", lambda *_args, **_more: 1 / 0)
    broken = managed.alice.post(f"{BASE}/keys", {"name": "a"}, content_type=JSON)
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "internal_error")
    assert (AuditEntry.objects.count(), ApiKey.objects.count()) == (lines, keys)
