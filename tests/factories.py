"""The people, workspaces, keys and money that tests begin with.

The fixed cast: Alice owns a workspace, Bob is a developer in it, Charlie is a stranger with a workspace of his own.
Everything goes through the services, so that a test's world is one that the product can make.
"""

import itertools
from dataclasses import dataclass

from accounts.models import User, Workspace
from accounts.roles import Role
from accounts.services.apikeys import NewApiKey, create_api_key
from accounts.services.users import create_user
from accounts.services.workspaces import create_workspace, set_member
from billing.services.ledger import grant
from lumyx.lib.money import usd_to_nano

PASSWORD = "correct horse battery staple"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cast:
    """Alice's workspace is ``workspace``; Bob is a developer in it; Charlie has only ``other_workspace``."""

    alice: User
    bob: User
    charlie: User
    workspace: Workspace
    other_workspace: Workspace


def make_user(email: str = "", *, password: str = PASSWORD, verified: bool = True, name: str = "") -> User:
    """Make a user without a workspace; without an address they get one of their own."""
    return create_user(email or f"user{next(_numbers)}@example.com", password=password, verified=verified, name=name)


def make_workspace(name: str = "", *, owner: User | None = None) -> Workspace:
    """Make a workspace; without an owner it gets a new, verified one."""
    return create_workspace(name or f"Workspace {next(_numbers)}", owner=owner or make_user())


def make_member(workspace: Workspace, role: Role, *, email: str = "") -> User:
    """Make a user who belongs to the workspace with a role other than owner."""
    user = make_user(email)
    set_member(workspace, user=user, role=role)
    return user


def make_cast() -> Cast:
    """Make Alice, Bob, Charlie and their workspaces."""
    alice, bob, charlie = (make_user(f"{name}@example.com", name=name.title()) for name in ("alice", "bob", "charlie"))
    workspace = create_workspace("Alice's lab", owner=alice)
    set_member(workspace, user=bob, role=Role.DEVELOPER)
    other_workspace = create_workspace("Charlie's den", owner=charlie)
    return Cast(alice=alice, bob=bob, charlie=charlie, workspace=workspace, other_workspace=other_workspace)


def make_api_key(workspace: Workspace, *, name: str = "test", is_test: bool = False) -> NewApiKey:
    """Make a key as an operator does (no maker); for other options call ``create_api_key``."""
    return create_api_key(workspace=workspace, name=name, is_test=is_test)


def fund(workspace: Workspace, usd: str) -> None:
    """Give a workspace paid credit that never expires, in US dollars."""
    grant(
        workspace_id=workspace.pk, kind="paid", amount=usd_to_nano(usd), source=f"test:{workspace.pk}:{next(_numbers)}"
    )
