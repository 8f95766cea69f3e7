"""What members do to members: change roles, remove, leave, hand the workspace over.

Each locks the workspace and reads the actor's role behind the lock: a right that was lost a moment ago does nothing.
Nobody gives, or takes from another, a role that may do more than their own (``roles.may_give``).
"""

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from accounts.budgets import Budget
from accounts.models import Membership, User, Workspace
from accounts.roles import Role, may_give
from accounts.services.audit import record
from accounts.services.member_budgets import MemberNotFoundError, set_member_budget
from accounts.services.workspaces import (
    OwnerIsFixedError,
    WorkspaceIsClosingError,
    locked_workspace,
    remove_member,
    set_member,
)

__all__ = [
    "MemberNotFoundError",
    "NotAllowedError",
    "RoleChange",
    "change_budget",
    "change_role",
    "expel",
    "leave",
    "transfer_ownership",
]


class NotAllowedError(Exception):
    """The actor's role does not let them do this to that person. The text is for the actor."""


@dataclass(frozen=True, slots=True)
class RoleChange:
    """A member, and the role that they had before."""

    member: Membership
    before: str


def change_role(workspace_id: int, *, member_id: int, role: Role, by: User) -> RoleChange:
    """Give a member another role. Raises MemberNotFoundError, NotAllowedError, OwnerIsFixedError, WorkspaceIsClosingError."""
    with transaction.atomic():
        workspace, actor, member = _at_the_table(workspace_id, member_id=member_id, by=by)
        _check_reach(actor, member)
        if not may_give(actor.role, role):
            raise NotAllowedError(f"As {actor.role} you cannot give the role {role}: it may do more than yours.")
        changed = set_member(workspace, user=member.user, role=role)
        changed.user = member.user
        return RoleChange(changed, before=str(member.role))


def change_budget(workspace_id: int, *, member_id: int, budget: Budget | None, by: User) -> Membership:
    """Give a member a budget over all keys that they made here, another one, or none. An owner may bound themselves too.

    Raises MemberNotFoundError, NotAllowedError, InvalidApiKeyOptionError, WorkspaceIsClosingError.
    """
    with transaction.atomic():
        _workspace, actor, member = _at_the_table(workspace_id, member_id=member_id, by=by)
        # Who is bounded does not lift it themselves.
        if actor.role != Role.OWNER and (member.pk == actor.pk or not may_give(actor.role, str(member.role))):
            who = "yourself" if member.pk == actor.pk else f"a person whose role is {member.role}"
            raise NotAllowedError(f"As {actor.role} you cannot set the budget of {who}.")
        return set_member_budget(workspace_id=workspace_id, user_id=member.user_id, budget=budget)


def expel(workspace_id: int, *, member_id: int, by: User) -> Membership:
    """Remove a member and return who they were. Raises MemberNotFoundError, NotAllowedError, OwnerIsFixedError."""
    with transaction.atomic():
        workspace, actor, member = _at_the_table(workspace_id, member_id=member_id, by=by, while_closing=True)
        _check_reach(actor, member)
        remove_member(workspace, user=member.user)
        return member


def leave(workspace_id: int, *, user: User) -> None:
    """Go. Raises MemberNotFoundError; OwnerIsFixedError: the owner hands the workspace over or deletes it."""
    with transaction.atomic():
        workspace = locked_workspace(workspace_id)
        if not Membership.objects.filter(workspace=workspace, user=user).exists():
            raise MemberNotFoundError("You are not a member of this workspace.")
        try:
            remove_member(workspace, user=user, action="member.left")
        except OwnerIsFixedError as error:
            raise OwnerIsFixedError("You own this workspace. Hand it over or delete it instead of leaving.") from error


def transfer_ownership(workspace_id: int, *, member_id: int, by: User) -> Workspace:
    """Make another member the owner; the owner before becomes an admin. Of two at once, the second finds its actor no owner.

    Raises MemberNotFoundError, NotAllowedError, WorkspaceIsClosingError.
    """
    with transaction.atomic():
        workspace, actor, member = _at_the_table(workspace_id, member_id=member_id, by=by)
        if actor.role != Role.OWNER:
            raise NotAllowedError("Only the owner can hand the workspace over.")
        if member.pk == actor.pk:
            raise NotAllowedError("You own this workspace already. Choose another member.")
        if not member.user.is_active:
            raise NotAllowedError("This person’s account is shut. Choose another member.")
        if settings.LUMYX_EMAIL_VERIFICATION and not member.user.email_is_verified:
            raise NotAllowedError("This person has not confirmed their e-mail address yet: an owner needs one.")
        # In this order: there is never more than one owner.
        Membership.objects.filter(pk=actor.pk).update(role=Role.ADMIN)
        Membership.objects.filter(pk=member.pk).update(role=Role.OWNER)
        workspace.owner = member.user
        workspace.save(update_fields=["owner"])
        record(
            "workspace.ownership_transferred",
            workspace_id=workspace.pk,
            target=("user", member.user_id, ""),
            details={"from": f"user {actor.user_id}", "role_before": str(member.role)},
        )
        return workspace


def _at_the_table(
    workspace_id: int, *, member_id: int, by: User, while_closing: bool = False
) -> tuple[Workspace, Membership, Membership]:
    """Return the workspace, locked, the actor's membership and the member's, as they stand behind the lock."""
    workspace = locked_workspace(workspace_id)
    if workspace.is_closing and not while_closing:
        raise WorkspaceIsClosingError("This workspace is being deleted. Take that back first.")
    rows = Membership.objects.select_for_update(of=("self",)).select_related("user").filter(workspace=workspace)
    found = {row.pk: row for row in rows.order_by("pk")}
    actor = next((row for row in found.values() if row.user_id == by.pk), None)
    if actor is None:
        raise NotAllowedError("You are not a member of this workspace any more.")
    if member_id not in found:
        raise MemberNotFoundError("This workspace has no such member.")
    return workspace, actor, found[member_id]


def _check_reach(actor: Membership, member: Membership) -> None:
    if member.role == Role.OWNER:
        raise OwnerIsFixedError("The owner stays the owner until they hand the workspace over.")
    if member.pk == actor.pk:
        raise NotAllowedError("You cannot change your own role. Another admin or the owner can; you can leave, though.")
    if not may_give(actor.role, str(member.role)):
        raise NotAllowedError(f"As {actor.role} you cannot change a person whose role is {member.role}.")
