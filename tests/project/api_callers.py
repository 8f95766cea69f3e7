"""Who calls /api in its authorization table: a key for each column, of each kind, and what addresses are about."""

import datetime as dt
from dataclasses import dataclass

from django.test import Client

from accounts.models import ApiKey, Invitation, ManagementKey, Membership, User, Workspace
from accounts.roles import Role
from accounts.services.apikeys import create_api_key, revoke_api_key
from accounts.services.invitations import invite
from accounts.services.management_keys import create_management_key, revoke_management_key
from accounts.services.workspaces import set_member, suspend_workspace
from lumyx.lib import clock
from tests.dashboard.pages import fill_catalog
from tests.dashboard.usage_rows import make_request
from tests.factories import fund, make_cast, make_member, make_user, make_workspace

#: ``other`` has keys of another workspace; the five roles are what the keys' makers are now; ``staff`` is signed in as an operator
#: without permissions, and has no key, because they belong to no workspace.
CALLERS = (
    "anonymous", "other", "viewer", "billing", "developer", "admin", "owner", "revoked", "expired", "suspended", "staff",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ApiWorld:
    """Secrets of API keys by caller (None: no key), programs with management keys, and ids in the roles' workspace."""

    secrets: dict[str, str | None]
    managers: dict[str, Client]
    workspace: Workspace
    ids: dict[str, str]

    def fill(self, path: str) -> str:
        """Return an address with the ids of the roles' workspace in it."""
        return path.format(**self.ids)

    def is_told_by(self, body: bytes) -> bool:
        """Tell whether an answer names the roles' workspace or its owner."""
        text = body.decode(errors="replace")
        return self.workspace.slug in text or self.workspace.owner.email in text


def make_api_world() -> ApiWorld:
    """Make every caller."""
    fill_catalog()
    cast = make_cast()
    stopped = make_workspace("Stopped", owner=make_user("stopped@example.com"))
    makers: dict[str, tuple[Workspace, User]] = {
        "other": (cast.other_workspace, cast.charlie),
        "owner": (cast.workspace, cast.alice),
        "revoked": (cast.workspace, cast.alice),
        "expired": (cast.workspace, cast.alice),
        "suspended": (stopped, stopped.owner),
    }
    for role in (Role.VIEWER, Role.BILLING, Role.DEVELOPER, Role.ADMIN):
        makers[role.value] = (cast.workspace, make_member(cast.workspace, Role.ADMIN, email=f"{role}@example.com"))
    for workspace in (cast.workspace, cast.other_workspace, stopped):
        fund(workspace, "5")
    secrets: dict[str, str | None] = {"anonymous": None, "staff": None}
    managers = {"anonymous": Client(), "staff": _staff()}
    for caller, (workspace, maker) in makers.items():
        secrets[caller], managers[caller] = _keys(caller, workspace, maker)
        if caller in {"viewer", "billing", "developer"}:  # not all of them may make keys: they were admins then
            set_member(workspace, user=maker, role=Role(caller))
    suspend_workspace(stopped.pk, reason="for this table")
    return ApiWorld(secrets, managers, cast.workspace, _ids(cast.workspace, cast.bob))


def _ids(workspace: Workspace, member: User) -> dict[str, str]:
    key = create_api_key(workspace=workspace, name="of the table", created_by=workspace.owner)
    row = invite(workspace.pk, email="nina@example.com", role=Role.VIEWER, by=workspace.owner).row
    Invitation.objects.filter(pk=row.pk).update(sent_at=clock.now() - dt.timedelta(minutes=5))
    assert Membership.objects.filter(workspace=workspace, user=member).exists()
    return {
        "prefix": key.row.prefix,
        "user_id": str(member.pk),
        "invitation_id": str(row.pk),
        "request_id": make_request(workspace, key=key.row).request_id.hex,
    }


def _keys(caller: str, workspace: Workspace, maker: User) -> tuple[str, Client]:
    key = create_api_key(workspace=workspace, name=caller, created_by=maker)
    managing = create_management_key(workspace=workspace, name=caller, created_by=maker, is_read_only=False)
    if caller == "revoked":
        revoke_api_key(workspace_id=workspace.pk, prefix=key.row.prefix)
        revoke_management_key(workspace_id=workspace.pk, prefix=managing.row.prefix)
    if caller == "expired":
        ApiKey.objects.filter(pk=key.row.pk).update(expires_at=clock.now())
        ManagementKey.objects.filter(pk=managing.row.pk).update(expires_at=clock.now())
    return key.secret, Client(headers={"Authorization": f"Bearer {managing.secret}"})


def _staff() -> Client:
    staff = make_user("staff@example.com")
    staff.is_staff = True
    staff.save()
    browser = Client()
    browser.force_login(staff)
    return browser
