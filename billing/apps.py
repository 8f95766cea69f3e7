"""Registers the billing app with Django."""

from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class BillingConfig(AppConfig):
    """How much: wallets, grants, holds, the ledger, tiers."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Seed the tiers after every migration (a flush counts as one, so transactional tests have them too)."""
        post_migrate.connect(seed_tiers, sender=self)


def seed_tiers(*, using: str, **_kwargs: Any) -> None:
    """Write the seed rows of tiers, unless the migration went back to before their table."""
    if "billing_tier" in connections[using].introspection.table_names():
        import_module("billing.services.tiers").ensure_tiers()
