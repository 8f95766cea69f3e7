"""Celery's door to what the accounts app does by itself: thin."""

from celery import shared_task

from accounts.services import idempotency


@shared_task
def forget_idempotent_answers() -> int:
    """Remove answers to repeatable requests that are older than a day; return how many."""
    return idempotency.forget_old_answers()
