"""What is refused, told to the operator as one clear sentence instead of a traceback."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from accounts.services.apikeys import ApiKeyNotFoundError, ApiKeyStateError, InvalidApiKeyOptionError
from accounts.services.management_keys import (
    ManagementKeyNotFoundError,
    ManagementKeyPermissionError,
)
from accounts.services.policies import UnknownPolicyError
from accounts.services.second_factors import UserNotFoundError
from accounts.services.users import EmailTakenError, InvalidEmailError
from accounts.services.workspaces import (
    InvalidWorkspaceNameError,
    WorkspaceExistsError,
    WorkspaceIsClosingError,
    WorkspaceNotFoundError,
)
from billing.services.tiers import PaidSubscriptionError, UnknownTierError
from dashboard.flows.workspaces import InvalidCreditError, PasswordMismatchError
from lumyx.lib.money import MoneyError

#: The errors whose text is meant for the person who asked. Anything else is a fault and keeps its traceback.
REFUSALS = (
    ApiKeyNotFoundError,
    ApiKeyStateError,
    EmailTakenError,
    InvalidApiKeyOptionError,
    InvalidCreditError,
    InvalidEmailError,
    InvalidWorkspaceNameError,
    ManagementKeyNotFoundError,
    ManagementKeyPermissionError,
    MoneyError,
    PaidSubscriptionError,
    PasswordMismatchError,
    UnknownPolicyError,
    UnknownTierError,
    UserNotFoundError,
    WorkspaceExistsError,
    WorkspaceIsClosingError,
    WorkspaceNotFoundError,
)


@contextmanager
def refusals_as_messages() -> Iterator[None]:
    """End the command with exit 1 and the refusal's own words."""
    try:
        yield
    except REFUSALS as error:
        raise CommandError(str(error)) from error


def password(text: str) -> str:
    """Return a password from the command line, where an empty one is a variable that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; leave --password out to set one later")
    return text
