"""Invitations to a workspace: sent by e-mail, good for one address, once, for seven days.

The link's secret leaves this module once, for the message. Whoever has it has read the mailbox, so accepting proves the address.
An invitation is no stronger than whoever sent it: it is void when they may not give its role any more.
"""

import datetime as dt
import hmac
import secrets
from dataclasses import dataclass, field

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Sum

from accounts.models import Invitation, Membership, User, Workspace
from accounts.roles import Role, may_give
from accounts.selectors.invitations import addresses_of
from accounts.services.audit import record
from accounts.services.members import NotAllowedError
from accounts.services.users import EmailTakenError, mark_email_verified, normalise_email
from accounts.services.workspaces import WorkspaceIsClosingError, locked_workspace, set_member
from lumyx.lib import clock

LIFETIME = dt.timedelta(days=7)
#: Between two messages to an address; how many an invitation may have, and an address in a day; how many may be open, or be made
#: in a day.
PAUSE = dt.timedelta(minutes=1)
MOST_SENDS, MOST_OPEN, MOST_A_DAY = 5, 50, 100


class InvitationError(Exception):
    """An invitation cannot be sent or accepted. The text is for the person who asked."""


class InvitationNotFoundError(LookupError):
    """The workspace has no such invitation."""


class WrongPersonError(InvitationError):
    """The invitation is for another address than those of the person who is signed in."""


@dataclass(frozen=True, slots=True)
class SentInvitation:
    """An invitation with the secret of its link, which is seen here and never again: send it, never log or store it."""

    row: Invitation
    token: str = field(repr=False)


def digest_of(token: str) -> bytes:
    """Return the HMAC-SHA-256 under which a link's secret is stored and looked up."""
    return hmac.digest(settings.LUMYX_API_KEY_PEPPER, b"invitation:" + token.encode(), "sha256")


@transaction.atomic
def invite(workspace_id: int, *, email: str, role: Role, by: User) -> SentInvitation:
    """Invite an address, or invite it anew with another role; an earlier link is void then.

    Raises:
        InvalidEmailError: not an address.
        NotAllowedError: the inviter may not give this role, or has not confirmed their own address.
        InvitationError: the person is a member already, was written to a moment ago, or too many are invited.
        WorkspaceIsClosingError: the workspace is being deleted.
    """
    address = normalise_email(email)
    workspace = _open_for(workspace_id, role=role, by=by)
    if Membership.objects.filter(workspace=workspace, user__email=address).exists():
        raise InvitationError(f"{address} is a member of this workspace already.")
    row = Invitation.objects.filter(
        workspace=workspace, email=address, accepted_at__isnull=True, revoked_at__isnull=True
    ).first()
    if row is not None:  # it gets another role: who does that could take it back
        _check_right(workspace, role=str(row.role), by=by)
    _check_pace(workspace, address, row)
    if row is None:
        row = Invitation(workspace=workspace, email=address)
    sent = _renew(row, role=role, by=by)
    _record("member.invited", row, {"role": str(role)})
    return sent


@transaction.atomic
def resend(workspace_id: int, *, invitation_id: int, by: User) -> SentInvitation:
    """Make a new link for an open or expired invitation, good for another seven days; the link before is void.

    Raises InvitationNotFoundError, NotAllowedError, InvitationError, WorkspaceIsClosingError.
    """
    row = _unanswered(workspace_id, invitation_id)
    workspace = _open_for(workspace_id, role=Role(row.role), by=by)
    row.refresh_from_db()
    if row.state not in {"open", "expired"}:
        raise InvitationError("This invitation is over. Invite the person again.")
    _check_pace(workspace, row.email, row)
    sent = _renew(row, role=Role(row.role), by=by)
    _record("member.invitation_resent", row, {"role": str(row.role)})
    return sent


@transaction.atomic
def revoke(workspace_id: int, *, invitation_id: int, by: User) -> Invitation:
    """Take an invitation back; its link is void at once. Raises InvitationNotFoundError, NotAllowedError."""
    row = _unanswered(workspace_id, invitation_id)
    workspace = locked_workspace(workspace_id)
    _check_right(workspace, role=str(row.role), by=by)
    row.refresh_from_db()
    if row.accepted_at is not None:
        raise InvitationNotFoundError("The invitation was accepted a moment ago: remove the person instead.")
    if row.revoked_at is None:
        row.revoked_at = clock.now()
        row.save(update_fields=["revoked_at"])
        _record("member.invitation_revoked", row, {"role": str(row.role)})
    return row


@transaction.atomic
def accept(token: str, *, user: User) -> Membership:
    """Let the invited person join. The same person accepting twice is a member once.

    Raises:
        InvitationNotFoundError: no invitation has this link, or a newer one was sent.
        WrongPersonError: it is for another address.
        InvitationError: it is over, or whoever sent it may not give the role any more.
        WorkspaceIsClosingError: the workspace is being deleted.
    """
    found = Invitation.objects.filter(digest=digest_of(token)).first()
    if found is None:
        raise InvitationNotFoundError("There is no such invitation.")
    workspace = locked_workspace(found.workspace_id)
    row = Invitation.objects.select_for_update(of=("self",)).select_related("invited_by").filter(pk=found.pk).first()
    if row is None or bytes(row.digest) != digest_of(token):
        raise InvitationNotFoundError("There is no such invitation.")
    check_person(row, user=user)
    member = Membership.objects.filter(workspace=workspace, user=user).first()
    if row.accepted_by_id == user.pk and member is not None:
        return member
    check_open(row, workspace=workspace)
    _prove_address(row, user=user)
    if member is None:
        member = set_member(workspace, user=user, role=Role(row.role))
    row.accepted_at, row.accepted_by = clock.now(), user
    row.save(update_fields=["accepted_at", "accepted_by"])
    return member


def check_person(row: Invitation, *, user: User) -> None:
    """Raise WrongPersonError unless the invited address is one of the person's."""
    if row.email not in addresses_of(user):
        raise WrongPersonError(f"This invitation is for {row.email}. You are signed in as {user.email}.")


def check_open(row: Invitation, *, workspace: Workspace) -> None:
    """Raise the error that says why an invitation cannot be accepted now, if it cannot."""
    if row.state == "expired":
        raise InvitationError("This invitation has expired. Ask for a new one.")
    if row.state != "open":
        over = "was taken back" if row.state == "revoked" else "was used already"
        raise InvitationError(f"This invitation {over}. Ask for a new one.")
    if workspace.is_closing:
        raise WorkspaceIsClosingError("This workspace is being deleted: nobody can join it.")
    people = Membership.objects.filter(workspace=workspace, user__is_active=True)
    sender = people.filter(user=row.invited_by).first() if row.invited_by is not None else None
    if sender is None or not may_give(str(sender.role), str(row.role)):
        raise InvitationError("Whoever invited you may not give this role any more. Ask for a new invitation.")


def _open_for(workspace_id: int, *, role: Role, by: User) -> Workspace:
    """Return the workspace, locked, if people may be invited to it now, and by this person."""
    workspace = locked_workspace(workspace_id)
    if workspace.is_closing:
        raise WorkspaceIsClosingError("This workspace is being deleted: nobody can be invited.")
    _check_right(workspace, role=str(role), by=by)
    if settings.LUMYX_EMAIL_VERIFICATION and not User.objects.get(pk=by.pk).email_is_verified:
        raise NotAllowedError("Confirm your own e-mail address before you invite others: the link is in your inbox.")
    return workspace


def _check_right(workspace: Workspace, *, role: str, by: User) -> None:
    actor = Membership.objects.filter(workspace=workspace, user=by).first()
    if actor is None or not may_give(str(actor.role), role):
        raise NotAllowedError(f"Your role does not let you invite people as {role}.")


def _unanswered(workspace_id: int, invitation_id: int) -> Invitation:
    row = Invitation.objects.filter(workspace_id=workspace_id, pk=invitation_id, accepted_at__isnull=True).first()
    if row is None:
        raise InvitationNotFoundError("This workspace has no such invitation.")
    return row


def _check_pace(workspace: Workspace, address: str, row: Invitation | None) -> None:
    """Keep the site from being used to write to strangers again and again. Exact: the workspace is locked."""
    now = clock.now()
    # Also of those that were taken back: else inviting anew would begin to count anew.
    lately = Invitation.objects.filter(workspace=workspace, email=address, sent_at__gt=now - dt.timedelta(days=1))
    newest, sends = lately.aggregate(newest=Max("sent_at"), sends=Sum("sends")).values()
    if newest is not None and newest > now - PAUSE:
        raise InvitationError("A message went to this address a moment ago. Wait a minute before the next one.")
    if sends is not None and sends >= MOST_SENDS:
        raise InvitationError(f"{MOST_SENDS} messages went to this address within a day. Write to it again tomorrow.")
    if row is not None:
        if row.sends >= MOST_SENDS:
            raise InvitationError(f"{MOST_SENDS} messages went out for this invitation. Take it back to start anew.")
        return
    known = Invitation.objects.filter(workspace=workspace)
    if known.filter(accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now).count() >= MOST_OPEN:
        raise InvitationError(f"{MOST_OPEN} invitations are open. Take some back, or wait until they are answered.")
    if known.filter(created_at__gt=now - dt.timedelta(days=1)).count() >= MOST_A_DAY:
        raise InvitationError(f"{MOST_A_DAY} people were invited within a day. Invite more tomorrow.")


def _renew(row: Invitation, *, role: Role, by: User) -> SentInvitation:
    token, now = secrets.token_urlsafe(32), clock.now()
    row.role, row.invited_by, row.digest = role, by, digest_of(token)
    row.sent_at, row.expires_at, row.sends = now, now + LIFETIME, row.sends + 1
    row.save()
    return SentInvitation(row, token)


def _prove_address(row: Invitation, *, user: User) -> None:
    if row.email != user.email or user.email_is_verified:
        return
    try:
        with transaction.atomic():
            mark_email_verified(user)
    except EmailTakenError as error:
        raise WrongPersonError(str(error)) from error


def _record(action: str, row: Invitation, details: dict[str, str]) -> None:
    # The log holds no addresses: the page shows them from the invitation.
    record(action, workspace_id=row.workspace_id, target=("invitation", row.pk, ""), details=details)
