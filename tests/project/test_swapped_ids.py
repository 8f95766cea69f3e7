"""Ids of one workspace in another's requests: in the query and in the body. Those in the path are the table's column ``other``."""

import pytest
from django.test import Client

from accounts.models import Membership, Workspace
from tests.dashboard.api.conftest import BASE, management_key, program
from tests.dashboard.usage_rows import make_request
from tests.factories import Cast, fund, make_api_key, make_cast

pytestmark = pytest.mark.django_db

JSON = "application/json"


@pytest.fixture
def cast() -> Cast:
    found = make_cast()
    for workspace in (found.workspace, found.other_workspace):
        fund(workspace, "5")
        make_request(workspace, key=make_api_key(workspace).row)
    return found


def ids_in(workspace: Workspace) -> dict[str, object]:
    """Return what is in a workspace, by the names that the requests below have for it."""
    member = Membership.objects.filter(workspace=workspace).order_by("-pk").first()
    key = workspace.api_keys.first()
    assert member is not None
    assert key is not None
    return {"slug": workspace.slug, "member": member.pk, "user": member.user_id, "prefix": key.prefix}


#: Method, address and form: each takes an id besides those of its path.
ON_THE_SITE = [
    ("GET", "/dashboard/audit?person={user}", {}),
    ("GET", "/dashboard/audit.csv?person={user}", {}),
    ("POST", "/dashboard/switch", {"workspace": "{slug}"}),
    ("POST", "/dashboard/workspace/transfer", {"member": "{member}", "name": "Charlie's lab"}),
]


@pytest.mark.parametrize(("method", "address", "fields"), ON_THE_SITE)
def test_another_workspaces_id_is_a_404_on_the_site(
    cast: Cast, method: str, address: str, fields: dict[str, str]
) -> None:
    ids = ids_in(cast.workspace)
    browser = Client()
    browser.force_login(cast.charlie)
    filled = {name: text.format(**ids) for name, text in fields.items()}
    response = browser.generic(
        method, address.format(**ids), "&".join(f"{name}={text}" for name, text in filled.items()),
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert response.status_code == 404
    assert Workspace.objects.get(pk=cast.workspace.pk).owner == cast.alice


def test_another_workspaces_id_is_a_404_in_the_management_api(cast: Cast) -> None:
    charlie = program(management_key(cast.other_workspace, cast.charlie))
    prefix = str(ids_in(cast.workspace)["prefix"])
    response = charlie.get(f"{BASE}/generations", {"key": prefix})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    # A user belongs to no workspace: who did nothing here is no line of the log here.
    assert charlie.get(f"{BASE}/audit-log", {"actor_id": cast.alice.pk}).json()["data"] == []


def test_one_workspaces_cursors_show_nothing_of_it_in_another(cast: Cast) -> None:
    for path in ("keys", "generations", "credits/ledger", "audit-log", "members"):
        make_api_key(cast.workspace)
        make_request(cast.workspace, key=make_api_key(cast.workspace).row)
        fund(cast.workspace, "1")
        alice = program(management_key(cast.workspace, cast.alice))
        cursor = alice.get(f"{BASE}/{path}", {"limit": 1}).json()["next_cursor"]
        assert cursor is not None, path
        charlie = program(management_key(cast.other_workspace, cast.charlie))
        page = charlie.get(f"{BASE}/{path}", {"cursor": cursor})
        assert page.status_code == 200
        own = [str(row) for row in charlie.get(f"{BASE}/{path}", {"limit": 100}).json()["data"]]
        assert all(str(row) in own for row in page.json()["data"]), path
