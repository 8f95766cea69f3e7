"""The nightly comparison: the books with themselves, with usage, and with Stripe. What is wrong is an alarm and a report."""

import logging

from billing.payments.errors import PaymentsError
from billing.payments.reconcile import compare_with_stripe
from billing.payments.stripe_api import payments_are_on
from billing.services.reconciliations import Check, begin, finish
from gateway.services.reconciliation import usage_checks

logger = logging.getLogger(__name__)


def reconcile() -> bool:
    """Run every check, keep the report, and log an error for each thing that is wrong; True if there is none."""
    run = begin()
    # Stripe first: what it makes up for is in the books when they are looked at.
    checks = [*_with_stripe(), *(Check(each.name, each.looked_at, [], list(each.wrong)) for each in usage_checks())]
    for check in checks:
        for text in check.put_right:
            logger.warning("Reconciliation %s put right: %s", check.name, text)
        for text in check.wrong:
            logger.error("Reconciliation %s: %s", check.name, text)
    return finish(run, checks)


def _with_stripe() -> list[Check]:
    if not payments_are_on():
        return []
    try:
        return [Check(each.name, each.looked_at, each.put_right, each.wrong) for each in compare_with_stripe()]
    except PaymentsError as error:
        return [Check("stripe", 0, [], [f"Stripe could not be compared with the books: {error}"])]
