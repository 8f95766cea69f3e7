"""Ways around the admin: paths, actions, rows to look at, and staff with few permissions."""

from typing import Any

from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from tests.factories import make_user


def staff(*permissions: str) -> Client:
    """Return the browser of a member of staff with these permissions only ("accounts.view_user")."""
    user = make_user()
    user.is_staff = True
    user.save()
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


def page_of(model: type[Model], action: str, *arguments: Any) -> str:
    """Return the path of a page about a model, with ids as the admin writes them."""
    address = f"admin:{model._meta.app_label}_{model._meta.model_name}_{action}"
    return reverse(address, args=[quote(argument) for argument in arguments])


def a_row_of(model: type[Model]) -> Model:
    """Return a row that exists."""
    row = model._default_manager.first()
    assert row is not None
    return row


def act(client: Client, model: type[Model], action: str, *rows: Model) -> None:
    """Run an action on rows of a list, as its form does."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    assert client.post(page_of(model, "changelist"), data).status_code == 302
