"""The audit log's page and file, and the page of a policy."""

import csv
import io

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client
from django.urls import reverse

from accounts.models import AuditEntry, PolicyAcceptance, User
from accounts.policies import POLICIES, TEXTS
from accounts.roles import Role
from accounts.selectors.policies import accepted_policies
from accounts.services.audit import record
from accounts.services.policies import accept_policy
from accounts.services.workspace_settings import change_workspace
from dashboard.csv_files import safe_cell
from dashboard.views.audit import COLUMNS, LINES_PER_PAGE
from tests.dashboard.pages import fill_catalog, text_of
from tests.factories import Cast, make_cast, make_member

PAGE, FILE = "/dashboard/audit", "/dashboard/audit.csv"
POLICY = "/dashboard/policies/uncensored"
UNCENSORED_MODEL = """
[[models]]
id = "wild/one"
display_name = "Wild One"
kind = "chat"
context_window = 1000
tags = ["streaming", "uncensored"]
[models.price]
input = "1"
output = "1"
[[models.routes]]
upstream = "sandbox"
model = "sandbox/paid"
"""


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def signed_in(user: User) -> Client:
    """Return the browser of a person."""
    client = Client()
    client.force_login(user)
    return client


def table_of(content: bytes) -> list[list[str]]:
    """Return a file's rows."""
    return list(csv.reader(io.StringIO(content.decode())))


@pytest.mark.django_db
def test_the_page_goes_back_in_time_by_cursor(cast: Cast) -> None:
    for number in range(LINES_PER_PAGE + 5):
        record("workspace.changed", workspace_id=cast.workspace.pk, details={"number": number})
    alice = signed_in(cast.alice)
    first = alice.get(PAGE)
    assert first.text.count('class="a-what"') == LINES_PER_PAGE
    oldest = AuditEntry.objects.filter(workspace_id=cast.workspace.pk).order_by("-pk")[LINES_PER_PAGE - 1]
    assert f"?before={oldest.pk}" in first.text
    record("workspace.changed", workspace_id=cast.workspace.pk)
    second = alice.get(PAGE, {"before": oldest.pk})
    assert "Made the workspace" in second.text, "lines that came meanwhile move nothing"
    assert (
        second.text.count('class="a-what"')
        == AuditEntry.objects.filter(workspace_id=cast.workspace.pk, pk__lt=oldest.pk).count()
    )
    for nonsense in ("x", "-1", "9" * 30, "\0"):
        assert alice.get(PAGE, {"before": nonsense}).status_code == 200


@pytest.mark.django_db
def test_the_page_is_narrowed_down_and_says_what_it_does_not_understand(cast: Cast) -> None:
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by=cast.alice)
    alice = signed_in(cast.alice)
    text = alice.get(PAGE, {"group": "policy", "person": str(cast.alice.pk)}).text
    assert text.count('class="a-what"') == 1
    assert "Accepted a policy" in text
    assert "Nothing like that happened" in alice.get(PAGE, {"to": "2020-01-01"}).text
    for data, words in (
        ({"from": "yesterday"}, "Write the first day as 2026-01-31."),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "must not be after"),
        ({"group": "secrets"}, "Everything else is shown."),
        ({"to": "9999-12-31", "from": "0001-01-01"}, "Made the workspace"),
    ):
        response = alice.get(PAGE, data)
        assert response.status_code == 200
        assert words in response.text


@pytest.mark.django_db
def test_days_are_those_of_the_workspaces_zone(cast: Cast) -> None:
    change_workspace(cast.workspace.pk, time_zone="Pacific/Kiritimati")
    alice = signed_in(cast.alice)
    filters = alice.get(PAGE, {"from": "2026-01-02", "to": "2026-01-02"}).context["form"].chosen("Pacific/Kiritimati")
    assert (filters.since.isoformat(), filters.until.isoformat()) == (
        "2026-01-02T00:00:00+14:00",
        "2026-01-03T00:00:00+14:00",
    )


@pytest.mark.django_db
def test_the_file_has_every_line_and_is_a_line_itself(cast: Cast) -> None:
    change_workspace(cast.workspace.pk, name="=HYPERLINK(1)", time_zone="Asia/Kathmandu")
    alice = signed_in(cast.alice)
    response = alice.get(FILE, {"group": "workspace"})
    assert response.streaming
    assert response["Content-Type"].startswith("text/csv")
    assert f"audit-{cast.workspace.slug}-" in response["Content-Disposition"]
    rows = table_of(response.getvalue())
    assert rows[0] == list(COLUMNS)
    assert {row[1] for row in rows[1:]} == {"workspace.created", "workspace.changed"}
    assert all(row[0].endswith("+05:45") for row in rows[1:])
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    line = AuditEntry.objects.latest("pk")
    assert (line.action, line.actor_id, line.details) == (
        "audit.exported",
        cast.alice.pk,
        {"narrowed to": "group workspace"},
    )


@pytest.mark.django_db
def test_the_file_holds_nothing_of_another_workspace(cast: Cast) -> None:
    record("workspace.changed", workspace_id=cast.other_workspace.pk, target=("workspace", 1, "their-secret-name"))
    assert b"their-secret-name" not in signed_in(cast.alice).get(FILE).getvalue()
    assert b"their-secret-name" in signed_in(cast.charlie).get(FILE).getvalue()


@pytest.mark.django_db(transaction=True)
async def test_the_file_streams_from_an_asynchronous_server_too() -> None:
    from_django = AsyncClient()
    cast = await _make_cast_later()
    await from_django.aforce_login(cast.alice)
    response = await from_django.get(FILE)
    assert response.is_async  # type: ignore[attr-defined]  # a streaming response
    content = b"".join([chunk async for chunk in response])  # type: ignore[attr-defined]  # see above
    assert table_of(content)[0] == list(COLUMNS)


async def _make_cast_later() -> Cast:
    return await sync_to_async(make_cast)()


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_cell_never_begins_a_formula(value: str) -> None:
    assert safe_cell(value) == f"'{value}"
    assert safe_cell("a" + value) == "a" + value


@pytest.mark.django_db
def test_the_owner_accepts_the_policy_for_the_workspace(cast: Cast) -> None:
    alice = signed_in(cast.alice)
    page = alice.get(POLICY).text
    assert TEXTS["uncensored", 1].rules[0] in text_of(page)
    assert "tick the box" in alice.post(POLICY, {"version": "1"}, follow=True).text
    assert accepted_policies(cast.workspace.pk) == frozenset()
    assert "accepts the policy, version 1" in alice.post(POLICY, {"version": "1", "agreed": "on"}, follow=True).text
    row = PolicyAcceptance.objects.get()
    assert (row.workspace, row.version, row.accepted_by_user) == (cast.workspace, 1, cast.alice)
    line = AuditEntry.objects.latest("pk")
    assert (line.action, line.actor_id, line.details) == ("policy.accepted", cast.alice.pk, {"version": 1})
    assert "by Alice." in alice.get(POLICY).text


@pytest.mark.django_db
def test_a_new_version_asks_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by=cast.alice)
    monkeypatch.setitem(POLICIES, "uncensored", 2)
    monkeypatch.setitem(TEXTS, ("uncensored", 2), TEXTS["uncensored", 1])
    alice = signed_in(cast.alice)
    assert "The policy has changed since" in alice.get(POLICY).text
    assert accepted_policies(cast.workspace.pk) == frozenset()
    stale = alice.post(POLICY, {"version": "1", "agreed": "on"}, follow=True)
    assert "The policy changed: version 2" in stale.text
    assert accepted_policies(cast.workspace.pk) == frozenset()
    alice.post(POLICY, {"version": "2", "agreed": "on"})
    assert accepted_policies(cast.workspace.pk) == {"uncensored"}


@pytest.mark.django_db
def test_who_may_not_accept_is_told_who_may(cast: Cast) -> None:
    for role in (Role.DEVELOPER, Role.BILLING, Role.VIEWER):
        browser = signed_in(make_member(cast.workspace, role))
        page = browser.get(POLICY).text
        assert "owner or admin" in page
        assert "Accept version" not in page
        assert browser.post(POLICY, {"version": "1", "agreed": "on"}).status_code == 403
    admin = signed_in(make_member(cast.workspace, Role.ADMIN))
    assert admin.post(POLICY, {"version": "1", "agreed": "on"}).status_code == 302
    assert accepted_policies(cast.workspace.pk) == {"uncensored"}
    assert admin.get("/dashboard/policies/other").status_code == 404
    assert admin.post("/dashboard/policies/other").status_code == 404


@pytest.mark.django_db
def test_the_catalog_marks_the_model_and_leads_to_the_policy(cast: Cast) -> None:
    fill_catalog(UNCENSORED_MODEL)
    alice, link = signed_in(cast.alice), f'href="{POLICY}"'
    for browser in (Client(), alice):
        page = browser.get("/models", {"q": "wild"}).text
        assert link in page
        assert "accept the policy" in page
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by=cast.alice)
    assert "policy accepted" in alice.get("/models", {"q": "wild"}).text
    assert "accept the policy" in Client().get("/models", {"q": "wild"}).text
    assert reverse("dashboard:policy", args=["uncensored"]) == POLICY
