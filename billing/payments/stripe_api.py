"""The only module that speaks to Stripe: calls go out with an idempotency key, answers come back as our own values.

Fails with StripeUnreachableError where the same call may work later (the SDK has tried again by then), CardError and
StripeRefusedError where it will not. A list is read to its end.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import stripe
from django.conf import settings

from billing.payments.errors import CardError, PaymentsOffError, StripeRefusedError, StripeUnreachableError
from billing.payments.objects import read

#: Pinned: what is read in objects.py is of this version, whatever the account's own is.
API_VERSION = "2026-10-28.endive"
#: The code of a refusal where an idempotency key came before with other parameters: what was asked then, was done or refused then.
OTHER_PARAMETERS = "idempotency_error"
#: HTTP: the same key is being worked on.
_CONFLICT = 409
_SECONDS = 20
_RETRIES = 2
#: HTTP: a call with the same key is being worked on, by another process of ours.
_CONFLICT = 409


def payments_are_on() -> bool:
    """Tell whether this installation has Stripe keys."""
    return bool(settings.STRIPE_SECRET_KEY)


def is_live() -> bool:
    """Tell whether the keys move real money."""
    return "_live_" in settings.STRIPE_SECRET_KEY


@cache
def _client(key: str, base: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses={"api": base} if base else {},
        max_network_retries=_RETRIES,
        http_client=stripe.RequestsClient(timeout=_SECONDS),
    )


def client() -> stripe.StripeClient:
    """Return the client of this installation. Raises PaymentsOffError without keys."""
    if not payments_are_on():
        raise PaymentsOffError("Payments are off: this installation has no STRIPE_SECRET_KEY.")
    return _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)


@contextmanager
def _errors_in_our_words() -> Iterator[None]:
    try:
        yield
    except stripe.CardError as error:
        raise CardError(_words(error), code=_code(error), status=error.http_status) from error
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise StripeUnreachableError(f"Stripe cannot be reached: {_words(error)}") from error
    except stripe.IdempotencyError as error:
        raise StripeRefusedError(_words(error), code=OTHER_PARAMETERS, status=error.http_status) from error
    except stripe.APIError as error:
        raise StripeUnreachableError(f"Stripe has a problem: {_words(error)}") from error
    except stripe.StripeError as error:
        if error.http_status == _CONFLICT:
            raise StripeUnreachableError(f"Stripe is at this already: {_words(error)}") from error
        raise StripeRefusedError(_words(error), code=error.code or "", status=error.http_status) from error


def _words(error: stripe.StripeError) -> str:
    return error.user_message or str(error)


def _code(error: stripe.CardError) -> str:
    """Return why a card was declined, in the most telling of Stripe's codes."""
    declined = getattr(error.error, "decline_code", None) if error.error else None
    return (error.code if error.code != "card_declined" else declined or error.code) or "card_declined"


def send[T](
    wanted: type[T],
    method: Callable[..., Any],
    *ids: str,
    params: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> T:
    """Call a method of the SDK and return its answer as ``wanted``; ``key`` makes a repetition harmless."""
    return read(wanted, fetched(method, *ids, params=params, key=key))


def fetched(
    method: Callable[..., Any], *ids: str, params: Mapping[str, Any] | None = None, key: str | None = None
) -> dict[str, Any]:
    """Call a method of the SDK and return its answer as it is."""
    options = {"idempotency_key": key} if key else {}
    with _errors_in_our_words():
        return plain(method(*ids, params=dict(params or {}), options=options))


def listed[T](
    wanted: type[T], method: Callable[..., Any], *ids: str, params: Mapping[str, Any] | None = None
) -> list[T]:
    """Return all that a list of the SDK holds, page after page."""
    with _errors_in_our_words():
        page = method(*ids, params={"limit": 100, **(params or {})})
        return [read(wanted, plain(each)) for each in page.auto_paging_iter()]


def plain(answer: Any) -> dict[str, Any]:
    """Return an object of the SDK as the dictionaries and lists that it came as."""
    found: dict[str, Any] = answer.to_dict()
    return found


def is_signed_by(payload: str, signature: str, secret: str, *, tolerance: int | None) -> bool:
    """Tell whether Stripe signed a delivery with a secret, not longer than ``tolerance`` seconds ago (None: ever)."""
    try:
        stripe.WebhookSignature.verify_header(payload, signature, secret, tolerance)
    except stripe.SignatureVerificationError:
        return False
    return True
