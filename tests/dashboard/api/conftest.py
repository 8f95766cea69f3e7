"""A workspace with something behind every endpoint, and programs that manage it."""

import datetime as dt
from dataclasses import dataclass

import pytest
from django.test import Client

from accounts.models import Invitation, User, Workspace
from accounts.roles import Role
from accounts.services.apikeys import NewApiKey, create_api_key
from accounts.services.invitations import invite
from accounts.services.management_keys import NewManagementKey, create_management_key
from accounts.services.workspaces import set_member
from lumyx.lib import clock
from tests.dashboard.usage_rows import make_request
from tests.factories import Cast, fund, make_cast, make_member

BASE = "/api/v1"


def program(key: NewManagementKey | str) -> Client:
    """Return a client that sends a key."""
    return Client(headers={"Authorization": f"Bearer {key if isinstance(key, str) else key.secret}"})


def management_key(workspace: Workspace, maker: User, *, read_only: bool = False) -> NewManagementKey:
    """Make a management key."""
    return create_management_key(workspace=workspace, name="CI", created_by=maker, is_read_only=read_only)


def key_of_role(workspace: Workspace, role: Role, *, read_only: bool = False) -> NewManagementKey:
    """Make a key of somebody who has the role now; who may make none had another role when it was made."""
    if role == Role.OWNER:
        return management_key(workspace, workspace.owner, read_only=read_only)
    maker = make_member(workspace, Role.ADMIN, email=f"maker-{role}@example.com")
    key = management_key(workspace, maker, read_only=read_only)
    set_member(workspace, user=maker, role=role)
    return key


def invited(workspace: Workspace, *, email: str) -> int:
    """Invite somebody as a viewer, a while ago, and return the invitation's id."""
    row = invite(workspace.pk, email=email, role=Role.VIEWER, by=workspace.owner).row
    Invitation.objects.filter(pk=row.pk).update(sent_at=clock.now() - dt.timedelta(minutes=5))
    return row.pk


@dataclass(frozen=True, slots=True)
class Managed:
    """Alice's workspace with a key, a request and credit; Charlie's with a key and a request of its own."""

    cast: Cast
    api_key: NewApiKey
    foreign_key: NewApiKey
    alice: Client
    invitation_id: int

    @property
    def workspace(self) -> Workspace:
        """The workspace that is managed."""
        return self.cast.workspace


@pytest.fixture
def managed(db: None) -> Managed:
    """Return the furnished workspace, and Alice's program, which may change things."""
    cast = make_cast()
    keys = []
    for workspace in (cast.workspace, cast.other_workspace):
        fund(workspace, "5")
        key = create_api_key(workspace=workspace, name=f"of {workspace.slug}", created_by=workspace.owner)
        make_request(workspace, key=key.row, model=f"model-of-{workspace.slug}")
        keys.append(key)
    alice = program(management_key(cast.workspace, cast.alice))
    invitation_id = invited(cast.workspace, email="nina@example.com")
    return Managed(cast=cast, api_key=keys[0], foreign_key=keys[1], alice=alice, invitation_id=invitation_id)
