"""Who gets in: members with the right role, in the workspace that is theirs; everybody else is told what to do."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.roles import Permission, Role
from accounts.services.workspaces import create_workspace, remove_member, set_member
from dashboard.guards import WORKSPACE_KEY, roles_with
from tests.factories import Cast, make_cast, make_member, make_user

pytestmark = pytest.mark.django_db

PAGES = ("dashboard:overview", "dashboard:keys", "dashboard:usage", "dashboard:credits")


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.mark.parametrize("page", PAGES)
def test_an_anonymous_visitor_signs_in_and_comes_back(client: Client, page: str) -> None:
    response = client.get(reverse(page) + "?a=1")
    assert response.status_code == 302
    assert response["Location"] == f"/login?next={reverse(page)}%3Fa%3D1"
    assert response["Cache-Control"] == "no-store, private"


def test_a_form_that_an_anonymous_visitor_sent_leads_to_the_overview(client: Client) -> None:
    response = client.post(reverse("dashboard:key_create"), {"name": "x"})
    assert response["Location"] == f"/login?next={reverse('dashboard:overview')}"


def test_htmx_moves_the_whole_window_to_the_sign_in_page(client: Client) -> None:
    response = client.get(
        reverse("dashboard:keys") + "?new",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/dashboard/api-keys"},
    )
    assert response.status_code == 200
    assert response["HX-Redirect"] == "/login?next=/dashboard/api-keys"


def test_htmx_from_another_site_does_not_choose_where_to_return(client: Client) -> None:
    response = client.get(
        reverse("dashboard:keys") + "?new",
        headers={"HX-Request": "true", "HX-Current-URL": "https://evil.example/dashboard"},
    )
    assert response["HX-Redirect"] == "/login?next=/dashboard"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_ever_stored(client: Client, cast: Cast, page: str) -> None:
    client.force_login(cast.alice)
    response = client.get(reverse(page))
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store, private"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_about_the_members_own_workspace(client: Client, cast: Cast, page: str) -> None:
    client.force_login(cast.charlie)
    html = client.get(reverse(page)).content.decode()
    assert "Charlie&#x27;s den" in html
    assert "Alice&#x27;s lab" not in html


def test_a_workspace_in_the_session_that_is_not_theirs_is_forgotten(client: Client, cast: Cast) -> None:
    client.force_login(cast.charlie)
    session = client.session
    session[WORKSPACE_KEY] = cast.workspace.slug
    session.save()
    html = client.get(reverse("dashboard:overview")).content.decode()
    assert "Alice&#x27;s lab" not in html
    assert WORKSPACE_KEY not in client.session


def test_whoever_is_removed_from_a_workspace_sees_it_no_more(client: Client, cast: Cast) -> None:
    home = create_workspace("Bob's home", owner=cast.bob)
    client.force_login(cast.bob)
    client.post(reverse("dashboard:switch"), {"workspace": cast.workspace.slug})
    assert "Alice&#x27;s lab" in client.get(reverse("dashboard:keys")).content.decode()
    remove_member(cast.workspace, user=cast.bob)
    html = client.get(reverse("dashboard:keys")).content.decode()
    assert "Alice&#x27;s lab" not in html
    assert "Bob&#x27;s home" in html
    assert home.slug not in client.session.values()


def test_a_person_without_a_workspace_is_told_what_to_do(client: Client) -> None:
    client.force_login(make_user("dora@example.com"))
    response = client.get(reverse("dashboard:overview"))
    assert response.status_code == 403
    assert "dora@example.com does not belong to a workspace" in response.content.decode()


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_a_role_that_is_too_small_gets_a_403_that_names_the_roles(client: Client, cast: Cast, role: Role) -> None:
    client.force_login(make_member(cast.workspace, role))
    response = client.get(reverse("dashboard:credits"))
    html = response.content.decode()
    assert response.status_code == 403
    assert role.value in html
    assert "owner, admin or billing" in html
    assert response["Cache-Control"] == "no-store, private"


def test_roles_with_a_permission_read_as_a_sentence() -> None:
    assert roles_with(Permission.MANAGE_KEYS) == "owner, admin or developer"
    assert roles_with(Permission.MANAGE_BILLING) == "owner or billing"


def test_switching_changes_the_workspace_of_every_page(client: Client, cast: Cast) -> None:
    set_member(cast.other_workspace, user=cast.alice, role=Role.VIEWER)
    client.force_login(cast.alice)
    assert "Alice&#x27;s lab" in client.get(reverse("dashboard:keys")).content.decode()
    response = client.post(reverse("dashboard:switch"), {"workspace": cast.other_workspace.slug})
    assert response.status_code == 302
    assert response["Location"] == reverse("dashboard:overview")
    html = client.get(reverse("dashboard:keys")).content.decode()
    assert "<title>API keys" in html
    assert "Your role is viewer" in html


def test_switching_to_a_strangers_workspace_is_404(client: Client, cast: Cast) -> None:
    client.force_login(cast.charlie)
    for slug in (cast.workspace.slug, "no-such-workspace", "", "\0", "x" * 9000):
        assert client.post(reverse("dashboard:switch"), {"workspace": slug}).status_code == 404
    assert WORKSPACE_KEY not in client.session


def test_switching_needs_a_post_with_a_token(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice)
    assert client.get(reverse("dashboard:switch")).status_code == 405
    assert client.post(reverse("dashboard:switch"), {"workspace": cast.workspace.slug}).status_code == 403


def test_the_switcher_is_there_only_for_people_with_several_workspaces(client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)
    assert 'name="workspace"' not in client.get(reverse("dashboard:overview")).content.decode()
    set_member(cast.other_workspace, user=cast.alice, role=Role.VIEWER)
    html = client.get(reverse("dashboard:overview")).content.decode()
    assert f'name="workspace" value="{cast.other_workspace.slug}"' in html
