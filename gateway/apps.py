"""Registers the gateway app with Django."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The request: catalog, usage events, and the hot path."""

    name = "gateway"
    default_auto_field = "django.db.models.BigAutoField"
