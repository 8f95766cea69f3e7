"""Rows of the accounts app."""

from accounts.models.announcement import Announcement, AnnouncementLevel, Dismissal
from accounts.models.apikey import ApiKey
from accounts.models.audit import ActorKind, AuditEntry
from accounts.models.invitation import Invitation
from accounts.models.management_key import IdempotentAnswer, ManagementKey
from accounts.models.policy import PolicyAcceptance
from accounts.models.user import User
from accounts.models.workspace import FormerSlug, Membership, Workspace

__all__ = [
    "ActorKind",
    "Announcement",
    "AnnouncementLevel",
    "ApiKey",
    "AuditEntry",
    "Dismissal",
    "FormerSlug",
    "IdempotentAnswer",
    "Invitation",
    "ManagementKey",
    "Membership",
    "PolicyAcceptance",
    "User",
    "Workspace",
]
