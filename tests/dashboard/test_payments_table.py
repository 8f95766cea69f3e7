"""Payments and invoices on the credits page: one table, newest first, each line with its state and its documents."""

import datetime as dt
import re
from typing import Any

import pytest
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains

from accounts.models import Workspace
from billing.models import CreditOrder, Invoice, OrderKind, Payment
from billing.selectors.payments import payment_lines_of
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from tests.factories import Cast, make_cast

pytestmark = pytest.mark.django_db

CREDITS = "/dashboard/credits"
RECEIPT, HOSTED, PDF = (f"https://stripe.example.com/{name}" for name in ("receipt", "invoice", "pdf"))


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def paid(workspace: Workspace, number: int, *, kind: str = OrderKind.CHECKOUT, **fields: object) -> Payment:
    """Make a payment of $10 for an order, ``number`` days ago."""
    at = clock.now() - dt.timedelta(days=number)
    order = CreditOrder.objects.create(workspace=workspace, kind=kind, amount=10 * USD, state="paid", finished_at=at)
    values = {"amount": 10 * USD, "paid_at": at, "receipt_url": RECEIPT, **fields}
    return Payment.objects.create(stripe_id=f"pi_{workspace.pk}_{number}", workspace=workspace, order=order, **values)


def invoiced(workspace: Workspace, number: int, *, status: str) -> Invoice:
    """Make an invoice of $15, ``number`` days ago."""
    return Invoice.objects.create(
        stripe_id=f"in_{number}",
        workspace=workspace,
        subscription_id="sub_1",
        number=f"LX-{number}",
        status=status,
        total=15 * USD,
        hosted_url=HOSTED,
        pdf_url=PDF,
        created_at=clock.now() - dt.timedelta(days=number),
    )


def rows_in(html: str) -> list[str]:
    """Return the table's lines as text."""
    table = html.partition('<table class="pay-t">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr>\s*<td(.*?)</tr>", table, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", f"<td{row}").split()) for row in rows]


def test_each_kind_of_line_is_there_once_and_newest_first(alice: Client, cast: Cast) -> None:
    workspace = cast.workspace
    paid(workspace, 1)
    paid(workspace, 2, kind=OrderKind.TOP_UP)
    invoiced(workspace, 3, status="paid")
    at = clock.now() - dt.timedelta(days=3)
    Payment.objects.create(
        stripe_id="pi_plan", workspace=workspace, invoice_id="in_3", amount=15 * USD, receipt_url=RECEIPT, paid_at=at
    )
    invoiced(workspace, 4, status="open")
    invoiced(workspace, 5, status="draft")
    CreditOrder.objects.create(
        workspace=workspace,
        kind=OrderKind.TOP_UP,
        amount=25 * USD,
        state="failed",
        error="insufficient_funds",
        finished_at=clock.now() - dt.timedelta(days=6),
    )
    CreditOrder.objects.create(workspace=workspace, kind=OrderKind.CHECKOUT, amount=25 * USD, state="expired")
    rows = rows_in(alice.get(CREDITS).content.decode())
    starts = [
        "Credit Paid",
        "Automatic top-up Paid",
        "Plan LX-3 Paid",
        "Plan LX-4 To be paid",
        "Automatic top-up Failed",
    ]
    assert [row.startswith(start) for row, start in zip(rows, starts, strict=True)] == [True] * 5
    assert "The card has too little money." in rows[4]
    assert [row.rsplit("$", 1)[1] for row in rows] == ["10.00", "10.00", "15.00", "15.00", "25.00"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"refunded": 4 * USD}, "Paid $4.00 refunded"),
        ({"refunded": 10 * USD}, "Refunded"),
        ({"dispute": "needs_response"}, "Disputed"),
        ({"dispute": "under_review", "refunded": USD}, "Disputed $1.00 refunded"),
        ({"dispute": "won"}, "Dispute won"),
        ({"dispute": "lost"}, "Dispute lost"),
        ({"dispute": "warning_needs_response"}, "Bank’s inquiry"),
        ({"dispute": "warning_closed"}, "Inquiry closed"),
    ],
)
def test_what_went_back_is_said(alice: Client, cast: Cast, fields: dict[str, Any], text: str) -> None:
    paid(cast.workspace, 1, **fields)
    (row,) = rows_in(alice.get(CREDITS).content.decode())
    assert row.startswith(f"Credit {text} Receipt")


def test_documents_open_in_a_new_tab_that_knows_nothing_of_this_one(alice: Client, cast: Cast) -> None:
    paid(cast.workspace, 1)
    invoiced(cast.workspace, 2, status="open")
    html = alice.get(CREDITS).content.decode()
    for address, text in ((RECEIPT, "Receipt"), (HOSTED, "Pay the invoice"), (PDF, "PDF")):
        assert f'href="{address}" target="_blank" rel="noopener noreferrer">{text}<' in html


def test_pages_of_payments_hold_every_line_once(alice: Client, cast: Cast) -> None:
    for number in range(1, 13):
        paid(cast.workspace, number)
    response = alice.get(CREDITS)
    assert len(rows_in(response.content.decode())) == 10
    assertContains(response, 'href="?page=2#payments"')
    response = alice.get(CREDITS, {"page": "2"})
    assert len(rows_in(response.content.decode())) == 2
    assertContains(response, 'href="?page=1#payments"')
    assertContains(alice.get(CREDITS, {"page": "3"}), "No older payments")
    for page in ("x", "-1", "0", "9" * 30, "²"):
        assert len(rows_in(alice.get(CREDITS, {"page": page}).content.decode())) == 10, page
    everything = payment_lines_of(cast.workspace.pk, limit=100)
    assert everything == payment_lines_of(cast.workspace.pk, limit=7) + payment_lines_of(
        cast.workspace.pk, limit=100, offset=7
    )


def test_a_strangers_payments_are_not_shown(client: Client, cast: Cast) -> None:
    paid(cast.workspace, 1)
    invoiced(cast.workspace, 2, status="open")
    CreditOrder.objects.create(workspace=cast.workspace, kind=OrderKind.TOP_UP, amount=USD, state="failed")
    client.force_login(cast.charlie)
    response = client.get(CREDITS)
    assertContains(response, "No payments yet")
    assertNotContains(response, "stripe.example.com")
