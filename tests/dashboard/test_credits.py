"""The credits page: what is left of which kind, and every line of the books with the balance after it."""

import datetime as dt
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.asserts import assertContains, assertNotContains

from accounts.models import ApiKey
from accounts.roles import Role
from billing.selectors.grants import CreditLeft, credit_left_of
from billing.services import ledger
from billing.services.tiers import set_limits, set_tier
from billing.types import Admission
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD, nano_to_usd, usd_to_nano
from tests.dashboard.usage_rows import make_request, uuid7_at
from tests.factories import Cast, fund, make_api_key, make_cast, make_member

pytestmark = pytest.mark.django_db

CREDITS = "/dashboard/credits"


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    return make_api_key(cast.workspace).row


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def balances_in(html: str) -> list[str]:
    """Return the exact balances of the ledger's lines, from top to bottom."""
    return re.findall(r'class="l-after[^>]*><data value="([^"]+)"', html)


def amounts_in(html: str) -> list[str]:
    """Return the exact amounts of the ledger's lines, from top to bottom."""
    return re.findall(r'class="l-amount[^>]*>\+?<data value="([^"]+)"', html)


def test_without_credits_the_page_says_what_works_and_whom_to_ask(alice: Client, cast: Cast) -> None:
    response = alice.get(CREDITS)
    assertContains(response, "No credits yet")
    assertContains(response, "Ask its operator to add credit")
    assertContains(response, cast.workspace.slug)
    assertContains(response, "No entries yet")
    assertContains(response, "No payments yet")
    assertNotContains(response, "Continue to payment")


def test_each_kind_is_shown_with_its_expiry_in_the_order_of_spending(alice: Client, cast: Cast) -> None:
    fund(cast.workspace, "7")
    soon = clock.now() + dt.timedelta(days=3, hours=1)
    for kind, usd, expires_at in (("promo", "2", None), ("vip", "4", soon)):
        ledger.grant(
            workspace_id=cast.workspace.pk, kind=kind, amount=usd_to_nano(usd), source=kind, expires_at=expires_at
        )
    html = alice.get(CREDITS).content.decode()
    positions = [
        html.index(f"{name} credits</span>" if name != "VIP" else "VIP credits <") for name in ("VIP", "Promo", "Paid")
    ]
    assert positions == sorted(positions)
    assert "in 3 days" in html
    assert "$13.00" in html


def test_expired_credit_is_not_left_even_before_it_is_swept(cast: Cast) -> None:
    ledger.grant(
        workspace_id=cast.workspace.pk,
        kind="vip",
        amount=5,
        source="old",
        expires_at=clock.now() + dt.timedelta(milliseconds=30),
    )
    fund(cast.workspace, "1")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.06)")
    assert credit_left_of(cast.workspace.pk) == [CreditLeft("paid", usd_to_nano("1"), None)]
    assert credit_left_of(cast.other_workspace.pk) == []


def test_the_ledger_has_every_line_with_the_balance_after_it(alice: Client, cast: Cast, key: ApiKey) -> None:
    fund(cast.workspace, "1")
    settled = make_request(cast.workspace, key=key, charge=250_000_001)
    response = alice.get(CREDITS)
    html = response.content.decode()
    assert amounts_in(html) == ["-0.250000001", "1"]
    assert balances_in(html) == ["0.749999999", "1"]
    assert settled.request_id.hex in html  # as the API named it to the client
    assertContains(response, "Credit added")


def test_held_money_is_not_available(alice: Client, cast: Cast, key: ApiKey) -> None:
    fund(cast.workspace, "10")
    four = usd_to_nano("4")
    admission = Admission(uuid7_at(clock.now()), cast.workspace.pk, key.pk, "m", four, four, 600.0)
    assert ledger.admit([admission])[0].refusal is None
    html = alice.get(CREDITS).content.decode()
    sums = re.findall(r"<dt>(Available|Held|Total)</dt><dd[^>]*><data value=\"([^\"]+)\"", html)
    assert sums == [("Available", "6"), ("Held", "4"), ("Total", "10")]


def test_pages_of_the_ledger_hold_every_line_once(alice: Client, cast: Cast, key: ApiKey) -> None:
    fund(cast.workspace, "1")
    for number in range(1, 60):
        make_request(cast.workspace, key=key, charge=number)
    path, amounts, balances = CREDITS, [], []
    for _ in range(5):
        html = alice.get(path).content.decode()
        amounts += amounts_in(html)
        balances += balances_in(html)
        older = re.search(r'href="(\?before=\d+)#ledger"', html)
        if older is None:
            break
        path = CREDITS + older[1]
    assert amounts == [f"-0.{number:09}".rstrip("0") for number in range(59, 0, -1)] + ["1"]
    assert balances[0] == f"0.{10**9 - sum(range(60))}".rstrip("0")
    assert balances[-1] == "1"


def test_a_filter_keeps_the_balance_of_each_line(alice: Client, cast: Cast, key: ApiKey) -> None:
    for number in range(1, 31):
        fund(cast.workspace, "1")
        make_request(cast.workspace, key=key, charge=number)
    html = alice.get(CREDITS, {"kind": "usage"}).content.decode()
    assert amounts_in(html) == [f"-0.{number:09}".rstrip("0") for number in range(30, 5, -1)]
    left = 30 * NANO_PER_USD - sum(range(31))
    assert balances_in(html)[:2] == [nano_to_usd(left), nano_to_usd(left + 30 - NANO_PER_USD)]
    older = re.search(r'href="(\?kind=usage&amp;before=\d+)#ledger"', html)
    assert older is not None
    html = alice.get(CREDITS + older[1].replace("&amp;", "&")).content.decode()
    assert amounts_in(html) == [f"-0.{number:09}".rstrip("0") for number in range(5, 0, -1)]
    assert balances_in(html)[-1] == "0.999999999"
    assert amounts_in(alice.get(CREDITS, {"kind": "added"}).content.decode()) == ["1"] * 25
    assertContains(alice.get(CREDITS, {"kind": "gone"}), "No entries of this kind")
    assert len(amounts_in(alice.get(CREDITS, {"kind": "no such"}).content.decode())) == 25


def test_htmx_gets_the_ledger_alone(alice: Client, cast: Cast) -> None:
    fund(cast.workspace, "1")
    headers = {"HX-Request": "true", "HX-Target": "ledger"}
    html = alice.get(CREDITS, {"kind": "added"}, headers=headers).content.decode()
    assert amounts_in(html) == ["1"]
    assert "<h1>" not in html
    assert html.lstrip().startswith('<section class="card reqs" id="ledger"')


def test_how_long_the_credit_lasts_is_said_where_it_is_known(alice: Client, cast: Cast, key: ApiKey) -> None:
    assertContains(alice.get(CREDITS), "Nothing is left to spend")
    fund(cast.workspace, "21")
    assertContains(alice.get(CREDITS), "Nothing was charged in the last 7 days")
    make_request(cast.workspace, key=key, charge=NANO_PER_USD)
    assertContains(alice.get(CREDITS), "Too little use yet")
    make_request(cast.workspace, key=key, charge=NANO_PER_USD, at=clock.now() - dt.timedelta(days=3))
    html = alice.get(CREDITS).content.decode()
    days = re.search(r"About (\d+) days</span> at the last 7 days’ pace", html)
    assert days is not None
    assert int(days[1]) + 0.5 >= 19 * 3 / 2
    assert int(days[1]) - 0.5 <= 19 * 4 / 2


def test_a_debt_is_shown_below_zero(alice: Client, cast: Cast, key: ApiKey) -> None:
    ledger.grant(workspace_id=cast.workspace.pk, kind="paid", amount=NANO_PER_USD, source="card")
    make_request(cast.workspace, key=key, charge=NANO_PER_USD // 4)
    ledger.clawback(workspace_id=cast.workspace.pk, grant_source="card", source="refund")
    response = alice.get(CREDITS)
    assertContains(response, "Debt")
    assertContains(response, '<data value="-0.25"')
    assertContains(response, "Nothing is left to spend")


@pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "²", ""])
def test_a_page_that_is_no_page_is_the_newest(alice: Client, cast: Cast, before: str) -> None:
    fund(cast.workspace, "1")
    html = alice.get(CREDITS, {"before": before}).content.decode()
    assert amounts_in(html) == ["1"]


def test_before_the_first_line_there_is_nothing_but_a_way_back(alice: Client, cast: Cast) -> None:
    fund(cast.workspace, "1")
    assertContains(alice.get(CREDITS, {"before": "1"}), "No older entries")


def test_the_tier_card_shows_what_holds_now(alice: Client, cast: Cast) -> None:
    assertContains(alice.get(CREDITS), "0 of 25 used")
    set_tier(cast.workspace.pk, tier_slug="vip2")
    response = alice.get(CREDITS)
    assertContains(response, "VIP 2")
    assertContains(response, "0 of 300 used")
    assertContains(response, "a gift of the operator")
    set_limits(cast.workspace.pk, daily_requests=0)
    assertContains(alice.get(CREDITS), "0, unlimited")


def test_a_frozen_wallet_is_said_at_the_top(alice: Client, cast: Cast) -> None:
    ledger.grant(workspace_id=cast.workspace.pk, kind="paid", amount=usd_to_nano("5"), source="card")
    ledger.clawback(workspace_id=cast.workspace.pk, grant_source="card", source="dispute", freeze=True)
    assertContains(alice.get(CREDITS), "wallet_frozen")


@pytest.mark.parametrize(
    ("role", "status"), [(Role.ADMIN, 200), (Role.BILLING, 200), (Role.DEVELOPER, 403), (Role.VIEWER, 403)]
)
def test_only_roles_that_see_money_see_it(client: Client, cast: Cast, role: Role, status: int) -> None:
    fund(cast.workspace, "123")
    client.force_login(make_member(cast.workspace, role))
    response = client.get(CREDITS)
    assert response.status_code == status
    assert ("$123.00" in response.content.decode()) == (status == 200)


def test_a_strangers_books_are_never_shown(client: Client, cast: Cast) -> None:
    fund(cast.workspace, "123")
    client.force_login(cast.charlie)
    assertNotContains(client.get(CREDITS), "$123")
    entry = ledger.grant(workspace_id=cast.workspace.pk, kind="paid", amount=1, source="x").grant_id
    assertNotContains(client.get(CREDITS, {"before": entry + 100}), "$123")


def test_the_number_of_lines_does_not_change_the_number_of_queries(alice: Client, cast: Cast) -> None:
    def queries_with(lines: int) -> int:
        while len(amounts_in(alice.get(CREDITS).content.decode())) < lines:
            fund(cast.workspace, "1")
        with CaptureQueriesContext(connection) as queries:
            alice.get(CREDITS)
        return len(queries)

    assert queries_with(2) == queries_with(20) <= 18


def test_a_line_says_in_words_what_it_is_about(alice: Client, cast: Cast) -> None:
    workspace_id = cast.workspace.pk
    ledger.grant(workspace_id=workspace_id, kind="paid", amount=10, source="payment:pi_1", note="Purchase")
    ledger.clawback(workspace_id=workspace_id, grant_source="payment:pi_1", source="refund:re_1:payment:pi_1", amount=4)
    ledger.adjust(
        workspace_id=workspace_id, amount=7, reason="R-1", actor_id=None, source="a1", note="Sorry for Monday"
    )
    page = alice.get("/dashboard/credits").content.decode()
    for words in ("Purchase", "Refund: Purchase", "Sorry for Monday"):
        assert re.search(rf">\s*{words}\s*</span>", page), words
    assert "R-1" not in page
