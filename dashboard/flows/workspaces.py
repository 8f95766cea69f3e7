"""What operators do to a workspace: set one up with its owner, tier and credit, and look at all of it at once."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction

from accounts.selectors.apikeys import api_keys_of
from accounts.selectors.policies import accepted_policies
from accounts.selectors.users import user_by_email
from accounts.selectors.workspaces import members_of, workspace_by_slug, workspaces_to_delete
from accounts.services.closing import finish_deletion
from accounts.services.users import create_user, normalise_email
from accounts.services.workspaces import (
    WorkspaceNotFoundError,
    create_workspace,
    resume_workspace,
    slug_of,
    suspend_workspace,
)
from billing.payments.errors import PaymentsError
from billing.selectors.ledger import balance_of
from billing.selectors.tiers import entitlements_of
from billing.services.by_hand import grant
from billing.services.tiers import set_limits, set_tier
from dashboard.flows import teams
from lumyx.lib import clock
from lumyx.lib.money import usd_to_nano

if TYPE_CHECKING:
    from accounts.models import User, Workspace

logger = logging.getLogger(__name__)


class PasswordMismatchError(ValueError):
    """A password was given for a user who exists already and has another."""


class InvalidCreditError(ValueError):
    """The credit to begin with is not a positive amount."""


@dataclass(frozen=True, slots=True)
class ProvisionedWorkspace:
    """A workspace that was set up, and whether its owner can sign in with a password."""

    workspace: "Workspace"
    owner_is_new: bool
    owner_has_password: bool


def workspace_named(slug: str) -> "Workspace":
    """Return the workspace with a slug. Raises WorkspaceNotFoundError."""
    workspace = workspace_by_slug(slug)
    if workspace is None:
        raise WorkspaceNotFoundError(f"There is no workspace {slug!r}.")
    return workspace


@transaction.atomic
def provision_workspace(
    name: str, *, owner_email: str, password: str | None = None, tier: str | None = None, credit_usd: str | None = None
) -> ProvisionedWorkspace:
    """Set up a workspace, all of it or nothing.

    Args:
        name: its name; the slug is made from it and must be free.
        owner_email: an existing user's address, else a new user is made, whose address counts as verified.
        password: for a new owner; for an existing one it must be theirs, it is never replaced.
        tier: the slug of the tier to put it on.
        credit_usd: paid credit to begin with, in US dollars.

    Raises:
        InvalidEmailError, InvalidWorkspaceNameError, WorkspaceExistsError, UnknownTierError, MoneyError,
        InvalidCreditError, PasswordMismatchError: what was asked for cannot be done, and nothing was.
    """
    amount = None if credit_usd is None else usd_to_nano(credit_usd)
    if amount is not None and amount <= 0:
        raise InvalidCreditError(f"The credit to begin with must be more than 0 US dollars, not {credit_usd}.")
    address = normalise_email(owner_email)
    found = user_by_email(address)
    owner = found or create_user(address, password=password, verified=True)
    if found is not None and password is not None:
        _check_password(found, password=password)
    workspace = create_workspace(name, owner=owner, slug=slug_of(name))
    if tier is not None:
        set_tier(workspace.pk, tier_slug=tier)
    if amount is not None:
        grant(
            workspace_id=workspace.pk, kind="paid", amount=amount, source=f"operator:workspace-create:{workspace.slug}"
        )
    return ProvisionedWorkspace(workspace, found is None, owner.has_usable_password())


def _check_password(user: "User", *, password: str) -> None:
    if not user.check_password(password):
        raise PasswordMismatchError(
            f"{user.email} exists already, with another password, which is not replaced here. Leave --password out, "
            f"or change it first: manage.py changepassword {user.email}"
        )


def describe_workspace(slug: str) -> dict[str, Any]:
    """Return what an operator asks about a workspace; amounts in nano-USD as strings. Raises WorkspaceNotFoundError."""
    workspace = workspace_named(slug)
    rights = entitlements_of(workspace.pk, owner_id=workspace.owner_id)
    balance = balance_of(workspace.pk)
    keys = api_keys_of(workspace.pk)
    return {
        "slug": workspace.slug,
        "name": workspace.name,
        "owner": workspace.owner.email,
        "owner_verified": workspace.owner.email_is_verified,
        "created_at": workspace.created_at,
        "suspended": workspace.is_suspended,
        "suspended_at": workspace.suspended_at,
        "suspension_reason": workspace.suspension_reason,
        "time_zone": workspace.time_zone,
        "deletion_due_at": workspace.deletion_due_at,
        "tier": rights.tier_slug,
        "limits": {"rpm": rights.requests_per_minute, "daily": rights.daily_requests},
        "balance": {
            "posted": str(balance.posted),
            "held": str(balance.held),
            "available": str(balance.available),
        },
        "members": [{"email": member.user.email, "role": member.role} for member in members_of(workspace.pk)],
        "api_keys": [{"prefix": key.prefix, "name": key.name, "state": key.state} for key in keys],
        "policies": sorted(accepted_policies(workspace.pk)),
    }


def suspend(slug: str, *, reason: str = "") -> "Workspace":
    """Stop a workspace. Raises WorkspaceNotFoundError."""
    return suspend_workspace(workspace_named(slug).pk, reason=reason)


def resume(slug: str) -> "Workspace":
    """Let a workspace work again. Raises WorkspaceNotFoundError."""
    return resume_workspace(workspace_named(slug).pk)


def put_on_tier(slug: str, *, tier: str) -> "Workspace":
    """Put a workspace on a tier. Raises WorkspaceNotFoundError, UnknownTierError."""
    workspace = workspace_named(slug)
    set_tier(workspace.pk, tier_slug=tier)
    return workspace


def restore(slug: str) -> "Workspace":
    """Take a planned deletion back. Raises WorkspaceNotFoundError, WorkspaceIsClosingError (it is deleted already)."""
    return teams.undo_deletion(workspace_named(slug).pk, by=None)


def delete_due_workspaces() -> int:
    """Delete the workspaces whose time of grace is over; return how many.

    A plan that was taken up again in between is cancelled first; where that fails, the next run tries again.
    """
    deleted = 0
    for workspace_id in workspaces_to_delete(clock.now()):
        try:
            teams.end_plan(workspace_id)
        except PaymentsError as error:
            logger.warning("The workspace %d is deleted later: its plan cannot be cancelled: %s", workspace_id, error)
            continue
        deleted += finish_deletion(workspace_id)
    return deleted


@transaction.atomic
def override_limits(slug: str, *, rpm: int | None, daily: int | None, inherit: bool) -> "Workspace":
    """Set an operator's limits, 0 for unlimited; what is None stays as it is, unless ``inherit`` clears both first.

    Raises WorkspaceNotFoundError.
    """
    workspace = workspace_named(slug)
    if inherit:
        set_limits(workspace.pk, requests_per_minute=None, daily_requests=None)
    if rpm is not None:
        set_limits(workspace.pk, requests_per_minute=rpm)
    if daily is not None:
        set_limits(workspace.pk, daily_requests=daily)
    return workspace
