"""Registers the billing app with Django."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """How much: wallets, grants, holds, the ledger, tiers."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"
