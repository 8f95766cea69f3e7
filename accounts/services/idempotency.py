"""Repeatable requests of the management API: the same Idempotency-Key within a day gets the first answer, and changes nothing.

The answer is written in the transaction of what it answers, so a crash leaves both or neither. Two at once: the second waits
for the first at the unique index, and then finds its answer.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import psycopg.errors
from django.db import IntegrityError, OperationalError, transaction

from accounts.models import IdempotentAnswer
from lumyx.lib import clock

#: How long an answer is kept.
KEPT = dt.timedelta(hours=24)
_PENDING = 0


class IdempotencyKeyReusedError(Exception):
    """The key came with another request before."""


class IdempotencyKeyBusyError(Exception):
    """The first request with this key is still running."""


type Answer = tuple[int, Mapping[str, Any]]


def answer_once(
    *, management_key_id: int, key: str, fingerprint: bytes, act: Callable[[], Answer]
) -> tuple[Answer, bool]:
    """Return the answer of ``act``, or the one that it gave before; and whether it is a repeated one.

    Args:
        management_key_id: whose keys they are.
        key: what the client sent, 1 to 255 characters.
        fingerprint: 32 bytes that tell the request from others.
        act: does what was asked, in this transaction, and returns (status, body). What it raises undoes all. A ``secret`` in
            its body is given out once, and not kept.

    Raises:
        IdempotencyKeyReusedError, IdempotencyKeyBusyError.
    """
    with transaction.atomic():
        row, is_new = _claim(management_key_id, key, fingerprint)
        if not is_new:
            if bytes(row.fingerprint) != fingerprint:
                raise IdempotencyKeyReusedError
            return (row.status, row.body), True
        status, body = act()
        row.status, row.body = status, {**body, "secret": None} if "secret" in body else dict(body)
        row.save(update_fields=["status", "body"])
        return (status, body), False


def _claim(management_key_id: int, key: str, fingerprint: bytes) -> tuple[IdempotentAnswer, bool]:
    # What is too old is no answer any more, whether or not it has been removed.
    IdempotentAnswer.objects.filter(
        management_key_id=management_key_id, key=key, created_at__lte=clock.now() - KEPT
    ).delete()
    try:
        with transaction.atomic():
            row = IdempotentAnswer.objects.create(
                management_key_id=management_key_id, key=key, fingerprint=fingerprint, status=_PENDING, body={}
            )
        return row, True
    except IntegrityError:
        # Whoever was first has committed: until then the insert waited.
        found = IdempotentAnswer.objects.filter(management_key_id=management_key_id, key=key).first()
        if found is None:
            raise IdempotencyKeyBusyError from None
        return found, False
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise IdempotencyKeyBusyError from error
        raise


def forget_old_answers() -> int:
    """Remove answers that are not kept any more; returns how many."""
    removed, _ = IdempotentAnswer.objects.filter(created_at__lte=clock.now() - KEPT).delete()
    return removed
