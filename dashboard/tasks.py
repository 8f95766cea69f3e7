"""Celery's door to what needs more than one app: thin."""

from celery import shared_task

from dashboard.flows import reconciliation, workspaces


@shared_task
def reconcile() -> bool:
    """Compare the books with themselves, with usage and with Stripe; return whether all of it was right."""
    return reconciliation.reconcile()


@shared_task
def delete_workspaces() -> int:
    """Delete the workspaces whose time of grace is over; return how many."""
    return workspaces.delete_due_workspaces()
