"""Signing in by Google, GitHub or an OpenID Connect server: whose word counts for what.

A provider's address counts only if the provider says that it verified it. An account that exists is connected by its owner,
signed in; or by itself where the provider and we have both verified the same address. Fails closed: else it is a sign-up,
whose address has to be proved to us. Operators' accounts never connect by themselves.
"""

from typing import Any, cast

from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin
from django.db import transaction
from django.http import Http404, HttpRequest
from django.urls import reverse

from accounts.models import User
from accounts.selectors.users import owner_of_verified_address
from accounts.services.users import register_user, sync_email_verification


class ProvidersAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """allauth's decisions on accounts at other sites."""

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[User, str] | None:
        """Return whose account a provider's verified address opens, and the address; None: nobody's."""
        keep_verified_only(sociallogin)
        for address in sociallogin.email_addresses:
            user = owner_of_verified_address(address.email) if address.verified else None
            if user is not None and user.is_active and not user.is_staff:
                return user, address.email
        return None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Forget what a provider says without having verified it."""
        keep_verified_only(sociallogin)

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Take the name over; the address is checked at sign-up."""
        user = cast("User", super().populate_user(request, sociallogin, data))
        full = str(data.get("name") or f"{data.get('first_name') or ''} {data.get('last_name') or ''}").strip()
        user.name = full[:120] if full.isprintable() else ""
        return user

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Tell whether a sign-up needs no form: with a verified address. Else an address is asked for, and proved to us."""
        return any(address.verified for address in sociallogin.email_addresses)

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Save a sign-up with its workspace and its account at the provider."""
        user = cast("User", sociallogin.user)
        if form is None:
            user.set_unusable_password()
            register_user(user)
            sociallogin.save(request)
        else:
            super().save_user(request, sociallogin, form)
        sync_email_verification(user)
        return user

    def get_app(self, request: HttpRequest, provider: str, client_id: str | None = None) -> SocialApp:
        """Return a provider's client. 404 for one that is not configured."""
        try:
            return super().get_app(request, provider, client_id)
        except SocialApp.DoesNotExist as error:
            raise Http404("This installation does not know the provider.") from error

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: SocialAccount) -> str:
        """Return where somebody lands who connected a provider."""
        return reverse("socialaccount_connections")


def keep_verified_only(sociallogin: SocialLogin) -> None:
    """Leave the provider's addresses that it says it has verified. Some say it in words: "false" is not true."""
    kept: list[EmailAddress] = []
    for address in sociallogin.email_addresses:
        if address.verified is True or str(address.verified).lower() == "true":
            address.verified, address.email = True, address.email.strip().lower()
            kept.append(address)
    sociallogin.email_addresses = kept
    if sociallogin.user is not None and sociallogin.user.pk is None:
        sociallogin.user.email = kept[0].email if kept else ""
