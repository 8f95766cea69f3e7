"""What the books say of a workspace, request by request, and what must be true of them whatever happened to its clients.

A request is named as its client knows it, by the x-request-id header: it is the id of its hold and of its usage event, and
the reference of its lines in the ledger. Amounts are nano-USD.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import psycopg

from proofs.report import Report
from rig.catalog import INPUT_PRICE, OUTPUT_PRICE
from rig.installation import Installation

#: nano-USD a token: a dollar a million tokens is a thousand of them.
INPUT_RATE, OUTPUT_RATE = round(float(INPUT_PRICE) * 1000), round(float(OUTPUT_PRICE) * 1000)
#: Seconds between two looks at a wallet.
_LOOK_EVERY = 0.002

# Counted, not joined: a request with two holds, two events or a line too many must be seen, whatever indexes promise.
_BOOKINGS = """
WITH own AS (SELECT id FROM accounts_workspace WHERE slug = %s),
holds AS (
    SELECT id, count(*) AS holds, max(amount) AS held, max(state) AS state, max(actual) AS actual
    FROM billing_hold WHERE wallet_id = (SELECT id FROM own) GROUP BY id),
events AS (
    SELECT id, count(*) AS events, sum(charge) AS charge, sum(absorbed) AS absorbed, max(status) AS status,
           max(usage_source) AS source, max(input_tokens) AS input, max(output_tokens) AS output, bool_or(is_free) AS is_free
    FROM gateway_usageevent WHERE workspace_id = (SELECT id FROM own) GROUP BY id),
lines AS (
    SELECT ref::uuid AS id, -sum(amount) AS spent
    FROM billing_ledgerentry WHERE wallet_id = (SELECT id FROM own) AND kind = 'usage' GROUP BY ref)
SELECT replace(id::text, '-', '') AS request_id, coalesce(holds, 0)::int AS holds, coalesce(held, 0)::bigint AS held,
       coalesce(state, '') AS state, coalesce(actual, 0)::bigint AS actual, coalesce(events, 0)::int AS events,
       coalesce(charge, 0)::bigint AS charge, coalesce(absorbed, 0)::bigint AS absorbed, coalesce(status, '') AS status,
       coalesce(source, '') AS source, coalesce(input, 0) AS input, coalesce(output, 0) AS output,
       coalesce(is_free, false) AS is_free, coalesce(spent, 0)::bigint AS spent
FROM holds FULL JOIN events USING (id) FULL JOIN lines USING (id)
"""
_WALLET = """
SELECT wallet.posted, wallet.held,
       (SELECT coalesce(sum(amount), 0) FROM billing_creditgrant WHERE wallet_id = wallet.workspace_id)::bigint AS granted
FROM billing_wallet wallet JOIN accounts_workspace workspace ON workspace.id = wallet.workspace_id WHERE workspace.slug = %s
"""


@dataclass(frozen=True, slots=True)
class Booking:
    """One request in the books: its hold, its usage event, and the sum of its lines in the ledger (``spent``)."""

    request_id: str
    holds: int
    held: int
    state: str
    actual: int
    events: int
    charge: int
    absorbed: int
    status: str
    source: str
    input: int
    output: int
    is_free: bool
    spent: int

    @property
    def fault(self) -> str:
        """What is wrong with it once it is closed; empty when nothing is."""
        rated = 0 if self.is_free else self.input * INPUT_RATE + self.output * OUTPUT_RATE
        if self.holds != 1 or self.events != 1:
            return f"{self.holds} holds and {self.events} usage events"
        if self.state == "open":
            return "its hold is open"
        if not self.charge == self.spent == self.actual:
            return f"event says {self.charge}, ledger {self.spent}, hold {self.actual}"
        if self.charge != min(rated, self.held):
            return (
                f"charged {self.charge}; {self.input} and {self.output} tokens cost {rated}, the hold was {self.held}"
            )
        return ""


@dataclass(frozen=True, slots=True)
class Wallet:
    """A workspace's balance, what open holds set aside of it, and all that was ever granted."""

    posted: int
    held: int
    granted: int


def bookings_of(installation: Installation, slug: str) -> dict[str, Booking]:
    """Return every request of a workspace that is anywhere in the books, by its id."""
    return {row["request_id"]: Booking(**row) for row in installation.query(_BOOKINGS, slug)}


def wallet_of(installation: Installation, slug: str) -> Wallet:
    """Return a workspace's wallet; without one (it never had credit nor a request) an empty one."""
    rows = installation.query(_WALLET, slug)
    return Wallet(**rows[0]) if rows else Wallet(0, 0, 0)


def open_holds(installation: Installation, slug: str) -> int:
    """Return how many requests of a workspace are not closed yet."""
    statement = (
        "SELECT count(*) AS open FROM billing_hold hold JOIN accounts_workspace workspace ON workspace.id = hold.wallet_id "
        "WHERE workspace.slug = %s AND hold.state = 'open'"
    )
    count: int = installation.query(statement, slug)[0]["open"]
    return count


def wait_until_closed(installation: Installation, slug: str, *, seconds: float) -> int:
    """Wait until no hold is open, at most ``seconds``, and return how many still are."""
    deadline = time.monotonic() + seconds
    while (count := open_holds(installation, slug)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return count


def check_closed(installation: Installation, report: Report, slug: str) -> Mapping[str, Booking]:
    """Report what is wrong with a workspace whose requests are all over, and return its bookings.

    One hold and one event a request; the charge is what its tokens cost, never above the hold, and what its lines in the
    ledger sum to; nothing is held; the balance fell by the sum of the charges and is not below zero.
    """
    bookings, wallet = bookings_of(installation, slug), wallet_of(installation, slug)
    for booking in bookings.values():
        report.require(not booking.fault, f"request {booking.request_id}: {booking.fault}")
    charges = sum(booking.charge for booking in bookings.values())
    report.require(wallet.held == 0, f"{slug}: {wallet.held} nano-USD are still held")
    report.require(wallet.posted >= 0, f"{slug}: the balance is {wallet.posted}")
    fall = wallet.granted - wallet.posted
    report.require(fall == charges, f"{slug}: the balance fell by {fall}, the charges are {charges}")
    return bookings


class WalletWatch:
    """Looks at a wallet every few milliseconds for the time of the block, on a connection and thread of its own."""

    def __init__(self, installation: Installation, slug: str) -> None:
        self.looks = 0
        self.lowest_posted = self.lowest_available = self.most_held = 0
        self._url, self._slug = installation.postgres.url, slug
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="wallet-watch")
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not self._stop.wait(_LOOK_EVERY):
                    row = connection.execute(_WALLET.encode(), [self._slug]).fetchone()
                    if row is not None:
                        self._note(posted=row[0], held=row[1])
        except psycopg.Error as error:
            self._failure = error

    def _note(self, *, posted: int, held: int) -> None:
        available = posted - held
        self.lowest_posted = min(posted, self.lowest_posted) if self.looks else posted
        self.lowest_available = min(available, self.lowest_available) if self.looks else available
        self.most_held = max(held, self.most_held)
        self.looks += 1
