"""Celery's door to what needs more than one app: thin."""

from celery import shared_task

from dashboard.flows import reconciliation


@shared_task
def reconcile() -> bool:
    """Compare the books with themselves, with usage and with Stripe; return whether all of it was right."""
    return reconciliation.reconcile()
