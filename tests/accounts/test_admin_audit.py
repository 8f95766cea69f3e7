"""Every operator's action is in the audit log: each model of the admin is added to, changed, deleted from and acted on."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client, RequestFactory

from accounts.models import Announcement, AuditEntry, User, Workspace
from billing.models import LimitOverride, Subscription
from gateway.models import CatalogModel, Route, Upstream
from gateway.services.usage import record_usage
from tests.accounts.admin_forms import form_on
from tests.accounts.admin_pages import page_of
from tests.dashboard.pages import fill_catalog
from tests.factories import Cast, make_workspace
from tests.gateway.records import usage_record

MODELS = list(admin.site._registry)


def additions() -> dict[type[Model], dict[str, Any]]:
    """Return what is typed into the form of each model that can be added to."""
    workspace = make_workspace("Another")
    route = {
        "model": CatalogModel.objects.values_list("pk").first(),
        "upstream": Upstream.objects.values_list("pk").first(),
    }
    return {
        User: {"email": "new@example.com"},
        Workspace: {"name": "New", "owner": workspace.owner_id},
        Announcement: {"text": "Hello."},
        Group: {"name": "Helpers"},
        Subscription: {"workspace": workspace.pk, "tier_slug": "vip1"},
        LimitOverride: {"workspace": workspace.pk, "requests_per_minute": "3"},
        Upstream: {"name": "new", "provider": "sandbox", "protocol": "sandbox"},
        CatalogModel: {
            "public_id": "new", "display_name": "New", "context_window": "9", "price_input": "1", "price_output": "1",
            "routes-TOTAL_FORMS": "0",
        },
        Route: {name: pk[0] if pk else "" for name, pk in route.items()} | {"upstream_model": "new"},
    }  # fmt: skip


class Told:
    """What the audit log has about a row since it was asked last."""

    def __init__(self) -> None:
        self._last = 0
        self.since()

    def since(self) -> list[AuditEntry]:
        """Return what was written down since."""
        found = list(AuditEntry.objects.filter(pk__gt=self._last).order_by("pk"))
        self._last = found[-1].pk if found else self._last
        return found

    def about(self, model: type[Model], pk: object) -> list[str]:
        """Return what was written down since about a row, by the operator."""
        op = User.objects.get(email="op@example.com")
        return [
            str(entry.details.get("what", ""))
            for entry in self.since()
            if (entry.target_kind, entry.target_id) == (model._meta.model_name, str(pk))
            and (entry.actor_kind, entry.actor_id) == ("operator", op.pk)
        ]


@pytest.fixture
def everything(furnished: Cast) -> None:
    """A row behind every page of the admin, the gateway's too."""
    fill_catalog()
    Group.objects.create(name="Group")
    record_usage([usage_record()])


def may(model: type[Model], what: str, operator: Client, row: Model | None = None) -> bool:
    """Tell whether a superuser may do it to a model, or to a row."""
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(email="op@example.com")
    asked = getattr(admin.site._registry[model], f"has_{what}_permission")
    return bool(asked(request) if what == "add" else asked(request, row))


def send(client: Client, path: str, **changes: Any) -> None:
    """Fill a form in and send it; it has to be taken."""
    page = client.get(path)
    assert page.status_code == 200, path
    answer = client.post(path, form_on(page.text) | {"_save": "Save", **changes})
    assert answer.status_code == 302, (
        f"{path} was not taken: {answer.text[answer.text.find('errorlist') - 200 :][:600]}"
    )


def test_the_walk_knows_every_model_that_can_be_added_to(operator: Client, everything: None) -> None:
    assert {model for model in MODELS if may(model, "add", operator)} == set(additions())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label_lower)
def test_what_is_added_changed_and_deleted_is_written_down(
    operator: Client, everything: None, model: type[Model]
) -> None:
    row = model._default_manager.first()
    told = Told()
    if may(model, "add", operator):
        typed = additions()[model]
        before = set(model._default_manager.values_list("pk", flat=True))
        send(operator, page_of(model, "add"), **typed)
        row = model._default_manager.exclude(pk__in=before).get()
        assert any(what.startswith("added ") for what in told.about(model, row.pk))
    if row is not None and may(model, "change", operator, row):
        send(operator, page_of(model, "change", row.pk))
        assert any(what.startswith("changed ") for what in told.about(model, row.pk))
    if row is not None and may(model, "delete", operator, row):
        pk = row.pk
        assert operator.post(page_of(model, "delete", pk), {"post": "yes"}).status_code == 302
        assert not model._default_manager.filter(pk=pk).exists()
        assert any(what.startswith("deleted ") for what in told.about(model, pk))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label_lower)
def test_every_action_of_a_list_is_written_down(operator: Client, everything: None, model: type[Model]) -> None:
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(email="op@example.com")
    told = Told()
    for name in admin.site._registry[model].get_actions(request):
        row = model._default_manager.order_by("-pk").first()
        assert row is not None
        sent = {"action": name, "_selected_action": [str(row.pk)], "post": "yes"}
        answer = operator.post(page_of(model, "changelist"), sent)
        written = told.about(model, row.pk)
        if name == "delete_selected" and answer.status_code == 200:
            continue  # it is protected: the page says by what, and nothing happened
        assert written, f"{name} of {model._meta.label} left nothing in the audit log"


def test_a_line_names_the_action_and_no_person(operator: Client, cast: Cast) -> None:
    operator.post(page_of(User, "changelist"), {"action": "deactivate", "_selected_action": [str(cast.bob.pk)]})
    entry = AuditEntry.objects.get(action="operator.acted")
    assert (entry.target_kind, entry.target_id, entry.target_name) == ("user", str(cast.bob.pk), "")
    assert entry.details == {"what": "deactivate: user", "fields": []}


def test_an_action_that_breaks_off_is_written_down(
    operator: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.admin.suspend_workspace", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        operator.post(page_of(Workspace, "changelist"), {"action": "suspend", "_selected_action": [cast.workspace.pk]})
    assert AuditEntry.objects.get(action="operator.acted").details["what"] == "suspend: workspace"
