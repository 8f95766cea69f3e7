"""Celery's door to the ledger: thin."""

from celery import shared_task

from billing.services import ledger


@shared_task
def sweep_grants() -> int:
    """Write off expired credit everywhere; return how many grants lost something. Admission does not depend on it."""
    return ledger.sweep_grants()
