"""The keys page: a secret is shown once, and keys are made and revoked only by those who may."""

import datetime as dt
import logging

import pytest
from django.conf import LazySettings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from accounts.roles import Role
from accounts.selectors.apikeys import api_keys_of
from accounts.selectors.principals import principal_row
from accounts.services.apikeys import create_api_key, revoke_api_key
from lumyx.lib import clock, crypto
from tests.factories import Cast, make_api_key, make_cast, make_member

pytestmark = pytest.mark.django_db

KEYS = "/dashboard/api-keys"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def secret_in(page: bytes) -> str:
    """Return the key that the page shows, read as a person would."""
    return page.decode().partition('<output id="new-key"')[2].partition(">")[2].partition("<")[0]


def revoke_path(prefix: str) -> str:
    return reverse("dashboard:key_revoke", args=[prefix])


def test_an_empty_page_offers_the_first_key_and_a_snippet_with_this_address(alice: Client) -> None:
    response = alice.get(KEYS)
    assertContains(response, "No keys yet")
    assertContains(response, "Create your first key")
    assertContains(response, "http://testserver/api/v1")


def test_a_created_key_is_shown_whole_and_works(alice: Client, cast: Cast, settings: LazySettings) -> None:
    response = alice.post(reverse("dashboard:key_create"), {"name": "Production"}, headers=HTMX)
    secret = secret_in(response.content)
    (key,) = api_keys_of(cast.workspace.pk)
    assert secret.startswith(key.prefix)
    assert secret.endswith(key.last_four)
    digest = crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER)
    row = principal_row(digest)
    assert row is not None
    assert row.api_key_id == key.pk
    assert (key.name, key.created_by, key.is_test, key.expires_at) == ("Production", cast.alice, False, None)


def test_the_secret_is_seen_once_and_kept_nowhere(alice: Client, cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        response = alice.post(reverse("dashboard:key_create"), {"name": "Production"})
    secret = secret_in(response.content)
    assert response["Cache-Control"] == "no-store, private"
    assertNotContains(alice.get(KEYS), secret)
    assert secret not in caplog.text
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())
    (key,) = api_keys_of(cast.workspace.pk)
    assert secret.encode() not in bytes(key.digest)


def test_without_a_script_the_form_and_the_secret_have_pages_of_their_own(alice: Client) -> None:
    form = alice.get(KEYS + "?new")
    assertContains(form, 'method="post" action="/dashboard/api-keys/create"')
    assertNotContains(form, '<dialog class="dlg" id="key-dialog"')
    response = alice.post(reverse("dashboard:key_create"), {"name": "Production"})
    assertContains(response, "Copy “Production” now")
    assertContains(response, "<title>API keys")
    assertContains(response, f"-H &quot;Authorization: Bearer {secret_in(response.content)}&quot;")


def test_with_htmx_the_form_comes_in_a_dialog_and_the_table_with_the_secret(alice: Client) -> None:
    dialog = alice.get(KEYS + "?new", headers=HTMX).content.decode()
    assert dialog.startswith('<dialog class="dlg" id="key-dialog" data-auto')
    assert "<title>" not in dialog
    response = alice.post(reverse("dashboard:key_create"), {"name": "Production"}, headers=HTMX)
    assertContains(response, 'id="keys-table" hx-swap-oob="true"')
    assertContains(response, 'data-copied="Key copied"')
    assertNotContains(response, "<title>")


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": ""}, "Give the key a name"),
        ({"name": "   "}, "Give the key a name"),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"name": "a\nb"}, "Use letters, digits, spaces and signs"),
        ({"name": "ok", "expires": "5000"}, "Choose one of the list"),
        ({"name": "ok", "allowed_models": ["nobody/knows"]}, "is not a model of the catalog"),
    ],
)
def test_a_bad_form_says_what_to_do_keeps_what_was_typed_and_makes_no_key(
    alice: Client, cast: Cast, headers: dict[str, str], data: dict[str, str], message: str
) -> None:
    response = alice.post(reverse("dashboard:key_create"), data, headers=headers)
    assert response.status_code == 422
    assertContains(response, message, status_code=422)
    if data["name"] == "ok":
        assertContains(response, 'value="ok"', status_code=422)
    assert not api_keys_of(cast.workspace.pk).exists()


def test_expiry_and_test_key_are_kept(alice: Client, cast: Cast) -> None:
    alice.post(reverse("dashboard:key_create"), {"name": "CI", "expires": "30", "is_test": "on"})
    (key,) = api_keys_of(cast.workspace.pk)
    assert key.is_test
    assert key.expires_at is not None
    assert abs(key.expires_at - clock.now() - dt.timedelta(days=30)) < dt.timedelta(minutes=1)
    assertContains(alice.get(KEYS), ">Test</span>")


def test_a_name_is_shown_as_text_never_as_markup(alice: Client, cast: Cast) -> None:
    make_api_key(cast.workspace, name="<img src=x onerror=alert(1)>")
    assertNotContains(alice.get(KEYS), "<img src=x")


def test_each_key_shows_its_ends_maker_and_state(alice: Client, cast: Cast) -> None:
    active = create_api_key(workspace=cast.workspace, name="Active one", created_by=cast.bob).row
    revoked = make_api_key(cast.workspace, name="Old one").row
    revoke_api_key(workspace_id=cast.workspace.pk, prefix=revoked.prefix)
    html = alice.get(KEYS).content.decode()
    assert f"{active.prefix}…{active.last_four}" in html
    assert "by Bob" in html
    assert "by an operator" in html
    assert html.index("Active one") < html.index("Old one")
    assert "Revoked</span>" in html
    assert revoke_path(active.prefix) in html
    assert revoke_path(revoked.prefix) not in html


def test_revoking_needs_the_keys_name(alice: Client, cast: Cast) -> None:
    key = make_api_key(cast.workspace, name="Production").row
    response = alice.post(revoke_path(key.prefix), {"name": "production"})
    assertContains(response, "Type “Production”", status_code=422)
    key.refresh_from_db()
    assert key.revoked_at is None


def test_revoking_without_a_script_leads_back_to_the_list(alice: Client, cast: Cast) -> None:
    key = make_api_key(cast.workspace, name="Production").row
    assertContains(alice.get(revoke_path(key.prefix)), "Revoke “Production”?")
    response = alice.post(revoke_path(key.prefix), {"name": " Production "}, follow=True)
    assertRedirects(response, KEYS)
    assertContains(response, "is revoked")
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_revoking_with_htmx_swaps_the_table_and_says_so(alice: Client, cast: Cast) -> None:
    key = make_api_key(cast.workspace, name="Production").row
    dialog = alice.get(revoke_path(key.prefix), headers=HTMX).content.decode()
    assert dialog.startswith("<dialog")
    response = alice.post(revoke_path(key.prefix), {"name": "Production"}, headers=HTMX)
    assertContains(response, "Revoked</span>")
    assertContains(response, 'id="keys-table" hx-swap-oob="true"')
    assert "Production" in response["HX-Trigger"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
def test_who_may_not_manage_keys_sees_no_buttons_and_is_refused(client: Client, cast: Cast, role: Role) -> None:
    key = make_api_key(cast.workspace, name="Production").row
    client.force_login(make_member(cast.workspace, role))
    for path in (KEYS, KEYS + "?new"):
        response = client.get(path)
        assertContains(response, "Production")
        assertNotContains(response, "Create key")
        assertNotContains(response, "Revoke")
    for path, data in ((reverse("dashboard:key_create"), {"name": "x"}), (revoke_path(key.prefix), {"name": key.name})):
        response = client.post(path, data)
        assertContains(response, "owner, admin or developer", status_code=403)
    key.refresh_from_db()
    assert key.revoked_at is None
    assert api_keys_of(cast.workspace.pk).count() == 1


def test_a_developer_may_create_and_revoke(client: Client, cast: Cast) -> None:
    client.force_login(cast.bob)
    client.post(reverse("dashboard:key_create"), {"name": "Bob's"})
    (key,) = api_keys_of(cast.workspace.pk)
    client.post(revoke_path(key.prefix), {"name": "Bob's"})
    key.refresh_from_db()
    assert key.created_by == cast.bob
    assert key.revoked_at is not None


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_another_workspaces_key_does_not_exist(client: Client, cast: Cast, headers: dict[str, str]) -> None:
    key = make_api_key(cast.workspace, name="Production").row
    client.force_login(cast.charlie)
    assert client.get(revoke_path(key.prefix), headers=headers).status_code == 404
    assert client.post(revoke_path(key.prefix), {"name": key.name}, headers=headers).status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None
    assertNotContains(client.get(KEYS), key.prefix)


@pytest.mark.parametrize("prefix", ["%00", "lx-%00", "lx-%F0%9F%98%80", "x" * 3000])
def test_a_prefix_that_no_key_can_have_is_404(alice: Client, prefix: str) -> None:
    address = f"{KEYS}/{prefix}/revoke"
    assert alice.get(address).status_code == 404
    assert alice.post(address, {"name": "x"}).status_code == 404


def test_forms_without_a_token_are_refused(cast: Cast) -> None:
    key = make_api_key(cast.workspace, name="Production").row
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice)
    assert client.post(reverse("dashboard:key_create"), {"name": "x"}).status_code == 403
    assert client.post(revoke_path(key.prefix), {"name": key.name}).status_code == 403
    assert api_keys_of(cast.workspace.pk).filter(revoked_at=None).count() == 1


def test_the_number_of_keys_does_not_change_the_number_of_queries(alice: Client, cast: Cast) -> None:
    def queries_with(keys: int) -> int:
        while api_keys_of(cast.workspace.pk).count() < keys:
            create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
        with CaptureQueriesContext(connection) as queries:
            assertContains(alice.get(KEYS), "by Bob", count=keys)
        return len(queries)

    queries_with(1)  # the first page of a session writes the session down
    assert queries_with(2) == queries_with(20) <= 15
