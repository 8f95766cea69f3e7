"""What the fake knows: one store of objects, its clock, its events and Stripe's error envelope."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lumyx.lib import clock

type Record = dict[str, Any]
API_VERSION = "2026-10-28.endive"
EVENTS_KEPT_S = 30 * 86400


class StripeError(Exception):
    """An answer that refuses: the HTTP status and the fields of Stripe's error object."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error", **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Record = {"error": {"type": kind, "message": message, **fields}}


@dataclass
class State:
    """All objects by id, in the order of their creation; whoever uses it holds the server's lock."""

    base_url: str = ""
    frozen_at: int | None = None
    objects: dict[str, Record] = field(default_factory=dict)
    behaviours: dict[str, str] = field(default_factory=dict)
    replies: dict[str, tuple[str, int, Record]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    request: Record = field(default_factory=lambda: {"id": None, "idempotency_key": None})
    listeners: list[Callable[[Record], None]] = field(default_factory=list)
    tax_percent: int = 0
    last_number: int = 0
    shift_s: int = 0
    stepping_at: int | None = None
    after_retries: str = "cancel"

    def now(self) -> int:
        """Return the fake's time in Unix seconds: that of the step being made, else the set one, else the real one."""
        if self.stepping_at is not None:
            return self.stepping_at
        return int(clock.now().timestamp()) + self.shift_s if self.frozen_at is None else self.frozen_at

    def make_id(self, prefix: str) -> str:
        """Return an id that no other object has."""
        self.last_number += 1
        return f"{prefix}_fake{self.last_number:012d}"

    def add(self, kind: str, prefix: str, **fields: Any) -> Record:
        """Store a new object of `kind` and return it."""
        identity = {"id": self.make_id(prefix), "object": kind, "created": self.now(), "livemode": False}
        record: Record = identity | fields
        self.objects[record["id"]] = record
        return record

    def find(self, kind: str, record_id: str, param: str = "id") -> Record:
        """Return the object. Raises StripeError: 404 when the path names it, 400 when another parameter does."""
        record = self.objects.get(record_id)
        if record is None or record["object"] != kind:
            status = 404 if param == "id" else 400
            text = f"No such {kind}: '{record_id}'"
            raise StripeError(text, status=status, code="resource_missing", param=param)
        return record

    def all(self, kind: str) -> list[Record]:
        """Return the objects of `kind`, newest first."""
        return [record for record in reversed(self.objects.values()) if record["object"] == kind]

    def emit(self, event_type: str, record: Record, previous: Record | None = None) -> Record:
        """Store an event with the object as it is now and hand it to the listeners."""
        data: Record = {"object": copy.deepcopy(record)}
        if previous is not None:
            data["previous_attributes"] = copy.deepcopy(previous)
        event = self.add(
            "event",
            "evt",
            type=event_type,
            data=data,
            api_version=API_VERSION,
            pending_webhooks=len(self.listeners),
            request=dict(self.request),
        )
        for listener in self.listeners:
            listener(copy.deepcopy(event))
        return event

    def events(self) -> list[Record]:
        """Return the events of the last 30 days, newest first, as Stripe keeps them."""
        return [event for event in self.all("event") if event["created"] > self.now() - EVENTS_KEPT_S]
