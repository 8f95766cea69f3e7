"""What the management API does about people: invitations by e-mail, budgets of members, and the words of the workspace."""

from typing import Any

import pytest
from django.core import mail
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import Invitation, Membership
from accounts.roles import Role
from accounts.services.invitations import digest_of
from billing.models import Notice
from lumyx.lib.money import NANO_PER_USD as USD
from tests.dashboard.api.conftest import BASE, Managed, key_of_role, program
from tests.factories import make_member

JSON = "application/json"


def invite(managed: Managed, body: dict[str, Any], **more: Any) -> Any:
    """Invite as Alice's program."""
    return managed.alice.post(f"{BASE}/invitations", body, content_type=JSON, **more)


def link_of(message: Any) -> str:
    """Return the secret in a message's link."""
    text: str = message.body
    return text.partition("/invitations/")[2].split()[0]


def test_an_invitation_goes_to_its_address_and_its_link_nowhere_else(
    managed: Managed, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = invite(managed, {"email": "Dora@Example.com", "role": "developer"})
        assert mail.outbox == []
    assert answer.status_code == 201
    (message,) = mail.outbox
    assert message.to == ["dora@example.com"]
    token = link_of(message)
    assert token not in answer.content.decode()
    row = Invitation.objects.get(pk=answer.json()["id"])
    assert bytes(row.digest) == digest_of(token)
    assert (row.role, row.invited_by, row.workspace_id) == ("developer", managed.cast.alice, managed.workspace.pk)


def test_a_repeated_invitation_is_one_and_writes_once(
    managed: Managed, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    body, headers = {"email": "dora@example.com", "role": "viewer"}, {"Idempotency-Key": "dora"}
    with django_capture_on_commit_callbacks(execute=True):
        first, again = invite(managed, body, headers=headers), invite(managed, body, headers=headers)
    assert first.json() == again.json()
    assert len(mail.outbox) == 1


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"email": "no address", "role": "viewer"}, 400, "email"),
        ({"email": "a\u0000b@example.com", "role": "viewer"}, 400, "NUL"),
        ({"email": "dora@example.com", "role": "owner"}, 400, "role"),
        ({"email": "dora@example.com"}, 400, "role"),
        ({"email": "bob@example.com", "role": "viewer"}, 409, "member"),
        ({"email": "dora@example.com", "role": "billing"}, 201, ""),
    ],
)
def test_who_can_be_invited(managed: Managed, body: dict[str, str], status: int, word: str) -> None:
    answer = invite(managed, body)
    assert answer.status_code == status
    assert word in answer.content.decode()


def test_nobody_is_invited_as_more_than_the_keys_maker_is(managed: Managed) -> None:
    admin = program(key_of_role(managed.workspace, Role.ADMIN))
    answer = admin.post(f"{BASE}/invitations", {"email": "d@example.com", "role": "billing"}, content_type=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
    assert not Invitation.objects.filter(email="d@example.com").exists()


def test_an_invitation_is_sent_again_with_a_new_link_and_taken_back(
    managed: Managed, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    path = f"{BASE}/invitations/{managed.invitation_id}"
    before = bytes(Invitation.objects.get(pk=managed.invitation_id).digest)
    with django_capture_on_commit_callbacks(execute=True):
        assert managed.alice.post(f"{path}/send", {}, content_type=JSON).status_code == 200
    assert link_of(mail.outbox[0])
    assert bytes(Invitation.objects.get(pk=managed.invitation_id).digest) != before
    too_soon = managed.alice.post(f"{path}/send", {}, content_type=JSON)
    assert (too_soon.status_code, "Wait a minute" in too_soon.json()["error"]["message"]) == (409, True)
    assert managed.alice.delete(path).status_code == 204
    assert managed.alice.get(f"{BASE}/invitations").json()["data"] == []


def test_a_members_budget_is_set_shown_and_taken_away(managed: Managed) -> None:
    path = f"{BASE}/members/{managed.cast.bob.pk}"
    view = managed.alice.patch(path, {"budget": {"amount": "3", "period": "month"}}, content_type=JSON).json()
    assert (view["budget"]["left"], view["role"]) == ("3", "developer")
    assert Membership.objects.get(user=managed.cast.bob).budget == Budget(3 * USD, BudgetPeriod.MONTH)
    assert managed.alice.patch(path, {"budget": None}, content_type=JSON).json()["budget"] is None


def test_an_admin_bounds_those_below_and_not_those_above(managed: Managed) -> None:
    admin = program(key_of_role(managed.workspace, Role.ADMIN))
    body = {"budget": {"amount": "1", "period": "day"}}
    billing = make_member(managed.workspace, Role.BILLING)
    expected = {managed.cast.bob: 200, managed.cast.alice: 403, billing: 403}
    for user, status in expected.items():
        assert admin.patch(f"{BASE}/members/{user.pk}", body, content_type=JSON).status_code == status


def test_a_member_whose_role_changes_is_told(managed: Managed) -> None:
    managed.alice.patch(f"{BASE}/members/{managed.cast.bob.pk}", {"role": "viewer"}, content_type=JSON)
    notice = Notice.objects.get(kind="role_changed")
    assert notice.facts["person"] == managed.cast.bob.pk


def test_a_workspace_is_renamed(managed: Managed) -> None:
    body = {"name": "New name", "time_zone": "Europe/Berlin", "slug": "new-name"}
    view = managed.alice.patch(f"{BASE}/workspace", body, content_type=JSON).json()
    assert {name: view[name] for name in body} == body
    managed.workspace.refresh_from_db()
    assert (managed.workspace.name, managed.workspace.time_zone) == ("New name", "Europe/Berlin")


@pytest.mark.parametrize(
    ("body", "status"),
    [({"time_zone": "Mars/Base"}, 400), ({"slug": "-"}, 400), ({"name": " "}, 400), ({"slug": "THEIRS"}, 409)],
)
def test_a_workspace_cannot_become_what_none_may_be(managed: Managed, body: dict[str, str], status: int) -> None:
    if body.get("slug") == "THEIRS":
        body = {"slug": managed.cast.other_workspace.slug}
    answer = managed.alice.patch(f"{BASE}/workspace", body, content_type=JSON)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")


def test_budgets_of_members_are_shown_to_those_who_manage_them(managed: Managed) -> None:
    path = f"{BASE}/members/{managed.cast.bob.pk}"
    managed.alice.patch(path, {"budget": {"amount": "3", "period": "month"}}, content_type=JSON)
    assert managed.alice.get(path).json()["budget"]["amount"] == "3"
    viewer = program(key_of_role(managed.workspace, Role.VIEWER))
    assert viewer.get(path).json()["budget"] is None
    assert all(member["budget"] is None for member in viewer.get(f"{BASE}/members").json()["data"])
