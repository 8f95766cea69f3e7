"""Celery's door to the ledger and to what is owed: thin."""

from celery import shared_task

from billing.payments import inbox, top_up
from billing.services import ledger, low_balance, notice_sending, vip


@shared_task
def sweep_grants() -> int:
    """Write off expired credit everywhere; return how many grants lost something. Admission does not depend on it."""
    return ledger.sweep_grants()


@shared_task
def send_notices() -> int:
    """Send the e-mails that are owed; return how many were done with."""
    return notice_sending.send_notices()


@shared_task
def alert_low_balances() -> int:
    """Owe a notice to workspaces whose balance fell below a threshold; return how many."""
    return low_balance.alert_low_balances()


@shared_task
def refresh_vip_credits() -> int:
    """Grant the VIP credit that is due, also for time that was missed; return how many grants were made."""
    return vip.refresh()


@shared_task
def apply_stripe_events() -> int:
    """Bring what waits in the inbox into the books; return how many events were done with."""
    return inbox.apply_waiting()


@shared_task
def top_up_credits() -> int:
    """Buy credit where too little is left and its people asked for that; return how many purchases were begun or ended."""
    return top_up.top_up_due()
