"""``ledger verify``: charges computed anew; every kind of tampering is found, and a long history costs no more statements."""

import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Workspace
from billing.rating import charge_for
from gateway.models import CatalogModel, Price
from gateway.selectors import charge_audit
from gateway.selectors.charge_audit import audit_charges
from tests.factories import fund, make_workspace
from tests.gateway.test_receipts import RATES, USAGE, make_price, settle

pytestmark = pytest.mark.django_db
CHARGE = charge_for(USAGE, RATES)


@pytest.fixture
def workspace() -> Workspace:
    """A workspace with a dollar."""
    row = make_workspace()
    fund(row, "1")
    return row


@pytest.fixture
def price() -> Price:
    """The price of what is settled."""
    return make_price()


def execute(statement: str, *values: int | uuid.UUID) -> None:
    """Change rows behind the services' back."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # past the triggers that refuse it
        cursor.execute(statement, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


def usual_history(workspace: Workspace, price: Price) -> uuid.UUID:
    """Settle one request of each kind; return the id of a plain, paid one."""
    nothing = dict.fromkeys(
        ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"), 0
    )
    settle(workspace, hold=18_000, rated=CHARGE, price_id=price.pk)  # the rest is absorbed
    settle(workspace, hold=0, rated=0, price_id=price.pk, is_free=True)
    settle(workspace, rated=None, price_id=price.pk, status="released", usage_source="none", **nothing)
    settle(workspace, rated=None, price_id=None, status="expired", usage_source="none", **nothing)
    return settle(workspace, rated=CHARGE, price_id=price.pk)


def test_charges_that_are_right_are_counted(workspace: Workspace, price: Price) -> None:
    usual_history(workspace, price)
    settle(make_funded(), rated=CHARGE, price_id=price.pk)
    audit = audit_charges(workspace.pk)
    assert (audit.checked, audit.wrong, audit.unpriced) == (5, [], 0)


def make_funded() -> Workspace:
    """Make another workspace with a dollar."""
    row = make_workspace()
    fund(row, "1")
    return row


def wrong_in(workspace: Workspace) -> list[tuple[str, str, int, int]]:
    """Return what is wrong in short."""
    return [
        (row["invariant"], row["subject"], row["actual"], row["expected"]) for row in audit_charges(workspace.pk).wrong
    ]


@pytest.mark.breaks_the_books
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE gateway_usageevent SET output_tokens = output_tokens + 1 WHERE id = %s",
            [("charge_is_usage_times_price", CHARGE, CHARGE + 1500)],
        ),
        (
            "UPDATE gateway_usageevent SET absorbed = 1 WHERE id = %s",
            [("charge_is_usage_times_price", CHARGE + 1, CHARGE)],
        ),
        (
            "UPDATE gateway_usageevent SET charge = charge - 1 WHERE id = %s",
            [
                ("charge_is_usage_times_price", CHARGE - 1, CHARGE),
                ("hold_is_the_charge_of_its_event", CHARGE, CHARGE - 1),
                ("usage_entries_are_the_charge_of_their_event", CHARGE, CHARGE - 1),
            ],
        ),
        (
            "UPDATE billing_hold SET actual = actual - 1 WHERE id = %s",
            [("hold_is_the_charge_of_its_event", CHARGE - 1, CHARGE)],
        ),
        (
            "UPDATE billing_ledgerentry SET amount = amount - 1 WHERE ref = %s::uuid::text",
            [("usage_entries_are_the_charge_of_their_event", CHARGE + 1, CHARGE)],
        ),
        ("DELETE FROM gateway_usageevent WHERE id = %s", [("usage_entry_has_an_event", CHARGE, 0)]),
        (
            "DELETE FROM billing_ledgerentry WHERE ref = %s::uuid::text",
            [("usage_entries_are_the_charge_of_their_event", 0, CHARGE)],
        ),
    ],
)
def test_whatever_was_changed_afterwards_is_found(
    workspace: Workspace, price: Price, statement: str, expected: list[tuple[str, int, int]]
) -> None:
    request_id = usual_history(workspace, price)
    execute(statement, request_id)
    assert wrong_in(workspace) == [(invariant, str(request_id), *amounts) for invariant, *amounts in expected]


def test_a_price_that_was_changed_afterwards_is_found(workspace: Workspace, price: Price) -> None:
    request_id = settle(workspace, rated=CHARGE, price_id=price.pk)
    execute("UPDATE gateway_price SET input = input + 1000000 WHERE id = %s", price.pk)
    # 12 input tokens and one written to a cache, a nano-USD more each.
    assert wrong_in(workspace) == [("charge_is_usage_times_price", str(request_id), CHARGE, CHARGE + 13)]


def test_a_charge_whose_price_is_gone_is_still_compared_with_the_books(workspace: Workspace, price: Price) -> None:
    settle(workspace, rated=CHARGE, price_id=price.pk)
    CatalogModel.objects.all().delete()
    audit = audit_charges(workspace.pk)
    assert (audit.checked, audit.wrong, audit.unpriced) == (1, [], 1)


def test_a_long_history_takes_no_more_statements(
    workspace: Workspace, price: Price, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(workspace, rated=CHARGE, price_id=price.pk)
    with CaptureQueriesContext(connection) as short:
        audit_charges(workspace.pk)
    for _ in range(20):
        settle(workspace, rated=CHARGE, price_id=price.pk)
    monkeypatch.setattr(charge_audit, "CHUNK", 3)
    with CaptureQueriesContext(connection) as long:
        assert audit_charges(workspace.pk).checked == 21
    assert len(long) == len(short)


def verify(workspace: Workspace) -> tuple[str, str]:
    """Run the command; return what it wrote."""
    out, err = StringIO(), StringIO()
    call_command("ledger", "verify", "--workspace", workspace.slug, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_counts_charges_beside_the_books(workspace: Workspace, price: Price) -> None:
    settle(workspace, rated=CHARGE, price_id=price.pk)
    # A wallet, its overdraft and its credit, a hold, two entries; and the charge.
    assert verify(workspace) == ("7 rows and charges checked, all right.\n", "")
    CatalogModel.objects.all().delete()
    assert "1 charges were not computed anew" in verify(workspace)[1]


@pytest.mark.breaks_the_books
def test_the_command_fails_for_a_charge_that_is_wrong(workspace: Workspace, price: Price) -> None:
    request_id = settle(workspace, rated=CHARGE, price_id=price.pk)
    execute("UPDATE gateway_usageevent SET input_tokens = 0 WHERE id = %s", request_id)
    out: Any = StringIO()
    with pytest.raises(CommandError, match="1 wrong in the books"):
        call_command("ledger", "verify", "--workspace", workspace.slug, "--json", stdout=out)
    assert f'"subject": "{request_id}"' in out.getvalue()
    assert f'"actual": "{CHARGE}"' in out.getvalue()
