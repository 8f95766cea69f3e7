"""The webhook's door: what Stripe signed goes into the inbox, once; all else is turned away, counted and changes nothing.

Fails closed: without a secret it refuses everything.
"""

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connection

from billing.models import StripeEvent
from billing.payments import stripe_api
from lumyx.lib import clock

#: Seconds by which a delivery may be late (or early): Stripe signs each attempt anew.
TOLERANCE = 300
#: Bytes; Stripe's largest events are far below.
MAX_BODY = 1_048_576

_COUNT = """
INSERT INTO billing_refuseddelivery (day, reason, count, last_from, last_claim, last_at)
VALUES (%s, %s, 1, %s, %s, %s)
ON CONFLICT (day, reason) DO UPDATE SET count = billing_refuseddelivery.count + 1,
    last_from = EXCLUDED.last_from, last_claim = EXCLUDED.last_claim, last_at = EXCLUDED.last_at
"""


class RefusedError(Exception):
    """A delivery is turned away. ``reason`` is a word for the operator's table, ``status`` what the sender gets."""

    def __init__(self, reason: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


def take_delivery(body: bytes, signature: str) -> tuple[StripeEvent, bool]:
    """Put a delivery into the inbox and return its row, and whether it is new. Raises RefusedError."""
    if not settings.STRIPE_WEBHOOK_SECRETS:
        raise RefusedError("no_secret", "This installation has no STRIPE_WEBHOOK_SECRET.", status=503)
    if len(body) > MAX_BODY:
        raise RefusedError("too_large", f"A delivery has at most {MAX_BODY} bytes.", status=413)
    event = _checked(body, signature)
    return keep(event)


def keep(event: Mapping[str, Any]) -> tuple[StripeEvent, bool]:
    """Put an event that is surely Stripe's into the inbox, once; return its row, and whether it is new."""
    return StripeEvent.objects.get_or_create(
        id=event["id"],
        defaults={
            "type": event["type"],
            "object_id": str(event["data"]["object"].get("id") or "")[:255],
            "payload": _storable(event),
            "happened_at": dt.datetime.fromtimestamp(event["created"], dt.UTC),
        },
    )


def _storable(value: Any) -> Any:
    """Return JSON as PostgreSQL can keep it: a customer's name may have characters in it that its texts cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def count_refusal(refused: RefusedError, *, sender: str, body: bytes) -> None:
    """Count a delivery that was turned away, with what it claimed to be."""
    now = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [now.date(), refused.reason, sender[:45], _claim(body), now])


def _checked(body: bytes, signature: str) -> dict[str, Any]:
    if not signature:
        raise RefusedError("unsigned", "There is no Stripe-Signature header.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise RefusedError("malformed", "The body is not UTF-8.") from None
    secrets = settings.STRIPE_WEBHOOK_SECRETS
    if not any(stripe_api.is_signed_by(text, signature, secret, tolerance=TOLERANCE) for secret in secrets):
        if any(stripe_api.is_signed_by(text, signature, secret, tolerance=None) for secret in secrets):
            raise RefusedError("stale", f"The signature is older than {TOLERANCE} seconds.")
        raise RefusedError("forged", "No secret of ours made this signature.")
    event = _event_in(text)
    if event["livemode"] != stripe_api.is_live():
        mode = "live" if event["livemode"] else "test"
        raise RefusedError("wrong_mode", f"This is an event of the {mode} mode, and our keys are of the other.")
    return event


def _event_in(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
        is_event = (
            event["object"] == "event"
            and isinstance(event["id"], str)
            and isinstance(event["type"], str)
            and isinstance(event["created"], int)
            and isinstance(event["livemode"], bool)
            and isinstance(event["data"]["object"], dict)
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        is_event = False
    if not is_event or len(event["id"]) > 100 or len(event["type"]) > 100:
        raise RefusedError("malformed", "The body is signed, but it is no event.")
    return dict(event)


def _claim(body: bytes) -> str:
    """Return what a body says of itself, for people: its beginning, without line ends and NULs."""
    text = body[:200].decode(errors="replace")
    return " ".join(text.replace("\0", " ").split())[:200]
