"""Puts this project's admin site in the place of Django's (INSTALLED_APPS names the class)."""

from django.contrib.admin.apps import AdminConfig


class OperatorAdminConfig(AdminConfig):
    """The admin, whose every change is in the audit log."""

    default_site = "accounts.admin_site.OperatorSite"
