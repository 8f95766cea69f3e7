"""What is taken away is gone within a second on every web process: two of them, people with sessions and programs with keys."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import httpx
import pytest

from tests.flows.installation import Gateway, Installation
from tests.flows.visitor import Visitor

PASSWORD = "correct-horse-9-battery"
SECOND = 1.0
SECRET = re.compile(r"lx-[A-Za-z0-9]{38,}")
CHAT = {"model": "sandbox/paid", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


@pytest.fixture(scope="module")
def second(installation: Installation) -> Iterator[Gateway]:
    """Another web process of the installation."""
    started = installation.start_gateway(name="second")
    yield started
    started.stop()


@dataclass(frozen=True, slots=True)
class Team:
    """An owner and a developer who are signed in, the developer's key, and where both are asked."""

    slug: str
    owner: Visitor
    developer: Visitor
    key: str
    gateways: tuple[Gateway, Gateway]

    def page(self, path: str) -> set[int]:
        """Return the statuses of the developer's page on both processes."""
        found = set()
        for gateway in self.gateways:
            with closing(self.developer.at(gateway.origin).http) as http:
                found.add(http.get(path).status_code)
        return found

    def call(self) -> set[tuple[int, str]]:
        """Return status and code of a call by the developer's key on both processes."""
        found = set()
        for gateway in self.gateways:
            answer = httpx.post(
                f"{gateway.base_url}/chat/completions", json=CHAT, headers={"Authorization": f"Bearer {self.key}"}
            )
            found.add((answer.status_code, "" if answer.is_success else str(answer.json()["error"]["code"])))
        return found


@pytest.fixture
def team(installation: Installation, gateway: Gateway, second: Gateway) -> Iterator[Team]:
    """Two people in a workspace with credit."""
    name = f"team-{time.monotonic_ns()}"
    people = [f"{who}-{name}@example.com" for who in ("owner", "dev")]
    for person in people:
        slug = installation.manage(
            "workspace",
            "create",
            "--name",
            person.partition("@")[0],
            "--owner",
            person,
            "--password",
            PASSWORD,
            "--credits",
            "5",
        )["slug"]
        if person == people[0]:
            first = slug
    (invited,) = installation.query("SELECT id FROM accounts_user WHERE email = %s", people[1])
    (workspace,) = installation.query("SELECT id FROM accounts_workspace WHERE slug = %s", first)
    installation.query(
        "INSERT INTO accounts_membership (workspace_id, user_id, role, created_at, budget_period)"
        " VALUES (%s, %s, 'developer', now(), '') RETURNING id",
        workspace["id"],
        invited["id"],
    )
    with closing(Visitor(gateway.origin)) as owner, closing(Visitor(gateway.origin)) as developer:
        for visitor, person in ((owner, people[0]), (developer, people[1])):
            assert visitor.sign_in(person, PASSWORD).status_code == 302
        assert developer.send("/dashboard/switch", {"workspace": first}, page="/dashboard").status_code == 302
        made = developer.send("/dashboard/api-keys/create", {"name": "dev", "expires": ""}, page="/dashboard/api-keys")
        found = SECRET.search(made.text)
        assert found is not None, made.text[:500]
        yield Team(first, owner, developer, found[0], (gateway, second))


def within_a_second[Seen](act: Callable[[], object], look: Callable[[], Seen], *, before: Seen, after: Seen) -> None:
    """Do something, and see its effect on both processes at the end of a second."""
    assert look() == before
    act()
    ends = time.monotonic() + SECOND
    while (seen := look()) != after and time.monotonic() < ends:
        time.sleep(0.05)
    assert seen == after


OK = {(200, "")}


def test_a_revoked_key_is_refused(team: Team, installation: Installation) -> None:
    prefix = team.key[:11]
    within_a_second(
        lambda: team.owner.send(f"/dashboard/api-keys/{prefix}/revoke", {"name": "dev"}, page="/dashboard/api-keys"),
        team.call,
        before=OK,
        after={(401, "revoked_api_key")},
    )


def test_a_suspended_workspaces_keys_are_refused(team: Team, installation: Installation) -> None:
    within_a_second(
        lambda: installation.manage("workspace", "suspend", team.slug),
        team.call,
        before=OK,
        after={(403, "workspace_suspended")},
    )


def member_of(team: Team, installation: Installation) -> int:
    """Return the developer's membership."""
    (row,) = installation.query(
        "SELECT m.id FROM accounts_membership m JOIN accounts_workspace w ON w.id = m.workspace_id"
        " WHERE w.slug = %s AND m.role = 'developer'",
        team.slug,
    )
    return int(row["id"])


def test_a_removed_members_pages_and_keys_are_gone(team: Team, installation: Installation) -> None:
    member = member_of(team, installation)
    assert team.page("/dashboard/api-keys/" + team.key[:11] + "/edit") == {200}
    within_a_second(
        lambda: team.owner.send(f"/dashboard/members/{member}/remove", {}, page=f"/dashboard/members/{member}"),
        team.call,
        before=OK,
        after={(403, "key_maker_lost_access")},
    )
    # They are in their own workspace now, where that key is not.
    assert team.page("/dashboard/api-keys/" + team.key[:11] + "/edit") == {404}


def test_a_lowered_roles_pages_and_keys_are_refused(team: Team, installation: Installation) -> None:
    member = member_of(team, installation)
    assert team.page("/dashboard/api-keys/" + team.key[:11] + "/edit") == {200}
    within_a_second(
        lambda: team.owner.send(
            f"/dashboard/members/{member}/role", {"role": "viewer"}, page=f"/dashboard/members/{member}"
        ),
        team.call,
        before=OK,
        after={(403, "key_maker_lost_access")},
    )
    assert team.page("/dashboard/api-keys/" + team.key[:11] + "/edit") == {403}
