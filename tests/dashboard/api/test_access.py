"""Who may do what with the management API: every endpoint for every role, and nothing for keys that do not work."""

import datetime as dt
import json
import logging

import pytest
from django.db import transaction
from django.test import Client

from accounts.models import ManagementKey
from accounts.roles import Permission, Role, role_allows
from accounts.services.apikeys import create_api_key
from accounts.services.management_keys import revoke_management_key
from accounts.services.users import activate_user, deactivate_user
from accounts.services.workspaces import remove_member, set_member, suspend_workspace
from dashboard.api.base import ManagementView
from dashboard.api.routes import management_patterns
from lumyx.lib import clock
from lumyx.lib.crypto import new_management_key
from tests.dashboard.api.conftest import BASE, Managed, invited, key_of_role, management_key, program

#: Route and method → the permission that it takes, a body, and the status for who may.
TABLE: dict[tuple[str, str], tuple[Permission, dict[str, object] | None, int]] = {
    ("workspace", "GET"): (Permission.VIEW, None, 200),
    ("workspace", "PATCH"): (Permission.MANAGE_WORKSPACE, {"name": "changed"}, 200),
    ("keys", "GET"): (Permission.VIEW, None, 200),
    ("keys", "POST"): (Permission.MANAGE_KEYS, {"name": "made"}, 201),
    ("keys/<slug:prefix>", "GET"): (Permission.VIEW, None, 200),
    ("keys/<slug:prefix>", "PATCH"): (Permission.MANAGE_KEYS, {"name": "changed"}, 200),
    ("keys/<slug:prefix>", "DELETE"): (Permission.MANAGE_KEYS, None, 200),
    ("keys/<slug:prefix>/rotate", "POST"): (Permission.MANAGE_KEYS, {"overlap_minutes": 5}, 200),
    ("members", "GET"): (Permission.VIEW, None, 200),
    ("members/<int:user_id>", "GET"): (Permission.VIEW, None, 200),
    ("members/<int:user_id>", "PATCH"): (Permission.MANAGE_MEMBERS, {"role": "viewer"}, 200),
    ("members/<int:user_id>", "DELETE"): (Permission.MANAGE_MEMBERS, None, 204),
    ("invitations", "GET"): (Permission.MANAGE_MEMBERS, None, 200),
    ("invitations", "POST"): (Permission.MANAGE_MEMBERS, {"email": "new@example.com", "role": "viewer"}, 201),
    ("invitations/<int:invitation_id>", "DELETE"): (Permission.MANAGE_MEMBERS, None, 204),
    ("invitations/<int:invitation_id>/send", "POST"): (Permission.MANAGE_MEMBERS, {}, 200),
    ("usage", "GET"): (Permission.VIEW, None, 200),
    ("generations", "GET"): (Permission.VIEW, None, 200),
    ("credits", "GET"): (Permission.VIEW_BILLING, None, 200),
    ("credits/ledger", "GET"): (Permission.VIEW_BILLING, None, 200),
    ("audit-log", "GET"): (Permission.VIEW_AUDIT, None, 200),
}


def ask(
    client: Client, route: str, method: str, *, prefix: str, user_id: int, invitation_id: int
) -> tuple[int, dict[str, object]]:
    """Send a row's request, undo what it changed, and return status and body."""
    path = route.replace("<slug:prefix>", prefix).replace("<int:user_id>", str(user_id))
    path = path.replace("<int:invitation_id>", str(invitation_id))
    _, body, _ = TABLE[route, method]
    with transaction.atomic():
        response = client.generic(
            method, f"{BASE}/{path}", b"" if body is None else response_bytes(body), content_type="application/json"
        )
        transaction.set_rollback(True)
    return response.status_code, response.json() if response.content else {}


def response_bytes(body: dict[str, object]) -> bytes:
    """Return a body as JSON."""
    return json.dumps(body).encode()


def answers(client: Client, managed: Managed) -> dict[tuple[str, str], tuple[int, str]]:
    """Return status and code of every row for a client."""
    found = {}
    for route, method in TABLE:
        status, body = ask(
            client,
            route,
            method,
            prefix=managed.api_key.row.prefix,
            user_id=managed.cast.bob.pk,
            invitation_id=managed.invitation_id,
        )
        error = body.get("error")
        found[route, method] = (status, str(error["code"]) if isinstance(error, dict) else "")
    return found


def test_every_endpoint_has_a_row() -> None:
    endpoints = {
        (str(pattern.pattern), method)
        for pattern in management_patterns
        for method in pattern.callback.view_class.needs  # type: ignore[attr-defined]
    }
    assert endpoints == set(TABLE)
    for pattern in management_patterns:
        view: type[ManagementView] = pattern.callback.view_class  # type: ignore[attr-defined]
        handlers = {name.upper() for name in ("get", "post", "patch", "delete") if hasattr(view, name)}
        assert handlers == set(view.needs), f"{pattern.pattern}: a method without a permission"


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("read_only", [True, False])
def test_a_key_may_do_what_its_maker_may_do_now(managed: Managed, role: Role, read_only: bool) -> None:
    client = program(key_of_role(managed.workspace, role, read_only=read_only))
    for row, (status, code) in answers(client, managed).items():
        permission, _, good = TABLE[row]
        may = role_allows(role, permission) and not (read_only and row[1] != "GET")
        assert (status, code) == ((good, "") if may else (403, "scope_missing")), row


def test_what_another_workspace_owns_does_not_exist(managed: Managed) -> None:
    prefix, user_id = managed.foreign_key.row.prefix, managed.cast.charlie.pk
    invitation_id = invited(managed.cast.other_workspace, email="theirs@example.com")
    for route, method in TABLE:
        if "<" in route:
            status, body = ask(
                managed.alice, route, method, prefix=prefix, user_id=user_id, invitation_id=invitation_id
            )
            assert (status, body["error"]["code"]) == (404, "not_found"), (route, method)  # type: ignore[index]
    response = managed.alice.get(f"{BASE}/generations", {"key": prefix})
    assert response.status_code == 404


def test_no_list_holds_anything_of_another_workspace(managed: Managed) -> None:
    other = managed.cast.other_workspace
    foreign = (other.slug, "charlie@example.com", managed.foreign_key.row.prefix, f"model-of-{other.slug}")
    paths = [route for route, method in TABLE if method == "GET" and "<" not in route]
    for path in [*paths, "usage?group_by=key,model", "usage?group_by=hour,model"]:
        text = managed.alice.get(f"{BASE}/{path}").content.decode()
        assert not [word for word in foreign if word in text], path


def test_a_request_without_a_key_is_sent_to_get_one(managed: Managed) -> None:
    for (route, method), answer in answers(Client(), managed).items():
        assert answer == (401, "missing_api_key"), (route, method)


def test_a_session_is_no_key(managed: Managed) -> None:
    browser = Client()
    browser.force_login(managed.cast.alice)
    assert set(answers(browser, managed).values()) == {(401, "missing_api_key")}


def test_a_key_that_does_not_exist_or_is_mistyped_is_refused(managed: Managed) -> None:
    key = management_key(managed.workspace, managed.cast.alice).secret
    for wrong in (new_management_key(), key[:-1], key + "0", "lm-", "sk-123", "lm-ä"):
        assert set(answers(program(wrong), managed).values()) == {(401, "invalid_api_key")}, wrong
    basic = Client(headers={"Authorization": f"Basic {key}"})
    assert set(answers(basic, managed).values()) == {(401, "invalid_api_key")}


def test_an_api_key_manages_nothing(managed: Managed) -> None:
    assert set(answers(program(managed.api_key.secret), managed).values()) == {(403, "management_key_required")}


def test_a_revoked_key_is_refused_from_then_on(managed: Managed) -> None:
    key = management_key(managed.workspace, managed.cast.alice)
    assert program(key).get(f"{BASE}/workspace").status_code == 200
    revoke_management_key(workspace_id=managed.workspace.pk, prefix=key.row.prefix)
    assert set(answers(program(key), managed).values()) == {(401, "revoked_api_key")}


def test_an_expired_key_is_refused(managed: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    key = management_key(managed.workspace, managed.cast.alice)
    ManagementKey.objects.filter(pk=key.row.pk).update(expires_at=clock.now() - dt.timedelta(seconds=1))
    assert set(answers(program(key), managed).values()) == {(401, "expired_api_key")}


def test_a_suspended_workspace_is_not_managed(managed: Managed) -> None:
    suspend_workspace(managed.workspace.pk)
    assert set(answers(managed.alice, managed).values()) == {(403, "workspace_suspended")}


def test_who_leaves_leaves_no_key_that_works_behind_even_if_they_come_back(managed: Managed) -> None:
    key = key_of_role(managed.workspace, Role.ADMIN)
    maker = key.row.created_by
    assert maker is not None
    remove_member(managed.workspace, user=maker)
    assert set(answers(program(key), managed).values()) == {(401, "revoked_api_key")}
    set_member(managed.workspace, user=maker, role=Role.ADMIN)
    assert set(answers(program(key), managed).values()) == {(401, "revoked_api_key")}


def test_a_maker_who_is_shut_out_or_deleted_leaves_no_key_that_works_behind(managed: Managed) -> None:
    key = key_of_role(managed.workspace, Role.ADMIN)
    maker = key.row.created_by
    assert maker is not None
    maker.is_active = False
    maker.save()
    assert set(answers(program(key), managed).values()) == {(401, "revoked_api_key")}
    ManagementKey.objects.filter(pk=key.row.pk).update(created_by=None)
    assert set(answers(program(key), managed).values()) == {(401, "revoked_api_key")}


def test_who_was_shut_out_and_let_in_again_makes_new_keys(managed: Managed) -> None:
    deactivate_user(managed.cast.alice)
    activate_user(managed.cast.alice)
    response = managed.alice.get(f"{BASE}/workspace")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "revoked_api_key")


def test_no_secret_is_logged(managed: Managed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    management = management_key(managed.workspace, managed.cast.alice)
    made = program(management).post(f"{BASE}/keys", {"name": "a"}, content_type="application/json").json()["secret"]
    program(management.secret[:-1]).get(f"{BASE}/keys")
    program(management).get(f"{BASE}/keys/{create_api_key(workspace=managed.workspace, name='b').row.prefix}/x")
    assert made not in caplog.text
    assert management.secret[11:40] not in caplog.text
