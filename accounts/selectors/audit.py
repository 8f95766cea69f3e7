"""The audit log as pages and files show it: a workspace's lines, newest first, with people as they are called now."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from accounts.audit_actions import ACTIONS
from accounts.models import AuditEntry, Invitation, User

#: Who acted, where it was no person.
ACTORS = {"operator": "An operator", "key": "A management key", "command": "An operator", "system": "The system"}
DELETED = "Deleted user"
#: What details are called that are kept under a column's name.
LABELS = {"budget_nano": "budget", "budget_period": "period"}
BATCH = 1000


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines: of an action ("member.joined") or a group ("member"), by an actor, from a moment on and before another."""

    action: str = ""
    actor_kind: str = ""
    actor_id: int | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line in words."""

    entry: AuditEntry
    action: str
    actor: str
    target: str
    details: str


def audit_entries_of(workspace_id: int, chosen: AuditFilter, *, before: int | None = None) -> QuerySet[AuditEntry]:
    """Return a workspace's lines, newest first, older than the line ``before``."""
    rows = AuditEntry.objects.filter(workspace_id=workspace_id)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    if chosen.action:
        is_whole = "." in chosen.action
        rows = rows.filter(action=chosen.action) if is_whole else rows.filter(action__startswith=f"{chosen.action}.")
    if chosen.actor_kind:
        rows = rows.filter(actor_kind=chosen.actor_kind)
    if chosen.actor_id is not None:
        rows = rows.filter(actor_id=chosen.actor_id)
    if chosen.since is not None:
        rows = rows.filter(at__gte=chosen.since)
    if chosen.until is not None:
        rows = rows.filter(at__lt=chosen.until)
    return rows.order_by("-pk")


def audit_lines(entries: Iterable[AuditEntry]) -> list[AuditLine]:
    """Return lines in words, with two queries for all their people."""
    listed = list(entries)
    people = {entry.actor_id for entry in listed if entry.actor_id is not None}
    people |= {int(entry.target_id) for entry in listed if entry.target_kind == "user" and entry.target_id.isdigit()}
    names = {user.pk: user.name or user.email for user in User.objects.filter(pk__in=people)}
    invited = [int(entry.target_id) for entry in listed if entry.target_kind == "invitation"]
    addresses = dict(Invitation.objects.filter(pk__in=invited).values_list("pk", "email")) if invited else {}
    return [
        AuditLine(
            entry,
            action=ACTIONS.get(entry.action, entry.action),
            actor=_actor(entry, names),
            target=_target(entry, names, addresses),
            details=_details(entry),
        )
        for entry in listed
    ]


def all_audit_lines(workspace_id: int, chosen: AuditFilter) -> Iterator[list[AuditLine]]:
    """Yield all lines in batches, so that a long log is never in memory whole."""
    before = None
    while True:
        batch = list(audit_entries_of(workspace_id, chosen, before=before)[:BATCH])
        if batch:
            yield audit_lines(batch)
        if len(batch) < BATCH:
            return
        before = batch[-1].pk


def people_in_audit_log(workspace_id: int) -> list[User]:
    """Return the people who acted in a workspace and are still known, by name."""
    rows = AuditEntry.objects.filter(workspace_id=workspace_id, actor_kind="user", actor_id__isnull=False)
    ids = rows.values_list("actor_id", flat=True).distinct()
    return sorted(User.objects.filter(pk__in=list(ids)), key=lambda user: (user.name or user.email).lower())


def _actor(entry: AuditEntry, names: dict[int, str]) -> str:
    if entry.actor_kind == "user":
        return names.get(entry.actor_id, DELETED) if entry.actor_id is not None else "Somebody"
    return ACTORS.get(entry.actor_kind, entry.actor_kind)


def _target(entry: AuditEntry, names: dict[int, str], addresses: dict[int, str]) -> str:
    if entry.target_kind == "user" and entry.target_id.isdigit():
        return names.get(int(entry.target_id), DELETED)
    if entry.target_kind == "invitation":
        return addresses.get(int(entry.target_id), "")
    return entry.target_name or entry.target_id


def _details(entry: AuditEntry) -> str:
    """Return what changed: "role: viewer", "name: Old → New"."""
    details = entry.details
    if {"from", "to"} <= set(details):
        return f"{details['from']} → {details['to']}"
    arrow = entry.action.endswith("changed")
    return ", ".join(f"{_words(key)}: {_value(value, arrow=arrow)}" for key, value in details.items() if value != "")


def _words(key: str) -> str:
    return LABELS.get(key, key.replace("_", " "))


def _value(value: object, *, arrow: bool) -> str:
    if isinstance(value, list):
        return (" → " if arrow and len(value) == 2 else ", ").join(str(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
