"""Rows of the accounts app."""

from accounts.models.apikey import ApiKey
from accounts.models.policy import PolicyAcceptance
from accounts.models.user import User
from accounts.models.workspace import Membership, Workspace

__all__ = ["ApiKey", "Membership", "PolicyAcceptance", "User", "Workspace"]
