"""The inbox's worker: events are applied one by one, each marked in the transaction that applied it.

Several workers may run: rows are taken with SKIP LOCKED. Stripe away: the event stays, and is tried again with growing pauses.
Something that cannot be applied stays failed, is logged as an error, and waits for an operator (``retry``).
"""

import datetime as dt
import logging

from django.db import transaction

from billing.models import EventState, StripeEvent
from billing.payments import apply, customers, stripe_api, webhook
from billing.payments.errors import (
    BusyError,
    NotAppliedError,
    NotOursError,
    NotYetError,
    PaymentsError,
    PaymentsOffError,
    StripeRefusedError,
    StripeUnreachableError,
)
from lumyx.lib import clock

logger = logging.getLogger(__name__)

#: Pauses in seconds double from the first to the second of these; after so many attempts an event has failed.
FIRST_PAUSE, LONGEST_PAUSE, MAX_ATTEMPTS = 5, 3600, 40
#: Stripe's code for an object that it does not have: asking again brings nothing.
_MISSING = "resource_missing"


class UnknownEventError(PaymentsError, LookupError):
    """There is no such event in the inbox."""


def apply_waiting(*, limit: int = 500) -> int:
    """Apply events that wait, at most ``limit``; return how many were done with."""
    done = 0
    while done < limit and _apply_next():
        done += 1
    return done


def retry(event_id: str) -> StripeEvent:
    """Apply an event again, whatever became of it, and return its row. Twice is once. Raises UnknownEventError."""
    changed = StripeEvent.objects.filter(pk=event_id).update(
        state=EventState.NEW, next_attempt_at=clock.now(), attempts=0, error=""
    )
    if not changed:
        raise UnknownEventError(f"There is no event {event_id!r} in the inbox.")
    _apply_next(event_id)
    return StripeEvent.objects.get(pk=event_id)


def fetch(event_id: str) -> None:
    """Put an event into the inbox that never came, as Stripe has it (for 30 days).

    Raises:
        UnknownEventError: neither the inbox nor Stripe has it.
        PaymentsOffError, StripeUnreachableError: Stripe cannot be asked for it.
    """
    if StripeEvent.objects.filter(pk=event_id).exists():
        return
    try:
        event = stripe_api.fetched(stripe_api.client().v1.events.retrieve, event_id)
    except StripeRefusedError as error:
        raise UnknownEventError(f"Neither the inbox nor Stripe has an event {event_id!r}: {error}") from error
    webhook.keep(event)


def _apply_next(event_id: str | None = None) -> bool:
    """Take one event that is due and apply it; False if there is none."""
    try:
        with transaction.atomic():
            due = StripeEvent.objects.filter(state=EventState.NEW, next_attempt_at__lte=clock.now())
            if event_id is not None:
                due = due.filter(pk=event_id)
            event = due.order_by("next_attempt_at", "pk").select_for_update(skip_locked=True, of=("self",)).first()
            if event is None:
                return False
            taken = event.pk
            customers.let_stripe_take_its_time()
            event.state = EventState.DONE if apply.apply_event(event) else EventState.IGNORED
            event.error = ""
            event.finished_at = clock.now()
            event.save(update_fields=["state", "error", "finished_at"])
    except NotOursError as error:
        _finish(taken, EventState.IGNORED, str(error))
    except (StripeUnreachableError, PaymentsOffError, BusyError, NotYetError) as error:
        _postpone(taken, str(error))
    except NotAppliedError as error:
        _finish(taken, EventState.FAILED, str(error))
        logger.error("The event %s was not applied: %s", taken, error)
    except StripeRefusedError as error:
        if error.code == _MISSING:
            _finish(taken, EventState.FAILED, str(error))
        else:
            # Of our key, or of the account: an operator puts it right, and the event goes on.
            _postpone(taken, str(error))
        logger.error("The event %s was not applied, Stripe refuses: %s", taken, error)
    except Exception as error:
        # Whatever it is, the next event must not wait for it.
        logger.exception("The event %s could not be applied.", taken)
        _postpone(taken, f"{type(error).__name__}: {error}")
    return True


def _finish(event_id: str, state: EventState, error: str) -> None:
    # Another worker may have taken it since the transaction was rolled back, and be done with it.
    waiting = StripeEvent.objects.filter(pk=event_id, state=EventState.NEW)
    waiting.update(state=state, error=error[:2000], finished_at=clock.now())


@transaction.atomic
def _postpone(event_id: str, error: str) -> None:
    event = StripeEvent.objects.select_for_update().filter(pk=event_id, state=EventState.NEW).first()
    if event is None:
        return
    event.attempts += 1
    event.error = error[:2000]
    pause = min(FIRST_PAUSE * 2 ** min(event.attempts - 1, 20), LONGEST_PAUSE)
    event.next_attempt_at = clock.now() + dt.timedelta(seconds=pause)
    if event.attempts >= MAX_ATTEMPTS:
        event.state, event.finished_at = EventState.FAILED, clock.now()
        logger.error("The event %s was given up after %d attempts: %s", event_id, event.attempts, error)
    event.save(update_fields=["attempts", "error", "next_attempt_at", "state", "finished_at"])
