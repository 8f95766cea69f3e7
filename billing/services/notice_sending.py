"""Sends the notices that are owed. Towards the mail server at least once; what was sent is never sent again.

A sender takes a notice for ten minutes, in a transaction of its own, so no row is locked while a mail server is waited for; two
senders never have the same one. Each person who has it is noted at once. What fails is tried again, later each time; what
failed too often is left with its error for an operator (the admin's list of notices).
"""

import datetime as dt
import logging
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.models import User
from billing.models import Notice
from billing.selectors.recipients import muted_among, people_of, recipient
from billing.services.notice_kinds import MUTABLE
from billing.services.notice_mail import message_of
from lumyx.lib import clock

#: Attempts before a notice is left to an operator: about a day and a half.
ATTEMPTS = 15
FIRST_WAIT = dt.timedelta(minutes=1)
LONGEST_WAIT = dt.timedelta(hours=6)
#: A sender that says nothing for this long is taken for dead.
LEASE = dt.timedelta(minutes=10)
#: Seconds that a sender works on one notice; what is left over is for the next attempt.
PATIENCE = 300.0
#: Notices a run.
RUN = 500

#: What a mail server says about one message or one address; any other failure is about the server.
_ABOUT_A_MESSAGE = (SMTPRecipientsRefused, SMTPDataError, SMTPSenderRefused)

logger = logging.getLogger(__name__)


def send_notices() -> int:
    """Send what is due; return how many notices were done with. A mail server that is away ends the run, nothing else."""
    done = 0
    for _ in range(RUN):
        notice = _take_next()
        if notice is None:
            break
        error = _send(notice)
        if error is None:
            done += 1
        elif isinstance(error, OSError) and not isinstance(error, _ABOUT_A_MESSAGE):
            break
    return done


def wait_after(attempts: int) -> dt.timedelta:
    """Return how long to wait after that many attempts: a minute, two, four, … six hours."""
    return min(FIRST_WAIT * (1 << (attempts - 1)), LONGEST_WAIT)


def send_again(notices: QuerySet[Notice]) -> int:
    """Try notices that were given up from the start; return how many. What was sent, or is still tried, stays as it is."""
    given_up = notices.filter(sent_at__isnull=True, gave_up_at__isnull=False)
    return given_up.update(attempts=0, error="", gave_up_at=None, next_attempt_at=Now())


@transaction.atomic
def _take_next() -> Notice | None:
    """Take the notice that has been due the longest, for this sender alone."""
    due = Notice.objects.filter(sent_at__isnull=True, gave_up_at__isnull=True, next_attempt_at__lte=Now())
    notice = (
        due.select_for_update(skip_locked=True, of=("self",))
        .select_related("workspace")
        .order_by("next_attempt_at", "pk")
        .first()
    )
    if notice is not None:
        notice.attempts += 1
        Notice.objects.filter(pk=notice.pk).update(attempts=notice.attempts, next_attempt_at=Now() + LEASE)
    return notice


def _send(notice: Notice) -> Exception | None:
    """Send a notice to everybody who has it not yet; return what went wrong."""
    try:
        people = _recipients_of(notice)
        if not people:
            error = "Nobody could be told: no active person with a proved address is to have this."
            Notice.objects.filter(pk=notice.pk).update(gave_up_at=Now(), error=error)
            return None
        failed = _send_to(notice, people)
    except Exception as error:  # one that cannot be written must not keep the others
        failed = error
    if failed is None:
        Notice.objects.filter(pk=notice.pk).update(sent_at=Now(), error="")
    else:
        _put_off(notice, failed)
    return failed


def _recipients_of(notice: Notice) -> list[User]:
    person = notice.facts.get("person")
    return people_of(notice.workspace_id) if person is None else recipient(int(person))


def _send_to(notice: Notice, people: list[User]) -> Exception | None:
    """Send one message to each; return the last failure about one of them. Raises OSError if the mail server is away."""
    muted = muted_among(people, kind=notice.kind) if notice.kind in MUTABLE else set()
    began, failed = clock.monotonic(), None
    for person in people:
        if person.pk in muted or person.pk in notice.delivered_to:
            continue
        if clock.monotonic() - began > PATIENCE:
            return TimeoutError("The mail server is too slow: the others are told at the next attempt.")
        try:
            message_of(notice, person=person).send()
        except _ABOUT_A_MESSAGE as error:
            failed = error
        else:
            notice.delivered_to.append(person.pk)
            Notice.objects.filter(pk=notice.pk).update(delivered_to=notice.delivered_to)
    return failed


def _put_off(notice: Notice, error: Exception) -> None:
    """Keep what went wrong, and try later or no more."""
    text = f"{type(error).__name__}: {error}".replace("\0", "")[:300]
    if notice.attempts >= ATTEMPTS:
        logger.error("The notice %s could not be sent, and is tried no more: %s", notice.key, text)
        Notice.objects.filter(pk=notice.pk).update(error=text, gave_up_at=Now())
    else:
        logger.warning("The notice %s could not be sent (attempt %d): %s", notice.key, notice.attempts, text)
        Notice.objects.filter(pk=notice.pk).update(error=text, next_attempt_at=Now() + wait_after(notice.attempts))
