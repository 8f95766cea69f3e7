"""Deleting an account: what becomes of each workspace that the person owns, of its plan and of its credit; then of the person.

Plans end at Stripe first, because that can fail: then nothing else has happened, and the same call may be made again. The rest
is one transaction.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from accounts.selectors.workspaces import members_of, memberships_of
from accounts.services.leaving import anonymise, close_workspace, hand_over, leave_workspaces
from accounts.services.workspaces import OwnerIsFixedError
from billing.payments.errors import PaymentsError
from billing.payments.plans import cancel_plan
from billing.payments.top_up import save_top_up
from billing.selectors.ledger import balance_of
from billing.selectors.payments import plan_of, top_up_of
from billing.selectors.tiers import is_paid_for

if TYPE_CHECKING:
    from accounts.models import Membership, User, Workspace

#: Workspace id → who owns it next; None: it is closed.
Fate = Mapping[int, int | None]


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
    return OwnedWorkspace(
        workspace=workspace,
        successors=[
            member for member in members_of(workspace.pk) if member.user_id != user.pk and member.user.is_active
        ],
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
        raise DeletionError("Your workspaces have changed in the meantime. Decide again what becomes of each.")
    for workspace_id, successor_id in fate.items():
        each = owned[workspace_id]
        if successor_id is None:
            _stop_payments(each, user)
        elif successor_id not in {member.user_id for member in each.successors}:
            raise DeletionError(f"Who should take {each.workspace.name} over has left it. Choose again.")
    try:
        with transaction.atomic():
            for workspace_id, successor_id in fate.items():
                if successor_id is None:
                    close_workspace(workspace_id, owner=user)
                else:
                    hand_over(workspace_id, owner=user, successor_id=successor_id)
            leave_workspaces(user)
            return anonymise(user)
    except (LookupError, OwnerIsFixedError) as error:
        raise DeletionError(
            "Your workspaces have changed in the meantime. Decide again what becomes of each."
        ) from error


def _stop_payments(each: OwnedWorkspace, user: "User") -> None:
    """End what takes money for a workspace that closes: its plan, with what is paid, and automatic top-ups."""
    workspace_id = each.workspace.pk
    try:
        if each.has_paid_plan:
            cancel_plan(workspace_id)
        wish = top_up_of(workspace_id, spent=0)
        if wish is not None and wish.is_on:
            save_top_up(
                workspace_id,
                is_on=False,
                threshold=wish.threshold,
                amount=wish.amount,
                monthly_ceiling=wish.monthly_ceiling,
                user_id=user.pk,
            )
    except PaymentsError as error:
        raise DeletionError(
            f"The plan of {each.workspace.name} could not be cancelled: {error} Nothing was deleted. Try again in a few minutes."
        ) from error
