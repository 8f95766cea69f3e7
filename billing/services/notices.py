"""E-mails that are owed: written in the transaction of what they tell of, so that neither comes without the other."""

import json
import logging

from celery import current_app
from django.db import connection, transaction
from kombu.exceptions import OperationalError

from billing.services.notice_kinds import Facts, FactsError, facts_of

KEY_LENGTH = 200
SENDING_TASK = "billing.tasks.send_notices"

logger = logging.getLogger(__name__)

_OWE = """
INSERT INTO billing_notice (key, kind, workspace_id, facts, attempts, error, delivered_to)
VALUES (%s, %s, %s, %s, 0, '', '{}') ON CONFLICT (key) DO NOTHING
"""


def owe(kind: str, *, workspace_id: int, key: str, facts: Facts) -> bool:
    """Owe the people of a workspace a notice, once per key, and have it sent when the transaction has committed.

    Args:
        kind: one of ``notice_kinds.KINDS``.
        workspace_id: whose people are told.
        key: what it tells of; at most 200 characters.
        facts: what its text needs, as the kind's struct says; amounts in nano-USD.

    Returns:
        Whether it is new: False if it was owed before.

    Raises:
        UnknownKindError: there is no such kind.
        FactsError: a fact is missing or wrong, or the key is empty or too long. Nothing was written.
    """
    facts_of(kind, facts)
    if not 0 < len(key) <= KEY_LENGTH:
        raise FactsError(f"A notice's key has 1 to {KEY_LENGTH} characters; this one has {len(key)}.")
    with connection.cursor() as cursor:
        cursor.execute(_OWE, [key, kind, workspace_id, json.dumps(dict(facts))])
        is_new = bool(cursor.rowcount == 1)
    if is_new and not _is_asked_already():
        transaction.on_commit(ask_for_sending, robust=True)
    return is_new


def _is_asked_already() -> bool:
    """Tell whether the sending task is queued by this commit anyway, whichever savepoints are rolled back until then."""
    here = set(connection.savepoint_ids)
    # Django's stubs leave out the third part, whether it is robust.
    return any(hook[1] is ask_for_sending and set(hook[0]) <= here for hook in connection.run_on_commit)


def ask_for_sending() -> None:
    """Ask a worker to send what is owed. Without a broker the schedule does, within a minute."""
    if not current_app.conf.broker_url or current_app.conf.task_always_eager:
        return  # a command knows no broker, and Celery would look for one on this machine, for seconds; eager, there is no worker
    try:
        current_app.send_task(SENDING_TASK, retry=False)
    except (OperationalError, OSError):
        logger.warning("No broker: what is owed waits for the schedule.")
