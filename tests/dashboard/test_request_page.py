"""The page of one request: its arithmetic, what paid it, who sees it, and the ways that lead to it."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains

from accounts.models import Workspace
from accounts.roles import Role
from billing.rating import charge_for
from billing.services.ledger import grant
from dashboard.views.requests import with_commas
from gateway.models import CatalogModel, DroppedUsage, Price
from lumyx.lib import clock
from tests.dashboard.usage_rows import make_request
from tests.factories import Cast, fund, make_api_key, make_cast, make_member
from tests.gateway.test_receipts import RATES, USAGE, make_price, settle

pytestmark = pytest.mark.django_db
CHARGE = charge_for(USAGE, RATES)


@pytest.fixture
def cast() -> Cast:
    made = make_cast()
    fund(made.workspace, "1")
    return made


@pytest.fixture
def price() -> Price:
    return make_price()


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def page_of(request_id: uuid.UUID | str) -> str:
    """Return the page's address."""
    return f"/dashboard/usage/{request_id.hex if isinstance(request_id, uuid.UUID) else request_id}"


def paid(workspace: Workspace, price: Price, **values: Any) -> uuid.UUID:
    """Settle a request at the price."""
    return settle(workspace, **{"rated": CHARGE, "price_id": price.pk} | values)


def test_the_arithmetic_is_on_the_page(alice: Client, cast: Cast, price: Price) -> None:
    request_id = paid(cast.workspace, price, flags="usage_stale", is_stream=True)
    response = alice.get(page_of(request_id))
    for text in (
        request_id.hex,
        "Price version 2",
        "18,600.6",
        'title="$0.000018601"',
        "Cache read",
        "100.6",
        "of it reasoning",
        "Reported by the provider",
        "Output came after the last report",
        "a stream",
        "20 ms",
        "Paid credits",
        "Never expires",
        "200 OK",
    ):
        assertContains(response, text)
    assertNotContains(response, "more than was held")


@pytest.mark.parametrize("form", ["{}", "chatcmpl-{}", "msg_{}"])
def test_an_id_as_clients_know_it_leads_there(alice: Client, cast: Cast, price: Price, form: str) -> None:
    assert alice.get(page_of(form.format(paid(cast.workspace, price).hex))).status_code == 200


def test_what_is_not_the_workspaces_own_does_not_exist(alice: Client, cast: Cast, price: Price) -> None:
    fund(cast.other_workspace, "1")
    theirs = paid(cast.other_workspace, price)
    for address in (page_of(theirs), page_of(uuid.uuid4()), page_of("nonsense")):
        assert alice.get(address).status_code == 404


def test_a_request_of_a_month_that_is_not_kept_says_so(alice: Client) -> None:
    DroppedUsage.objects.create(month=dt.date(2024, 1, 1))
    answer = alice.get(page_of(uuid.UUID("018cc251-f400-7000-8000-000000000000")))
    assertContains(answer, "Details of requests before 1 February 2024 are not kept any more", status_code=404)


def test_absorbed_free_empty_and_unpriced_requests_say_what_they_are(alice: Client, cast: Cast, price: Price) -> None:
    absorbed = alice.get(page_of(paid(cast.workspace, price, hold=18_000)))
    assertContains(absorbed, "more than was held for this request")
    assertContains(absorbed, 'title="$0.000000601"')
    free = alice.get(page_of(paid(cast.workspace, price, hold=0, rated=0, is_free=True)))
    assertContains(free, "Free models cost nothing.")
    nothing = dict.fromkeys(("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"), 0)
    empty = paid(
        cast.workspace,
        price,
        rated=None,
        status="upstream_error",
        http_status=502,
        error_code="upstream_error",
        usage_source="none",
        reasoning_tokens=0,
        first_token_ms=None,
        **nothing,
    )
    response = alice.get(page_of(empty))
    assertContains(response, "Nothing came out, so nothing was charged")
    assertContains(response, "502 Upstream error")
    old = paid(cast.workspace, price, usage_source="estimated")
    CatalogModel.objects.all().delete()
    unpriced = alice.get(page_of(old))
    assertContains(unpriced, "is not known any more")
    assertContains(unpriced, "Estimated by us")


@pytest.mark.parametrize(("role", "sees"), [(Role.VIEWER, False), (Role.DEVELOPER, False), (Role.BILLING, True)])
def test_only_who_sees_money_sees_which_credit_paid(
    client: Client, cast: Cast, price: Price, role: Role, sees: bool
) -> None:
    ends = clock.now() + dt.timedelta(days=5)
    grant(workspace_id=cast.workspace.pk, kind="promo", amount=100, source="promo:1", expires_at=ends)
    request_id = paid(cast.workspace, price)
    client.force_login(make_member(cast.workspace, role))
    response = client.get(page_of(request_id))
    assert ("Promo credits" in response.content.decode()) is sees
    assertContains(response, 'title="$0.000018601"')


def test_the_last_requests_and_the_ledger_lead_there(alice: Client, cast: Cast) -> None:
    settled = make_request(cast.workspace, key=make_api_key(cast.workspace).row)
    link = f'href="{page_of(settled.request_id)}"'
    assertContains(alice.get("/dashboard"), link)
    assertContains(alice.get("/dashboard/credits"), link, count=1)
    assert alice.get(page_of(settled.request_id)).status_code == 200


def test_thousands_are_set_apart() -> None:
    assert [with_commas(text) for text in ("0", "999", "1000.000001", "1234567")] == [
        "0",
        "999",
        "1,000.000001",
        "1,234,567",
    ]
