"""The admin's pages: enough to add an upstream, its test, a model, a price and a route; secrets in, never out."""

import datetime as dt
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from billing.rating import Rates
from gateway.admin import usage as usage_admin
from gateway.models import CatalogModel, Price, Route, Upstream, UpstreamUsage, UsageEvent
from gateway.selectors.catalog import credential_of, load_snapshot
from gateway.services.catalog import apply_catalog
from gateway.services.upstream_check import check_upstream
from gateway.services.usage import record_usage
from gateway.upstreams.probe import Probe
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.gateway.records import usage_record
from tests.gateway.test_catalog_apply import FILE, SECRET
from tests.gateway.test_catalog_commands import Provider, provider

__all__ = ["provider"]  # the fixture is used here too

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    """Sign an operator in."""
    client.force_login(User.objects.create_superuser("operator@example.com", "x"))
    return client


UPSTREAM: dict[str, Any] = {
    "name": "box",
    "provider": "sandbox",
    "protocol": "sandbox",
    "base_url": "",
    "is_enabled": "on",
    "connect_timeout": "5",
    "first_byte_timeout": "120",
    "idle_timeout": "60",
    "total_timeout": "600",
}
THEIRS = UPSTREAM | {
    "name": "theirs",
    "provider": "openai",
    "protocol": "openai_chat",
    "base_url": "https://x.example.com",
}


def model_form(*routes: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return the model's form as a browser sends it."""
    form: dict[str, Any] = {
        "public_id": "mine",
        "display_name": "Mine",
        "kind": "chat",
        "context_window": "1000",
        "tags": "tools, vision",
        "supports_streaming": "on",
        "is_enabled": "on",
        "routes-TOTAL_FORMS": len(routes),
        "routes-INITIAL_FORMS": 0,
        "prices-TOTAL_FORMS": 0,
        "prices-INITIAL_FORMS": 0,
    }
    for number, route in enumerate(routes):
        form |= {f"routes-{number}-{key}": value for key, value in route.items()}
    return form | values


def texts_of(response: Any) -> list[str]:
    """Return the messages of an answer."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def errors_in(response: Any) -> str:
    """Return the errors that a form's page shows."""
    assert response.status_code == 200, "the form should have been refused"
    found = re.findall(r'<ul class="errorlist.*?</ul>', response.content.decode(), re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", " ", " ".join(found)))


def add_upstream(operator: Client, form: dict[str, Any]) -> Any:
    """Post the form of a new upstream."""
    return operator.post(reverse("admin:gateway_upstream_add"), form)


def test_added_in_the_admin_alone_a_model_can_be_called(operator: Client) -> None:
    response = add_upstream(operator, UPSTREAM | {"_test": "Save and test"})
    upstream = Upstream.objects.get(name="box")
    assert response["location"] == reverse("admin:gateway_upstream_change", args=[upstream.pk])
    assert any("The test of box succeeded: echo answered a call." in text for text in texts_of(response))
    route = {"upstream": upstream.pk, "upstream_model": "paid", "priority": "1", "weight": "100", "is_enabled": "on"}
    response = operator.post(
        reverse("admin:gateway_catalogmodel_add"), model_form(route, price_input="0.50", price_output="1.50")
    )
    assert response.status_code == 302
    model = load_snapshot().models["mine"]
    assert model.rates == Rates(input=500_000_000, output=1_500_000_000)
    assert (model.tags, model.max_output_tokens, model.is_sandbox) == (("tools", "vision"), 1000, True)
    assert [(found.upstream.name, found.upstream_model) for found in model.routes] == [("box", "paid")]


def test_every_page_opens(operator: Client) -> None:
    apply_catalog(FILE)
    record_usage([usage_record()])
    for table in (Upstream, CatalogModel, Route, UsageEvent):
        name = table._meta.model_name
        assert operator.get(reverse(f"admin:gateway_{name}_changelist")).status_code == 200
        row = table._default_manager.first()
        assert row is not None
        assert operator.get(reverse(f"admin:gateway_{name}_change", args=[row.pk])).status_code == 200
        if table is not UsageEvent:
            assert operator.get(reverse(f"admin:gateway_{name}_add")).status_code == 200


def test_pages_have_nothing_inline(operator: Client) -> None:
    apply_catalog(FILE)
    row = Upstream.objects.get(name="openai")
    model = CatalogModel.objects.get(public_id="plus")
    for url in (
        reverse("admin:gateway_upstream_change", args=[row.pk]),
        reverse("admin:gateway_upstream_changelist"),
        reverse("admin:gateway_catalogmodel_change", args=[model.pk]),
        reverse("admin:gateway_route_add"),
        reverse("admin:gateway_usageevent_changelist"),
    ):
        response = operator.get(url)
        page = response.content.decode()
        assert "script-src 'self'" in response["content-security-policy"]
        scripts = re.findall(r"<script\b[^>]*>", page)
        assert all("src=" in script or 'type="application/json"' in script for script in scripts), scripts
        assert not re.search(r"<style\b|\sstyle=|\son[a-z]+=\"|javascript:", page)


# --- upstreams --------------------------------------------------------------------------------------------------------


def test_a_credential_goes_in_encrypted_and_is_never_shown(operator: Client) -> None:
    add_upstream(operator, THEIRS | {"credential": SECRET})
    row = Upstream.objects.get(name="theirs")
    assert credential_of(row) == SECRET
    page = operator.get(reverse("admin:gateway_upstream_change", args=[row.pk])).content.decode()
    assert SECRET not in page
    assert 'type="password"' in page
    assert "Leave empty to keep it." in page
    listed = operator.get(reverse("admin:gateway_upstream_changelist")).content.decode()
    assert SECRET not in listed
    history = operator.get(reverse("admin:gateway_upstream_history", args=[row.pk])).content.decode()
    assert SECRET not in history


def test_an_empty_credential_keeps_the_stored_one_a_new_one_replaces_it_and_a_tick_removes_it(operator: Client) -> None:
    add_upstream(operator, THEIRS | {"credential": SECRET})
    row = Upstream.objects.get(name="theirs")
    url = reverse("admin:gateway_upstream_change", args=[row.pk])
    assert operator.post(url, THEIRS | {"credential": "", "idle_timeout": "9"}).status_code == 302
    row.refresh_from_db()
    assert (credential_of(row), row.idle_timeout) == (SECRET, 9.0)
    operator.post(url, THEIRS | {"credential": "sk-other"})
    row.refresh_from_db()
    assert credential_of(row) == "sk-other"
    operator.post(url, THEIRS | {"remove_credential": "on"})
    row.refresh_from_db()
    assert credential_of(row) == ""


@pytest.mark.parametrize(
    ("enabled", "requests", "errors", "said"),
    [
        (True, 0, 0, "idle"),
        (True, 3, 0, "in use: 0 of 3 requests failed"),
        (True, 4, 4, "in use: 4 of 4 requests failed"),
        (True, 6, 3, "failing: 3 of 6 requests failed"),
        (False, 1, 0, "paused: 0 of 1 requests failed"),
    ],
)
def test_an_upstream_says_how_it_stands(operator: Client, enabled: bool, requests: int, errors: int, said: str) -> None:
    row = Upstream.objects.create(name="box", provider="sandbox", protocol="sandbox", is_enabled=enabled)
    today = clock.now().date()
    for day, model in ((today, "a"), (today - dt.timedelta(days=5), "b")):
        sums = {"requests": requests, "errors": errors}
        UpstreamUsage.objects.create(day=day, model=model, upstream_id=row.pk, **sums)
    for page in ("changelist", "change"):
        address = reverse(f"admin:gateway_upstream_{page}", args=[row.pk] if page == "change" else [])
        assert said in operator.get(address).text


def test_the_name_of_a_stored_upstream_stays(operator: Client) -> None:
    add_upstream(operator, THEIRS | {"credential": SECRET})
    row = Upstream.objects.get()
    operator.post(reverse("admin:gateway_upstream_change", args=[row.pk]), THEIRS | {"name": "renamed"})
    row.refresh_from_db()
    assert (row.name, credential_of(row)) == ("theirs", SECRET)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"base_url": ""}, "Is missing: where the API is"),
        ({"base_url": "http://10.0.0.1/v1"}, "set allow_private_network"),
        ({"base_url": "https://x.example.com/"}, "Must not end with a slash"),
        ({"base_url": "https://me:pw@x.example.com"}, "may not hold a user name or password"),
        ({"protocol": "sandbox"}, "takes no URL"),
        ({"credential": "a b"}, "Not valid: visible ASCII characters without spaces"),
        ({"total_timeout": "0"}, "greater than or equal to 0.001"),
        ({"total_timeout": "99999"}, "less than or equal to 3600"),
        ({"protocol": "smoke_signals"}, "Select a valid choice"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_upstream_is_refused_beside_the_field(operator: Client, change: dict[str, str], problem: str) -> None:
    assert problem in errors_in(add_upstream(operator, THEIRS | change))
    assert not Upstream.objects.exists()


def test_a_host_of_a_private_network_is_taken_when_it_is_allowed(operator: Client) -> None:
    form = THEIRS | {"base_url": "http://ollama:11434/v1", "allow_private_network": "on"}
    assert add_upstream(operator, form).status_code == 302


def test_the_test_tells_success_and_failure_of_a_real_server(operator: Client, provider: Upstream) -> None:
    url = reverse("admin:gateway_upstream_change", args=[provider.pk])
    form = THEIRS | {"base_url": provider.base_url, "allow_private_network": "on", "_test": "x"}
    response = operator.post(url, form)
    assert any("theirs succeeded: It lists 2 models." in text for text in texts_of(response))
    Provider.override = (503, b"{}")
    response = operator.post(url, form)
    assert response["location"] == url
    assert any("theirs failed: It failed." in text and "HTTP 503" in text for text in texts_of(response))


def test_an_upstream_that_cannot_be_saved_is_not_tested(operator: Client, provider: Upstream) -> None:
    url = reverse("admin:gateway_upstream_change", args=[provider.pk])
    errors_in(operator.post(url, THEIRS | {"base_url": "nonsense", "_test": "x"}))
    assert Provider.seen == []


@pytest.mark.django_db(transaction=True)
def test_the_test_does_not_hold_a_transaction_open(
    operator: Client, provider: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_blocks: list[bool] = []

    def watched(name: str) -> Probe:
        open_blocks.append(connection.in_atomic_block)
        return check_upstream(name)

    monkeypatch.setattr("gateway.admin.catalog.check_upstream", watched)
    form = THEIRS | {"base_url": provider.base_url, "allow_private_network": "on", "_test": "x"}
    operator.post(reverse("admin:gateway_upstream_change", args=[provider.pk]), form)
    assert open_blocks == [False]


def test_selected_upstreams_are_tested(operator: Client, provider: Upstream) -> None:
    add_upstream(operator, UPSTREAM)
    rows = list(Upstream.objects.values_list("pk", flat=True))
    response = operator.post(
        reverse("admin:gateway_upstream_changelist"), {"action": "test_selected", "_selected_action": rows}
    )
    assert len([text for text in texts_of(response) if "succeeded" in text]) == 2


# --- models -----------------------------------------------------------------------------------------------------------


def test_the_page_of_a_model_shows_its_price_and_does_not_change_it(operator: Client) -> None:
    add = reverse("admin:gateway_catalogmodel_add")
    operator.post(add, model_form(price_input="0.5", price_output="1.5", price_cache_read="0.000000001"))
    row = CatalogModel.objects.get()
    url = reverse("admin:gateway_catalogmodel_change", args=[row.pk])
    sent = model_form(price_input="9", price_output="9", is_free="on", display_name="Other")
    assert operator.post(url, sent).status_code == 302
    row.refresh_from_db()
    assert (row.display_name, row.is_free, Price.objects.count()) == ("Other", False, 1)
    page = operator.get(url).text
    assert "0.5 in, 1.5 out" in page
    assert "0.000000001" in page
    assert "price_output" not in page
    assert f'href="{reverse("admin:gateway_catalogmodel_price", args=[row.pk])}"' in page
    assert 'name="prices-0-' not in page.replace('name="prices-0-id"', "").replace('name="prices-0-model"', "")


def test_a_model_may_wait_for_its_price_and_says_so(operator: Client) -> None:
    response = operator.post(reverse("admin:gateway_catalogmodel_add"), model_form())
    assert any("mine has no price yet" in text for text in texts_of(response))
    assert load_snapshot().models == {}
    row = CatalogModel.objects.get()
    page = operator.get(reverse("admin:gateway_catalogmodel_change", args=[row.pk]))
    assert "none yet: it cannot be called" in page.text


def test_a_free_model_has_a_price_of_nothing(operator: Client) -> None:
    operator.post(reverse("admin:gateway_catalogmodel_add"), model_form(is_free="on"))
    model = load_snapshot().models["mine"]
    assert (model.is_free, model.rates, Price.objects.count()) == (True, Rates(input=0, output=0), 1)


def test_an_embedding_model_has_no_output(operator: Client) -> None:
    operator.post(reverse("admin:gateway_catalogmodel_add"), model_form(kind="embedding", price_input="0.1"))
    model = load_snapshot().models["mine"]
    assert (model.kind, model.max_output_tokens, model.supports_streaming) == ("embedding", None, False)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"public_id": "-x"}, "A model id has letters"),
        ({"context_window": "0"}, "It must be above 0."),
        ({"max_output_tokens": "1001"}, "It must be from 1 to the context window, 1000."),
        ({"max_output_tokens": "5", "kind": "embedding"}, "generates no tokens"),
        ({"tags": "Tools"}, "Use lower-case letters"),
        ({"tags": "a,a"}, "each once"),
        ({"tags": "streaming", "supports_streaming": ""}, "says the opposite"),
        ({"is_free": "on", "price_input": "1"}, "A free model has no price"),
        ({"price_input": "0.0000000001", "price_output": "1"}, "no more than 9 decimal places"),
        ({"price_input": "-1", "price_output": "1"}, "greater than or equal to 0"),
        ({"price_input": "9999999999.5", "price_output": "1"}, "This is more than can be stored."),
        ({"price_input": "1"}, "Give a price; 0 is one."),
        ({"price_output": "1"}, "Give a price; 0 is one."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_model_is_refused_beside_the_field(operator: Client, change: dict[str, str], problem: str) -> None:
    response = operator.post(reverse("admin:gateway_catalogmodel_add"), model_form(**change))
    assert problem in errors_in(response)
    assert not CatalogModel.objects.exists()


def test_a_route_without_weight_is_refused(operator: Client) -> None:
    upstream = Upstream.objects.create(name="box", provider="sandbox", protocol="sandbox")
    route = {"upstream": upstream.pk, "upstream_model": "paid", "priority": "1", "weight": "0", "is_enabled": "on"}
    response = operator.post(reverse("admin:gateway_catalogmodel_add"), model_form(route, is_free="on"))
    assert "greater than or equal to 1" in errors_in(response)
    assert not Route.objects.exists()


def test_an_upstream_with_routes_cannot_be_deleted_by_accident(operator: Client) -> None:
    apply_catalog(FILE)
    row = Upstream.objects.get(name="openai")
    operator.post(reverse("admin:gateway_upstream_delete", args=[row.pk]), {"post": "yes"})
    assert Upstream.objects.filter(pk=row.pk).exists()


# --- usage ------------------------------------------------------------------------------------------------------------


def test_usage_is_read_only_and_found_by_workspace_and_id(operator: Client) -> None:
    mine, other = usage_record(workspace_id=71), usage_record(workspace_id=72)
    record_usage([mine, other])
    url = reverse("admin:gateway_usageevent_changelist")
    for term in ("71", str(mine.id)):
        page = operator.get(url, {"q": term}).content.decode()
        assert str(mine.id) in page
        assert str(other.id) not in page
    assert str(mine.id) not in operator.get(url, {"q": "x"}).content.decode()
    assert operator.get(reverse("admin:gateway_usageevent_add")).status_code == 403
    change = reverse("admin:gateway_usageevent_change", args=[mine.id])
    assert operator.post(change, {"charge": "1"}).status_code == 403
    assert operator.post(reverse("admin:gateway_usageevent_delete", args=[mine.id]), {"post": "yes"}).status_code == 403


def test_the_list_of_usage_never_counts_all_rows(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_admin, "ROWS_SHOWN", 120)
    record_usage([usage_record(id=uuid7()) for _ in range(130)])
    with CaptureQueriesContext(connection) as queries:
        page = operator.get(reverse("admin:gateway_usageevent_changelist")).content.decode()
    counts = [query["sql"] for query in queries if "COUNT(*)" in query["sql"] and "usageevent" in query["sql"]]
    assert counts
    assert all("LIMIT 120" in sql for sql in counts), counts
    assert "p=3" in page
    assert "p=4" not in page
    assert operator.get(reverse("admin:gateway_usageevent_changelist"), {"p": "3"}).status_code == 200


def test_people_without_staff_rights_see_nothing(client: Client) -> None:
    client.force_login(User.objects.create_user("alice@example.com", "x"))
    for name in ("upstream", "catalogmodel", "route", "usageevent"):
        assert client.get(reverse(f"admin:gateway_{name}_changelist")).status_code == 302
