"""Where Stripe delivers its events. A delivery is answered once it is in the inbox; applying it is a task's work."""

import logging

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from kombu.exceptions import OperationalError

from billing.payments.webhook import MAX_BODY, RefusedError, count_refusal, take_delivery
from billing.tasks import apply_stripe_events

logger = logging.getLogger(__name__)


@csrf_exempt
@require_POST
def take_stripe_event(request: HttpRequest) -> HttpResponse:
    """Keep an event that Stripe signed (200), or turn a delivery away (4xx, 503) and count it."""
    body = request.read(MAX_BODY + 1)
    try:
        event, is_new = take_delivery(body, request.headers.get("Stripe-Signature", ""))
    except RefusedError as refused:
        logger.warning("A delivery to the Stripe webhook was turned away (%s): %s", refused.reason, refused)
        count_refusal(refused, sender=request.META.get("REMOTE_ADDR", ""), body=body)
        return HttpResponse(f"{refused}\n", content_type="text/plain", status=refused.status)
    if is_new:
        _apply_soon(event.pk)
    return HttpResponse("ok\n", content_type="text/plain")


def _apply_soon(event_id: str) -> None:
    """Ask a worker to look into the inbox. Without a broker the schedule does, within half a minute."""
    try:
        apply_stripe_events.delay()
    except OperationalError:
        logger.warning("No broker: the event %s waits for the schedule.", event_id)
