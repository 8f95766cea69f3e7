"""The audit log: who did what to which object, from where; it only grows."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from accounts.audit_actions import ACTIONS
from accounts.middleware import acting_person
from accounts.models import AuditEntry
from accounts.services.audit import record
from lumyx.lib.origin import Origin, acting_as, current_origin
from tests.factories import make_user, make_workspace

pytestmark = pytest.mark.django_db


def recorded(path: str = "/dashboard", *, signed_in: bool = True, headers: dict[str, str] | None = None) -> AuditEntry:
    """Let a view write an act down, and return the line."""
    request = RequestFactory().get(path, headers=headers, REMOTE_ADDR="192.0.2.7")
    if signed_in:
        request.user = make_user()
    made: list[AuditEntry] = []

    def view(_request: HttpRequest) -> HttpResponse:
        made.append(record("api_key.created", workspace_id=make_workspace().pk, target=("api_key", 5, "lx-abc…wxyz")))
        return HttpResponse()

    acting_person(view)(request)
    return made[0]


def test_an_act_is_its_persons_from_their_address() -> None:
    entry = recorded()
    assert (entry.actor_kind, entry.address) == ("user", "192.0.2.7")
    assert entry.actor_id is not None
    assert (entry.target_kind, entry.target_id, entry.target_name) == ("api_key", "5", "lx-abc…wxyz")
    assert current_origin() == Origin(), "after the request nobody acts"


def test_in_the_admin_it_is_an_operators() -> None:
    assert recorded("/admin/accounts/user/").actor_kind == "operator"


def test_nobody_known_is_nobody() -> None:
    assert recorded(signed_in=False).actor_id is None


@override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
@pytest.mark.parametrize(
    ("forwarded", "address"),
    [("203.0.113.5", "203.0.113.5"), ("6.6.6.6, 203.0.113.5", "203.0.113.5"), (None, "192.0.2.7")],
)
def test_the_address_is_the_one_that_the_trusted_proxy_saw(forwarded: str | None, address: str) -> None:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert recorded(headers=headers).address == address


def test_without_trusted_proxies_nobody_says_where_they_come_from() -> None:
    assert recorded(headers={"x-forwarded-for": "6.6.6.6"}).address == "192.0.2.7"


def test_a_command_acts_as_a_command() -> None:
    with acting_as(lambda: Origin(kind="command")):
        assert record("workspace.suspended", workspace_id=1).actor_kind == "command"
    assert record("workspace.suspended", workspace_id=1).actor_kind == "system"


def test_an_unknown_act_is_a_mistake() -> None:
    with pytest.raises(KeyError, match=r"api_key\.eaten"):
        record("api_key.eaten", workspace_id=1)
    assert all(action.count(".") == 1 and words for action, words in ACTIONS.items())


@pytest.mark.parametrize(
    "statement", ["UPDATE accounts_auditentry SET action = 'x'", "DELETE FROM accounts_auditentry"]
)
def test_lines_are_neither_changed_nor_deleted(statement: str) -> None:
    record("workspace.suspended", workspace_id=1)
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.count() == 1
