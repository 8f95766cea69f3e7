"""Registers the accounts app with Django."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who: users, workspaces, memberships, API keys."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
