"""Registers the dashboard app with Django."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """What people see: pages, forms and the stories that cross apps."""

    name = "dashboard"
    default_auto_field = "django.db.models.BigAutoField"
