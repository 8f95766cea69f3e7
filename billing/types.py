"""What goes into the ledger and what comes out: plain values, no Django. Amounts are nano-USD.

Those of every request are msgspec structs: making one costs a tenth of a frozen dataclass.
"""

import datetime as dt
import uuid
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Refusal(StrEnum):
    """Why an admission was refused. The first that applies is given, in this order."""

    #: Who made the key has left, been shut out, or may not manage keys any more.
    KEY_ORPHANED = "key_orphaned"
    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"
    KEY_DISABLED = "key_disabled"
    #: What the key may do has changed since the caller looked: look again, and ask again.
    KEY_CHANGED = "key_changed"
    WORKSPACE_SUSPENDED = "workspace_suspended"
    QUOTA_EXCEEDED = "quota_exceeded"
    WALLET_FROZEN = "wallet_frozen"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    #: The key's own, and that of the person who made it over all of their keys.
    KEY_BUDGET_EXCEEDED = "key_budget_exceeded"
    MEMBER_BUDGET_EXCEEDED = "member_budget_exceeded"


class BudgetLeft(msgspec.Struct, frozen=True, gc=False):
    """A budget as it stands in the present period. ``kind`` is "key" or "member"; ``resets_at`` None: never."""

    kind: str
    amount: int
    period: str
    spent: int = 0
    held: int = 0
    resets_at: dt.datetime | None = None

    @property
    def left(self) -> int:
        """What new holds may take; below zero after it was lowered, or a hold that had expired was charged all the same."""
        return self.amount - self.spent - self.held


class QuotaClaim(msgspec.Struct, frozen=True, gc=False):
    """One request against a daily quota. ``limit`` 0 is unlimited (counted all the same)."""

    subject: str
    limit: int


class Admission(msgspec.Struct, frozen=True, gc=False):
    """A request that asks to be let in.

    ``amount`` is the hold it wants; any hold from ``floor`` to ``amount`` will do (floor == amount: all or nothing).
    A free model has amount 0 and a quota claim; it gets a hold of 0, so that the sweeper knows of it.
    ``ttl`` is in seconds of the database's clock. ``key_version`` is the version of the key's row by which the caller has judged
    what the key may do (0: the caller has judged nothing). ``has_budget`` is a hint: the usual case in one statement, which keeps
    no budgets, is not tried in vain.
    """

    request_id: uuid.UUID
    workspace_id: int
    api_key_id: int
    model: str
    amount: int
    floor: int
    ttl: float
    quota: QuotaClaim | None = None
    key_version: int = 0
    has_budget: bool = False


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """The answer to an Admission. ``refusal`` None: it is in, and ``held`` is set aside."""

    request_id: uuid.UUID
    refusal: Refusal | None = None
    held: int = 0
    #: What was available to it (posted - held, before its own hold): names the affordable value in a refusal.
    available: int = 0
    #: Of the daily quota after this request; None without a claim or with no limit.
    quota_remaining: int | None = None
    #: The database's time of the decision.
    at: dt.datetime | None = None
    #: The budget that refused it, before its own hold.
    budget: BudgetLeft | None = None


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The end of an admitted request. ``rated`` None: nothing came out, the hold is released and the quota given back.

    ``admission`` says which hold it was given (``amount``): should a crash of the database have lost it, it is placed again, as
    far as the balance goes, so that what was delivered is charged.
    """

    request_id: uuid.UUID
    rated: int | None
    admission: Admission | None = None


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The answer to a Settlement. charge = min(rated, hold); absorbed = rated - charge.

    ``applied`` False: a duplicate, or no such hold; nothing was written and charge is what was charged before.
    """

    request_id: uuid.UUID
    charge: int
    absorbed: int
    applied: bool


@dataclass(frozen=True, slots=True)
class ExpiredHold:
    """A hold that the sweeper closed, with what the usage event needs."""

    request_id: uuid.UUID
    workspace_id: int
    api_key_id: int | None
    model: str
    created_at: dt.datetime
    is_free: bool


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What a workspace may do now: its tier with the operator's override applied. 0 is unlimited."""

    tier_slug: str
    tier_name: str
    requests_per_minute: int
    daily_requests: int
    #: Whose daily quota it is: "w:<workspace id>" on a VIP tier, "u:<owner's id>" on Free.
    quota_subject: str


@dataclass(frozen=True, slots=True)
class GrantOutcome:
    """The answer to a grant. ``created`` False: its source was granted before, and nothing was written."""

    grant_id: int
    created: bool
    #: What went to the wallet's debt first.
    repaid: int = 0


@dataclass(frozen=True, slots=True)
class ClawbackOutcome:
    """The answer to a clawback. ``applied`` False: its source was clawed back before, and nothing was written."""

    applied: bool
    #: What the grant still had, and what became debt.
    from_grant: int = 0
    to_overdraft: int = 0


@dataclass(frozen=True, slots=True)
class AdjustOutcome:
    """The answer to an adjustment. ``applied`` False: its source adjusted before, and nothing was written."""

    applied: bool
    #: Of credit that was given: what went to the wallet's debt first.
    repaid: int = 0
    #: Of credit that was taken: what the grants still had, and what became debt.
    taken: int = 0
    owed: int = 0


@dataclass(frozen=True, slots=True)
class GrantUse:
    """What one grant paid of a request; ``expires_at`` None: it never expires. The kind ``overdraft`` is a debt."""

    kind: str
    amount: int
    expires_at: dt.datetime | None
