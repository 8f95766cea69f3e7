"""The admin: every page opens for a superuser and for nobody else, shows no secret, and asks no query per row."""

import re

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Announcement
from accounts.services.apikeys import NewApiKey, create_api_key
from billing.models import Adjustment, CreditGrant, Hold, LedgerEntry, Payment, RefundRequest, Tier, Wallet
from billing.services.notices import owe
from billing.services.tiers import set_limits, set_tier
from tests.accounts.admin_pages import a_row_of, page_of, staff
from tests.accounts.admin_payments import add_payments
from tests.accounts.conftest import from_stripe
from tests.factories import Cast, fund, make_workspace

OUR_APPS = {"accounts", "billing"}
OURS = [model for model in admin.site._registry if model._meta.app_label in OUR_APPS]


@pytest.mark.parametrize("model", OURS)
def test_a_superuser_opens_every_list_search_and_page(operator: Client, furnished: Cast, model: type[Model]) -> None:
    assert operator.get(page_of(model, "changelist")).status_code == 200
    if admin.site._registry[model].search_fields:
        for words in ("alice", "00000000-0000-0000-0000-000000000000", "%00'\""):
            assert operator.get(page_of(model, "changelist"), {"q": words}).status_code == 200
    row = a_row_of(model)
    assert operator.get(page_of(model, "change", row.pk)).status_code == 200
    assert operator.get(page_of(model, "history", row.pk)).status_code == 200


def test_the_index_opens_and_names_the_apps(operator: Client) -> None:
    page = operator.get("/admin/")
    assert page.status_code == 200
    assert "LumyxAI operators" in page.text


@pytest.mark.parametrize("model", OURS)
def test_staff_without_permission_is_refused_everywhere(furnished: Cast, model: type[Model]) -> None:
    client = staff()
    pages = [page_of(model, "changelist"), page_of(model, "add"), page_of(model, "change", a_row_of(model).pk)]
    assert [client.get(path).status_code for path in pages] == [403] * 3
    assert [client.post(path, {}).status_code for path in pages] == [403] * 3


@pytest.mark.parametrize("model", OURS)
def test_who_is_not_staff_is_sent_to_sign_in(furnished: Cast, model: type[Model]) -> None:
    client = Client()
    for user in (None, furnished.alice):
        if user:
            client.force_login(user)
        response = client.get(page_of(model, "changelist"))
        assert response["Location"].startswith("/admin/login/")
        assert client.get(response["Location"]).status_code == (403 if user else 302)


@pytest.mark.parametrize("model", OURS)
def test_no_page_holds_a_secret(operator: Client, furnished: Cast, key: NewApiKey, model: type[Model]) -> None:
    pages = [page_of(model, "changelist"), page_of(model, "change", a_row_of(model).pk)]
    digest = bytes(key.row.digest)
    secrets = [key.secret, key.secret[11:40], digest.hex(), str(digest), furnished.alice.password]
    for path in pages:
        text = operator.get(path).text
        assert not [secret for secret in secrets if secret in text], path


@pytest.mark.parametrize("model", OURS)
def test_no_page_needs_anything_inline(operator: Client, furnished: Cast, model: type[Model]) -> None:
    for path in (page_of(model, "changelist"), page_of(model, "change", a_row_of(model).pk)):
        response = operator.get(path)
        assert "script-src 'self'" in response["Content-Security-Policy"]
        assert not re.findall(
            r"<script(?![^>]*\b(?:src=|type=\"application/json\"))[^>]*>|\son\w+=\"|\sstyle=\"", response.text
        )


def more_rows(cast: Cast) -> None:
    """Add four more of everything that lists show."""
    for number in range(4):
        workspace = make_workspace(f"More {number}")
        create_api_key(workspace=workspace, name="k", created_by=workspace.owner)
        fund(workspace, "1")
        set_tier(workspace.pk, tier_slug="vip2")
        set_limits(workspace.pk, daily_requests=1)
        owe("dispute_opened", workspace_id=workspace.pk, key=f"dispute_opened:{number}", facts={"amount": 10**9})
        from_stripe(f"more-{number}")
        add_payments(workspace, f"more-{number}")
        Announcement.objects.create(text=f"More {number}")


@pytest.mark.parametrize("model", [model for model in OURS if model not in {Tier, Hold}])
def test_lists_ask_no_query_per_row(operator: Client, furnished: Cast, model: type[Model]) -> None:
    path = page_of(model, "changelist")
    operator.get(path)
    with CaptureQueriesContext(
        connection,
    ) as few:
        operator.get(path)
    more_rows(furnished)
    with CaptureQueriesContext(connection) as many:
        operator.get(path)
    assert len(many) == len(few)


BOOKS: list[type[Model]] = [Wallet, CreditGrant, LedgerEntry, Hold, Adjustment, RefundRequest, Payment]


@pytest.mark.parametrize("model", BOOKS)
def test_the_books_refuse_every_write_even_of_a_superuser(
    operator: Client, furnished: Cast, model: type[Model]
) -> None:
    row = a_row_of(model)
    before = list(model._default_manager.order_by("pk").values())
    data = {"posted": "1", "held": "1", "amount": "1", "remaining": "1", "state": "released", "post": "yes"}
    for path in (page_of(model, "add"), page_of(model, "change", row.pk), page_of(model, "delete", row.pk)):
        assert operator.post(path, data).status_code == 403
    deletion = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
    operator.post(page_of(model, "changelist"), deletion)  # there is no such action: the list is shown again
    assert list(model._default_manager.order_by("pk").values()) == before
    page = operator.get(page_of(model, "change", row.pk)).text
    assert 'name="_save"' not in page
