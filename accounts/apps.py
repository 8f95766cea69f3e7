"""Registers the accounts app with Django."""

from importlib import import_module

from django.apps import AppConfig
from django.contrib import admin

#: allauth's pages in the admin: they show secrets, and change what is only changed with its owner's proof.
UNWANTED_ADMIN = ("allauth.mfa", "allauth.usersessions", "allauth.socialaccount")


class AccountsConfig(AppConfig):
    """Who: users, workspaces, memberships, API keys."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Write sign-ins down from now on, and take allauth's pages out of the admin."""
        import_module("accounts.signals").connect()  # models are not loaded before this
        for app in UNWANTED_ADMIN:
            known = set(admin.site._registry)
            import_module(f"{app}.admin")
            for model in set(admin.site._registry) - known:
                admin.site.unregister(model)
