"""Writes the audit log, in the transaction of what it tells of: neither comes without the other."""

from collections.abc import Mapping

from accounts.audit_actions import ACTIONS
from accounts.models import AuditEntry
from lumyx.lib.origin import current_origin

#: What a line may tell: texts and numbers, and lists of texts.
type Details = Mapping[str, str | int | bool | list[str] | None]


def record(
    action: str,
    *,
    workspace_id: int | None,
    target: tuple[str, object, str] = ("", "", ""),
    details: Details | None = None,
    actor_id: int | None = None,
) -> AuditEntry:
    """Write an act down, as done by whoever is behind the present request, command or task.

    Args:
        action: one of ``accounts.audit_actions``.
        workspace_id: whose log it belongs to; None: no workspace's.
        target: what it was done to: its kind, its id, and how people know it. Never a secret.
        details: what changed. Never a secret, never a person's name or address.
        actor_id: the user who acts, where the request does not know them yet (a sign-in).

    Raises:
        KeyError: there is no such action.
    """
    if action not in ACTIONS:
        raise KeyError(f"There is no action {action!r} in accounts.audit_actions.")
    origin = current_origin()
    kind, target_id, name = target
    return AuditEntry.objects.create(
        workspace_id=workspace_id,
        actor_kind=origin.kind if actor_id is None else "user",
        actor_id=origin.actor_id if actor_id is None else actor_id,
        action=action,
        target_kind=kind,
        target_id=str(target_id),
        target_name=name[:200],
        details=dict(details or {}),
        address=origin.address,
    )
