"""The front page of the admin: the installation's figures and what waits for somebody, for those who may see each."""

import datetime as dt
import re
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.services.users import create_user
from billing.models import Notice, Reconciliation, StripeEvent, Wallet
from gateway.models import HourlyUsage, Upstream, UpstreamUsage
from lumyx.lib import clock
from tests.accounts.admin_pages import staff
from tests.dashboard.pages import fill_catalog
from tests.factories import PASSWORD, fund, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    """Return a superuser's browser."""
    client = Client()
    client.force_login(create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True))
    return client


def text_of(client: Client) -> str:
    """Return the front page's text, with single spaces."""
    page = client.get("/admin/")
    assert page.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(page.text)).split())


def use(
    *, hours: int, requests: int = 4, errors: int = 1, charge: int = 3 * 10**9, cost: int = 10**9, costed: int = 4
) -> None:
    """Add usage of so many hours ago, as the roll-ups do."""
    at = clock.now().replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=hours)
    sums = {"requests": requests, "errors": errors, "charge": charge, "cost": cost, "costed": costed, "model": "m"}
    HourlyUsage.objects.create(workspace_id=hours, api_key_id=1, hour=at, **sums)
    UpstreamUsage.objects.create(day=at.date(), upstream_id=1000 + hours, **sums)


def event(number: int, state: str, *, minutes: int = 0) -> None:
    """Add an event to the inbox."""
    StripeEvent.objects.create(
        id=f"evt_{number}", type="x", payload={}, happened_at=clock.now(), state=state,
        received_at=clock.now() - dt.timedelta(minutes=minutes),
    )  # fmt: skip


def test_sums_are_those_of_a_day_and_of_a_week(operator: Client) -> None:
    use(hours=1)
    use(hours=30)
    use(hours=24 * 9)
    text = text_of(operator)
    assert "Last 24 hours Requests 4 Charged $3.00 Cost $1.00 Margin $2.00 Failed 1 25.0 %" in text
    assert "Last 7 days Requests 8 Charged $6.00 Cost $2.00 Margin $4.00 Failed 2 25.0 %" in text


def test_a_cost_that_is_not_known_is_said_and_a_loss_stands_out(operator: Client) -> None:
    use(hours=1, cost=4 * 10**9, costed=3)
    text = text_of(operator)
    assert "Cost ≥ $4.00 Margin ≤ -$1.00" in text
    assert 'class="tile bad"><dt>Margin' in operator.get("/admin/").text


def test_an_installation_that_is_in_order_says_so(operator: Client) -> None:
    Reconciliation.objects.create(finished_at=clock.now(), is_clean=True)
    text = text_of(operator)
    for told in ("No upstream is paused or failing.", "Every event of Stripe is applied.", "The books agree"):
        assert f"In order {told}" in text
    assert " Act " not in text
    assert " Look " not in text


def test_what_waits_is_told_with_the_way_to_it(operator: Client) -> None:
    event(1, "failed")
    event(2, "new", minutes=11)
    event(3, "new")
    event(4, "done", minutes=60)
    Reconciliation.objects.create(finished_at=clock.now(), is_clean=False)
    workspace = make_workspace()
    fund(workspace, "1")
    Wallet.objects.update(frozen=True)
    Notice.objects.create(key="k", kind="receipt", workspace=workspace, gave_up_at=clock.now())
    Upstream.objects.create(name="off", provider="sandbox", protocol="sandbox", is_enabled=False)
    failing = Upstream.objects.create(name="bad", provider="sandbox", protocol="sandbox")
    UpstreamUsage.objects.create(day=clock.now().date(), model="m", upstream_id=failing.pk, requests=9, errors=8)
    text = text_of(operator)
    for told in (
        "Act Upstream bad is failing.",
        "Look Upstream off is paused.",
        "Act 1 event of Stripe could not be applied.",
        "Act 1 event of Stripe waited for over ten minutes.",
        "Act The last comparison of the books found something wrong.",
        "Look 1 e-mail could not be sent, and is tried no more.",
        "Look 1 wallet is frozen.",
    ):
        assert told in text
    page = operator.get("/admin/").text
    assert f'href="/admin/gateway/upstream/{failing.pk}/change/"' in page
    assert 'href="/admin/billing/stripeevent/?state__exact=failed"' in page


@pytest.mark.parametrize(
    ("hours", "is_clean", "told"),
    [(1, None, "has not come to its end"), (40, True, "were not compared last night"), (40, False, "found something")],
)
def test_a_comparison_that_is_missing_or_broke_off_is_told(
    operator: Client, hours: int, is_clean: bool | None, told: str
) -> None:
    Reconciliation.objects.create(started_at=clock.now() - dt.timedelta(hours=hours), is_clean=is_clean)
    assert told in text_of(operator)


def test_staff_see_what_they_may_open_and_no_more() -> None:
    use(hours=1)
    event(1, "failed")
    assert "How the installation stands" not in staff().get("/admin/").text
    text = text_of(staff("billing.view_stripeevent"))
    assert "could not be applied" in text
    assert "Charged" not in text
    text = text_of(staff("gateway.view_upstreamusage"))
    assert "Charged" in text
    assert "Stripe" not in text


def test_it_asks_as_many_queries_however_much_there_is(operator: Client) -> None:
    fill_catalog()
    use(hours=1)
    operator.get("/admin/")
    with CaptureQueriesContext(connection) as few:
        operator.get("/admin/")
    for number in range(2, 12):
        use(hours=number)
        event(number, "failed")
        Upstream.objects.create(name=f"u{number}", provider="sandbox", protocol="sandbox", is_enabled=False)
        Reconciliation.objects.create()
    with CaptureQueriesContext(connection) as many:
        operator.get("/admin/")
    assert len(many) == len(few)
