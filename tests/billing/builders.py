"""What the ledger's tests begin with: workspaces with a key, and requests on them."""

import datetime as dt
import itertools
from copy import replace
from dataclasses import dataclass

from django.db import connection

from accounts.models import Workspace
from billing.services import ledger
from billing.types import Admission, Admitted, QuotaClaim, Settled, Settlement
from lumyx.lib.ids import uuid7
from tests import factories

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Account:
    """A workspace with an API key."""

    workspace: Workspace
    api_key_id: int

    @property
    def id(self) -> int:
        """The workspace's, which is the wallet's."""
        return self.workspace.pk

    def fund(self, amount: int, *, kind: str = "paid", expires_in: float | None = None, source: str = "") -> str:
        """Grant nano-USD, expiring in seconds from the database's now; return the source."""
        source = source or f"test:{next(_numbers)}"
        expires_at = None if expires_in is None else database_now() + dt.timedelta(seconds=expires_in)
        ledger.grant(workspace_id=self.id, kind=kind, amount=amount, source=source, expires_at=expires_at)
        return source

    def request(self, amount: int, *, floor: int | None = None, ttl: float = 600.0) -> Admission:
        """Return a request for a paid model that asks for a hold."""
        return Admission(
            request_id=uuid7(),
            workspace_id=self.id,
            api_key_id=self.api_key_id,
            model="lumyx-plus_v1",
            amount=amount,
            floor=amount if floor is None else floor,
            ttl=ttl,
        )

    def free_request(self, limit: int, *, subject: str = "", ttl: float = 600.0) -> Admission:
        """Return a request for a free model."""
        claim = QuotaClaim(subject=subject or f"w:{self.id}", limit=limit)
        return replace(self.request(0, ttl=ttl), model="sandbox/echo", quota=claim)


def make_account() -> Account:
    """Make a workspace of a new user, with a key."""
    workspace = factories.make_workspace()
    return Account(workspace, factories.make_api_key(workspace).row.pk)


def admit_one(admission: Admission) -> Admitted:
    """Admit a batch of one."""
    return ledger.admit([admission])[0]


def settle_one(admission: Admission, rated: int | None) -> Settled:
    """Settle a batch of one."""
    return ledger.settle([Settlement(admission.request_id, rated)])[0]


def database_now() -> dt.datetime:
    """Return the database's time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    assert row is not None
    now: dt.datetime = row[0]
    return now


def run_sql(statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Run a statement beside the ledger, to look at rows or to plant what must not be."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def overdue(*admissions: Admission) -> None:
    """Make holds older than their time."""
    run_sql(
        "UPDATE billing_hold SET expires_at = clock_timestamp() - interval '1 second' WHERE id = ANY (%s)",
        [admission.request_id for admission in admissions],
    )
