"""The nightly comparison keeps a report, makes up for lost events, and alarms for what is wrong."""

import datetime as dt
import logging

import pytest
from django.conf import LazySettings

from billing.models import CreditOrder, Reconciliation
from billing.selectors.ledger import balance_of
from dashboard.tasks import reconcile
from gateway.services.usage import record_usage
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from tests.billing.payments.conftest import Shop
from tests.gateway.records import usage_record

pytestmark = pytest.mark.django_db


def test_what_was_lost_is_put_right_and_reported(shop: Shop) -> None:
    shop.buy(10)
    assert reconcile()
    assert balance_of(shop.account.id).posted == 10 * USD
    report = Reconciliation.objects.get()
    assert report.is_clean
    assert report.finished_at is not None
    assert report.findings["stripe_payments"]["put_right_count"] == 1
    assert {"ledger_invariants", "usage_charges_are_entries", "stripe_balance"} <= report.findings.keys()


def test_what_is_wrong_is_an_error_in_the_log_and_in_the_report(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.buy(10)
    CreditOrder.objects.update(amount=11 * USD)
    record_usage([usage_record(workspace_id=shop.account.id, charge=5, started_at=clock.now() - dt.timedelta(hours=1))])
    with caplog.at_level(logging.ERROR):
        assert not reconcile()
    report = Reconciliation.objects.get()
    assert not report.is_clean
    assert report.findings["stripe_payments"]["wrong_count"] == 1
    assert report.findings["usage_charges_are_entries"]["wrong_count"] == 1
    assert sum("Reconciliation" in record.message for record in caplog.records) >= 2


def test_without_keys_only_our_own_books_are_compared(settings: LazySettings) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert reconcile()
    assert not any(name.startswith("stripe") for name in Reconciliation.objects.get().findings)


def test_stripe_away_is_a_finding_and_not_the_end(shop: Shop) -> None:
    shop.fake.fail_next(*["500"] * 9)
    assert not reconcile()
    findings = Reconciliation.objects.get().findings
    assert "could not be compared" in findings["stripe"]["wrong"][0]
    assert "ledger_invariants" in findings
