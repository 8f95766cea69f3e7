"""Deleting an account: what becomes of each workspace that the person owns, of its plan and of its credit; then of the person.

Plans end at Stripe first, because that can fail: then nothing else has happened, and the same call may be made again. The rest
is one transaction. Automatic top-ups end with the workspace: one that stands still buys nothing.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from accounts.selectors.users import needs_email_verification
from accounts.selectors.workspaces import members_of, memberships_of
from accounts.services.leaving import anonymise, leave_workspaces, revoke_keys_of
from accounts.services.members import NotAllowedError
from accounts.services.workspaces import OwnerIsFixedError, WorkspaceIsClosingError
from billing.payments.errors import PaymentsError
from billing.selectors.ledger import balance_of
from billing.selectors.payments import plan_of
from billing.selectors.tiers import is_paid_for
from dashboard.flows import teams

if TYPE_CHECKING:
    from accounts.models import Membership, User, Workspace

#: Workspace id → the user who owns it next; None: it is deleted.
Fate = Mapping[int, int | None]

_CHANGED = "Your workspaces have changed in the meantime. Decide again what becomes of each."


class DeletionError(Exception):
    """The account cannot be deleted as things are. The text is for its owner."""


@dataclass(frozen=True, slots=True)
class OwnedWorkspace:
    """A workspace whose fate its owner decides. ``credit`` is nano-USD that nobody has spent or holds."""

    workspace: "Workspace"
    successors: "list[Membership]"
    credit: int
    has_paid_plan: bool
    plan_ends_at: dt.datetime | None


def owned_by(user: "User") -> list[OwnedWorkspace]:
    """Return the workspaces that a person owns, with who could take them over."""
    return [
        _owned(membership.workspace, user)
        for membership in memberships_of(user)
        if membership.workspace.owner_id == user.pk
    ]


def _owned(workspace: "Workspace", user: "User") -> OwnedWorkspace:
    plan = plan_of(workspace.pk)
    others = [] if workspace.is_closing else members_of(workspace.pk).exclude(user=user)
    return OwnedWorkspace(
        workspace=workspace,
        successors=[each for each in others if each.user.is_active and not needs_email_verification(each.user)],
        credit=max(0, balance_of(workspace.pk).available),
        has_paid_plan=is_paid_for(workspace.pk),
        plan_ends_at=plan.period_ends_at if plan else None,
    )


def delete_account(user: "User", *, fate: Fate) -> "User":
    """Delete a person's account.

    Args:
        user: whose. Operators are deleted by nobody: another operator takes their rights first.
        fate: what becomes of each workspace that they own, of all of them.

    Raises:
        DeletionError: a workspace has no fate, a successor has left, or a plan could not be cancelled. The account is as it was
            (plans that were cancelled before the failing one stay cancelled, at the end of what is paid).
    """
    if user.is_staff:
        raise DeletionError("Operators' accounts cannot be deleted here. Ask another operator.")
    owned = {each.workspace.pk: each for each in owned_by(user)}
    if set(owned) != set(fate):
        raise DeletionError(_CHANGED)
    successors = {id: _successor(owned[id], user_id) for id, user_id in fate.items() if user_id is not None}
    for workspace_id in set(fate) - set(successors):
        _end_plan(owned[workspace_id])
    try:
        with transaction.atomic():
            revoke_keys_of(user)
            for workspace_id in fate:
                if workspace_id in successors:
                    member_id = successors[workspace_id].pk
                    teams.transfer(workspace_id, member_id=member_id, by=user, giver_leaves=True)
                else:
                    teams.delete_at_once(workspace_id, by=user)
            leave_workspaces(user)
            return anonymise(user)
    except (LookupError, NotAllowedError, OwnerIsFixedError, WorkspaceIsClosingError) as error:
        raise DeletionError(_CHANGED) from error


def _successor(each: OwnedWorkspace, user_id: int) -> "Membership":
    found = next((member for member in each.successors if member.user_id == user_id), None)
    if found is None:
        raise DeletionError(f"Who should take {each.workspace.name} over has left it. Choose again.")
    return found


def _end_plan(each: OwnedWorkspace) -> None:
    try:
        teams.end_plan(each.workspace.pk)
    except PaymentsError as error:
        raise DeletionError(
            f"The plan of {each.workspace.name} could not be cancelled: {error} Nothing was deleted. Try again in a few minutes."
        ) from error
