"""Webhooks: events signed as Stripe signs them, in order or shuffled, repeated, dropped and forged."""

import copy
import hashlib
import hmac
import json
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rig.stripe.state import Record

FLAWS = ("forged", "unsigned", "stale", "livemode", "currency")


@dataclass(frozen=True)
class Parcel:
    """One delivery: the raw body and the `stripe-signature` header, None when unsigned."""

    payload: bytes
    header: str | None


def sign(payload: bytes, *, secrets: Sequence[str], at: int) -> str:
    """Return the header: a v1 signature per secret, as during a rotation; `at` in Unix seconds."""
    signed = b"%d." % at + payload
    marks = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={mark}" for mark in marks)])


def pack(event: Record, *, secrets: Sequence[str], at: int, flaw: str | None = None) -> Parcel:
    """Return the delivery of an event, with one of FLAWS when asked. Raises ValueError for another flaw."""
    if flaw is not None and flaw not in FLAWS:
        raise ValueError(f"flaw is one of {', '.join(FLAWS)}.")
    event = copy.deepcopy(event)
    if flaw == "livemode":
        event["livemode"] = event["data"]["object"]["livemode"] = True
    if flaw == "currency":
        event["data"]["object"]["currency"] = "jpy"
    payload = json.dumps(event).encode()
    if flaw == "unsigned":
        return Parcel(payload, None)
    keys = ["whsec_forged"] if flaw == "forged" else secrets
    return Parcel(payload, sign(payload, secrets=keys, at=at - 301 if flaw == "stale" else at))


def arrange(
    events: Iterable[Record],
    *,
    copies: int = 1,
    seed: int | None = None,
    dropped: Callable[[Record], bool] = lambda event: False,
    delayed: Callable[[Record], bool] = lambda event: False,
) -> list[Record]:
    """Return events as they arrive: without the dropped, `copies` of each, the delayed last, shuffled by `seed`."""
    kept = [event for event in events if not dropped(event) for _ in range(copies)]
    if seed is not None:
        random.Random(seed).shuffle(kept)
    return sorted(kept, key=delayed)


def post(url: str, parcel: Parcel, *, timeout_s: float = 10) -> int:
    """Post a delivery and return the HTTP status, 0 when nobody answered."""
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0"}
    if parcel.header is not None:
        headers["Stripe-Signature"] = parcel.header
    request = urllib.request.Request(url, data=parcel.payload, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
