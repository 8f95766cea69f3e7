"""What allauth asks the project: how a sign-up is saved, and what follows when an address is proved or changed.

allauth offers these as methods, so no signal is needed. What can change which address is a user's, or whether it is
proved: ``confirm_email`` here, and the page that manages addresses (accounts.views.AddressesView).
"""

import logging
from typing import Any, cast
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.signup import prevent_enumeration
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.models import User
from accounts.selectors.users import address_is_owned, user_by_email
from accounts.services.audit import record
from accounts.services.users import (
    EmailTakenError,
    InvalidEmailError,
    normalise_email,
    register_user,
    sync_email_verification,
)

logger = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """allauth's decisions, with this project's rows kept in step."""

    def save_user(self, request: HttpRequest, user: User, form: Form, commit: bool = True) -> User:
        """Save a sign-up together with its workspace, in one transaction."""
        user = cast("User", super().save_user(request, user, form, commit=False))
        if not commit:
            return user
        try:
            return register_user(user)
        except EmailTakenError as error:
            # Two sign-ups with one address at once: the form had found it free.
            if hides_accounts():
                raise ImmediateHttpResponse(prevent_enumeration(request, email=user.email)) from error
            messages.error(request, self.error_messages["email_taken"])
            raise ImmediateHttpResponse(redirect("account_signup")) from error

    def clean_email(self, email: str) -> str:
        """Return the address as it is stored. allauth would cut a long one short, and store somebody else's."""
        try:
            return normalise_email(email)
        except InvalidEmailError as error:
            raise ValidationError("Enter a valid e-mail address.") from error

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # allauth's key has the Host header in it, which the caller chooses: a new one would be a new set of attempts.
        return str(credentials.get("email") or credentials.get("username") or "").strip().lower()

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Write a wrong password down, for an address without an account too: both cost the same time."""
        user = user_by_email(str(credentials.get("email") or credentials.get("username") or ""))
        record(
            "account.sign_in_failed",
            workspace_id=None,
            details={"how": "password"},
            actor_id=user.pk if user is not None else None,
        )

    def is_safe_url(self, url: str) -> bool:
        """Tell whether somebody may be sent on to a URL: to paths of this site only, never to a host, not even our own."""
        return is_path_of_this_site(url)

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:
        """Send the link that proves an address. Whose address it is already gets a note instead: the link could prove nothing."""
        address: EmailAddress = emailconfirmation.email_address
        if address_is_owned(address.email, by_other_than=address.user):
            self.send_account_already_exists_mail(address.email)
        else:
            super().send_confirmation_mail(request, emailconfirmation, signup)

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Record that an address was proved; it may be a new one that replaces the user's old one."""
        confirmed = bool(super().confirm_email(request, email_address))
        sync_email_verification(User.objects.get(pk=email_address.user_id))
        return confirmed

    def post_login(self, request: HttpRequest, user: User, **details: Any) -> HttpResponse:
        """Bring the verification in step with rows that were changed outside the site (the admin, a shell)."""
        sync_email_verification(user)
        return cast("HttpResponse", super().post_login(request, user, **details))

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: object) -> str:
        """Return the link that proves an address."""
        return on_this_site(super().get_email_confirmation_url(request, emailconfirmation))

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link that sets a new password."""
        return on_this_site(super().get_reset_password_from_key_url(key))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a message; a mail server that is away is told to the person and logged, and loses them nothing else."""
        try:
            super().send_mail(template_prefix, email, context)
        except OSError:
            logger.exception("A message could not be sent (%s).", template_prefix)
            messages.error(self.request, "We could not send the message just now. Please try again in a few minutes.")


def hides_accounts() -> bool:
    """Tell whether the site keeps from strangers which addresses have accounts; it cannot where nothing needs a proof."""
    return str(settings.ACCOUNT_EMAIL_VERIFICATION) == "mandatory"


def is_path_of_this_site(url: str) -> bool:
    """Tell whether a URL is a plain path: no host, nothing that a browser would read as one."""
    is_plain = url.isprintable() and "\\" not in url  # browsers read "\\" as "/", and leave control characters out
    return is_plain and url.startswith("/") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)


def on_this_site(url: str) -> str:
    """Return a link for a message, at the installation's own address.

    allauth takes the address from the Host header, which whoever asks for the message chooses: the secret in the link would
    be sent to them.
    """
    return str(settings.LUMYX_SITE_URL) + urlsplit(url).path
