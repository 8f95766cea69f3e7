"""What accounts at sign-in providers are called, also of those that are not configured any more."""

from allauth.socialaccount.models import SocialAccount
from django import template

from accounts.selectors.signin import label_of, provider_name

register = template.Library()


@register.filter
def at_provider(account: SocialAccount) -> str:
    """Return the provider's name."""
    return provider_name(account.provider)


@register.filter
def called_there(account: SocialAccount) -> str:
    """Return what the account is called there."""
    return label_of(account)
