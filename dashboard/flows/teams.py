"""What happens between people of a workspace, each with the e-mails that it owes, in one transaction."""

import logging
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from accounts.roles import ROLE_WORDS, Role
from accounts.selectors.invitations import invitation_by_digest
from accounts.selectors.workspaces import members_of
from accounts.services import closing, invitations, members
from accounts.services.workspaces import locked_workspace
from billing.payments import plans
from billing.selectors.payments import plan_of
from billing.services.notice_mail import compose
from billing.services.notices import owe
from lumyx.lib import clock
from lumyx.lib.ids import uuid7

if TYPE_CHECKING:
    from accounts.models import Invitation, Membership, User, Workspace
    from accounts.services.invitations import SentInvitation

logger = logging.getLogger(__name__)


def invite(workspace_id: int, *, email: str, role: Role, by: "User") -> tuple["Invitation", bool]:
    """Invite an address and write to it; return the invitation, and whether the message went out.

    Raises what ``accounts.services.invitations.invite`` raises.
    """
    sent = invitations.invite(workspace_id, email=email, role=role, by=by)
    return sent.row, send_invitation(sent, by=by)


def resend(workspace_id: int, *, invitation_id: int, by: "User") -> tuple["Invitation", bool]:
    """Write to an invited address once more, with a new link. Raises what ``invitations.resend`` raises."""
    sent = invitations.resend(workspace_id, invitation_id=invitation_id, by=by)
    return sent.row, send_invitation(sent, by=by)


def invitation_of(token: str) -> "Invitation | None":
    """Return the invitation that a link leads to, whatever its state."""
    return None if "\0" in token else invitation_by_digest(invitations.digest_of(token))


@transaction.atomic
def accept(token: str, *, user: "User") -> "Membership":
    """Let the invited person join, and tell whoever invited them and the owner. Raises what ``invitations.accept`` raises."""
    before = invitation_of(token)
    member = invitations.accept(token, user=user)
    if before is not None and before.accepted_at is None:
        told = {before.invited_by_id, member.workspace.owner_id} - {user.pk, None}
        facts: dict[str, str | int | bool] = {"member": user.pk, "role": str(member.role)}
        _tell("member_joined", member.workspace_id, told, facts)
    return member


@transaction.atomic
def change_role(workspace_id: int, *, member_id: int, role: Role, by: "User") -> "Membership":
    """Give a member another role and tell them. Raises what ``members.change_role`` raises."""
    change = members.change_role(workspace_id, member_id=member_id, role=role, by=by)
    if change.before != role:
        facts: dict[str, str | int | bool] = {"by": by.pk, "role": str(role), "before": change.before}
        _tell("role_changed", workspace_id, {change.member.user_id}, facts)
    return change.member


@transaction.atomic
def expel(workspace_id: int, *, member_id: int, by: "User") -> "Membership":
    """Remove a member and tell them. Raises what ``members.expel`` raises."""
    member = members.expel(workspace_id, member_id=member_id, by=by)
    _tell("member_removed", workspace_id, {member.user_id}, {"by": by.pk})
    return member


@transaction.atomic
def transfer(workspace_id: int, *, member_id: int, by: "User", giver_leaves: bool = False) -> "Workspace":
    """Hand the workspace over and tell both. Raises what ``members.transfer_ownership`` raises.

    ``giver_leaves``: their account is being deleted, so there is nobody to write to.
    """
    workspace = members.transfer_ownership(workspace_id, member_id=member_id, by=by)
    facts: dict[str, str | int | bool] = {"giver": by.pk, "taker": workspace.owner_id}
    told: set[int | None] = {workspace.owner_id} if giver_leaves else {by.pk, workspace.owner_id}
    _tell("ownership_transferred", workspace_id, told, facts)
    return workspace


def plan_deletion(workspace_id: int, *, by: "User") -> "Workspace":
    """Let a paid plan end with what is paid, then stop the workspace and plan its deletion; all its members are told.

    Raises:
        PaymentsError: the plan could not be cancelled, so nothing else was done.
        NotAllowedError: only the owner may.
    """
    end_plan(workspace_id)
    with transaction.atomic():
        workspace = closing.plan_deletion(workspace_id, by=by)
        due = workspace.deletion_due_at
        facts: dict[str, str | int | bool] = {"by": by.pk, "deletes_at": due.isoformat() if due else ""}
        _tell("deletion_planned", workspace_id, _people_of(workspace_id), facts, once=str(due))
        return workspace


@transaction.atomic
def delete_at_once(workspace_id: int, *, by: "User") -> None:
    """Delete a workspace whose owner goes, and tell its other members. Its plan has to be ended before (``end_plan``).

    Raises WorkspaceNotFoundError; NotAllowedError: only the owner may.
    """
    workspace, people = locked_workspace(workspace_id), _people_of(workspace_id)
    closing.delete_now(workspace_id, by=by)
    # The name is in no row any more when the message is written.
    _tell("workspace_deleted", workspace_id, people - {by.pk}, {"called": workspace.name})


@transaction.atomic
def undo_deletion(workspace_id: int, *, by: "User | None") -> "Workspace":
    """Take the deletion back and tell all members. ``by`` None: an operator. Raises what ``closing.undo_deletion`` raises."""
    was_closing = locked_workspace(workspace_id).is_closing
    workspace = closing.undo_deletion(workspace_id, by=by)
    if not was_closing:
        return workspace
    _tell("deletion_undone", workspace_id, _people_of(workspace_id), {"by": by.pk if by else 0})
    return workspace


def end_plan(workspace_id: int) -> None:
    """Cancel a plan that somebody pays for, with the end of what is paid. Raises PaymentsError."""
    plan = plan_of(workspace_id)
    if plan is not None and not plan.is_comped and plan.cancels_at is None:
        plans.cancel_plan(workspace_id)


def _people_of(workspace_id: int) -> set[int | None]:
    return {member.user_id for member in members_of(workspace_id)}


def _tell(
    kind: str, workspace_id: int, people: set[int | None], facts: dict[str, str | int | bool], *, once: str = ""
) -> None:
    about = once or str(uuid7())
    for person in people:
        if person is not None:
            key = f"{kind}:{workspace_id}:{about}:{person}"
            owe(kind, workspace_id=workspace_id, key=key, facts={"person": person, **facts})


def send_invitation(sent: "SentInvitation", *, by: "User") -> bool:
    """Write to the invited address, at once and from here: the link is in no queue and no table. False: it could not be sent."""
    row = sent.row
    zone = clock.zone(row.workspace.time_zone)
    context = {
        "workspace": row.workspace.name,
        "inviter": by.name or by.email,
        "role": str(row.role),
        "about": ROLE_WORDS[Role(row.role)],
        "address": row.email,
        "expires": f"{row.expires_at.astimezone(zone):%-d %B %Y, %H:%M %Z}",
        "invitation_url": settings.LUMYX_SITE_URL + reverse("site:invitation", args=[sent.token]),
    }
    try:
        compose("invitation", to=row.email, context=context).send()
    except OSError:
        logger.exception("The invitation %d could not be sent.", row.pk)
        return False
    return True
