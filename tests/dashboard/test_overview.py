"""The overview: what is left and used, the last requests, warnings before they hurt, and a newcomer's first steps."""

import datetime as dt

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.asserts import assertContains, assertNotContains

from accounts.models import ApiKey
from accounts.roles import Role
from accounts.services.workspaces import suspend_workspace
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import entitlements_of
from billing.services import ledger
from billing.types import QuotaClaim
from dashboard.views.overview import figures_of
from gateway.selectors.usage import DayModelUsage, UsageTotals
from lumyx.lib import clock
from lumyx.lib.money import usd_to_nano
from tests.dashboard.usage_rows import make_request
from tests.factories import Cast, fund, make_api_key, make_cast, make_member, make_user, make_workspace

pytestmark = pytest.mark.django_db

OVERVIEW = "/dashboard"


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    return make_api_key(cast.workspace, name="Production").row


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def test_a_newcomer_sees_the_way_to_the_first_request(alice: Client, cast: Cast) -> None:
    response = alice.get(OVERVIEW)
    assertContains(response, "Hello, Alice")
    assertContains(response, "Make your first request")
    assertContains(response, "/dashboard/api-keys?new")
    assertContains(response, "http://testserver/api/v1")
    assertContains(response, "Waiting for the first request")
    assertNotContains(response, "(done)")
    make_api_key(cast.workspace)
    assertContains(alice.get(OVERVIEW), "(done)")


def test_the_checklist_waits_and_gives_way_to_the_first_request(alice: Client, cast: Cast, key: ApiKey) -> None:
    waiting = f"{OVERVIEW}?waiting"
    assert alice.get(waiting, headers={"HX-Request": "true"}).status_code == 204
    fund(cast.workspace, "1")
    make_request(cast.workspace, key=key)
    assert alice.get(waiting, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    response = alice.get(OVERVIEW)
    assertNotContains(response, "Make your first request")
    assertContains(response, "Last requests")


def test_the_last_requests_show_key_state_tokens_cost_and_time(alice: Client, cast: Cast, key: ApiKey) -> None:
    fund(cast.workspace, "10")
    at = clock.now() - dt.timedelta(minutes=5)
    make_request(cast.workspace, key=key, charge=4_200_001, at=at)
    make_request(cast.workspace, key=key, charge=0, model="upside/down", status="upstream_error", http_status=502)
    html = alice.get(OVERVIEW).content.decode()
    assert "Production" in html
    assert "200 OK" in html
    assert "502 Upstream error" in html
    assert '1,200 <span class="dim">/ 300</span>' in html
    assert 'title="$0.004200001">$0.0042</data>' in html
    assert f'title="{at:%Y-%m-%d %H:%M:%S} UTC">5 min ago</time>' in html
    assert "1.23 s" in html
    assert html.index("upside/down</a></td>") < html.index("lumyx-plus_v1</a></td>")


def test_spend_requests_and_tokens_are_summed_over_three_periods() -> None:
    today = dt.date(2026, 11, 22)
    rows = [
        DayModelUsage(today - dt.timedelta(days=days), "m", UsageTotals(1, 0, 10, 5, 1, 100, charge))
        for days, charge in ((0, 1), (6, 20), (7, 300), (29, 4000))
    ]
    spend, requests, tokens = figures_of(rows, today=today)
    assert (spend.today, spend.week, spend.month) == (1, 21, 4321)
    assert (requests.today, requests.week, requests.month) == (1, 2, 4)
    assert (tokens.today, tokens.week, tokens.month) == (116, 232, 464)


@pytest.mark.parametrize(
    ("usd", "charge", "warning"),
    [
        ("5", 4_000_000_001, "Credits are running low."),
        ("5", 5_000_000_000, "No credits are left."),
        ("5", 4_000_000_000, ""),
    ],
)
def test_a_low_balance_is_warned_about_with_what_will_happen(
    alice: Client, cast: Cast, key: ApiKey, usd: str, charge: int, warning: str
) -> None:
    fund(cast.workspace, usd)
    make_request(cast.workspace, key=key, charge=charge)
    response = alice.get(OVERVIEW)
    if warning:
        assertContains(response, warning)
        assertContains(response, "insufficient_credits")
    else:
        assertNotContains(response, "insufficient_credits")


def test_free_requests_left_today_are_counted_by_the_quota_itself(alice: Client, cast: Cast, key: ApiKey) -> None:
    assertContains(alice.get(OVERVIEW), '<span class="b">25</span> <span class="dim">of 25 left</span>')
    claim = QuotaClaim(f"u:{cast.alice.pk}", 25)
    for _ in range(3):
        make_request(cast.workspace, key=key, model="free", charge=0, quota=claim)
    assertContains(alice.get(OVERVIEW), '<span class="b">22</span> <span class="dim">of 25 left</span>')
    allowance = daily_allowance_of(entitlements_of(cast.workspace.pk, owner_id=cast.alice.pk))
    assert (allowance.limit, allowance.used, allowance.remaining) == (25, 3, 22)


def test_yesterdays_requests_leave_todays_allowance_whole(cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_dailyquota (subject, day, used)"
            " VALUES (%s, (statement_timestamp() AT TIME ZONE 'UTC')::date - 1, 25)",
            [f"u:{cast.alice.pk}"],
        )
    assert daily_allowance_of(entitlements_of(cast.workspace.pk, owner_id=cast.alice.pk)).used == 0


def test_an_unproved_address_is_asked_to_be_confirmed(client: Client, settings: LazySettings) -> None:
    eve = make_user("eve@example.com", verified=False)
    make_workspace(owner=eve)
    client.force_login(eve)
    response = client.get(OVERVIEW)
    assertContains(response, "Confirm your email address.")
    assertContains(response, 'name="action_send"')
    settings.LUMYX_EMAIL_VERIFICATION = False
    assertNotContains(client.get(OVERVIEW), "Confirm your email address.")


def test_the_confirmation_can_be_sent_again(client: Client, mailoutbox: list[object]) -> None:
    eve = make_user("eve@example.com", verified=False)
    make_workspace(owner=eve)
    client.force_login(eve)
    response = client.post("/accounts/email/", {"email": "eve@example.com", "action_send": "1"})
    assert response.status_code == 302
    assert len(mailoutbox) == 1


def test_a_suspended_workspace_is_told_so(alice: Client, cast: Cast) -> None:
    suspend_workspace(cast.workspace.pk, reason="Unpaid <invoice>")
    response = alice.get(OVERVIEW)
    assertContains(response, "This workspace is suspended.")
    assertContains(response, "Unpaid &lt;invoice&gt;")


def test_a_frozen_wallet_is_told_so(alice: Client, cast: Cast) -> None:
    ledger.grant(workspace_id=cast.workspace.pk, kind="paid", amount=usd_to_nano("5"), source="card")
    ledger.clawback(workspace_id=cast.workspace.pk, grant_source="card", source="dispute", freeze=True)
    assertContains(alice.get(OVERVIEW), "wallet_frozen")


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_roles_without_billing_see_no_balance(client: Client, cast: Cast, role: Role) -> None:
    fund(cast.workspace, "41.86")
    client.force_login(make_member(cast.workspace, role))
    response = client.get(OVERVIEW)
    assertNotContains(response, "41.86")
    assertContains(response, "Your role sees no amounts")


def test_a_strangers_requests_are_never_shown(client: Client, cast: Cast, key: ApiKey) -> None:
    fund(cast.workspace, "10")
    make_request(cast.workspace, key=key, model="secret-project")
    client.force_login(cast.charlie)
    assertNotContains(client.get(OVERVIEW), "secret-project")


def test_the_number_of_requests_does_not_change_the_number_of_queries(alice: Client, cast: Cast) -> None:
    fund(cast.workspace, "10")
    made = 0

    def queries_with(requests: int) -> int:
        nonlocal made
        while made < requests:
            row = make_api_key(cast.workspace, name=f"key {made}").row
            make_request(cast.workspace, key=row, model=f"model-{made}")
            made += 1
        with CaptureQueriesContext(connection) as queries:
            alice.get(OVERVIEW)
        return len(queries)

    queries_with(1)  # the first page of a session writes the session down
    assert queries_with(2) == queries_with(20) <= 15
