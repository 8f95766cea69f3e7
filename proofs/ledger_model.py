"""A small model of the ledger in plain Python, to judge the real one by: no database, no SQL, none of its code."""

import uuid
from dataclasses import dataclass, field

from billing.types import Admission


@dataclass(frozen=True, slots=True)
class Account:
    """A workspace and a key of it."""

    workspace_id: int
    api_key_id: int


class FaultError(AssertionError):
    """The ledger and the model differ."""


@dataclass
class ModelGrant:
    """A grant of the model. ``rank`` is its place in burn-down order."""

    source: str
    kind: str
    amount: int
    remaining: int
    rank: tuple[int, int, int]
    expired: bool = False


@dataclass
class ModelHold:
    """A hold of the model."""

    request: Admission
    amount: int
    state: str = "open"
    charged: int = 0


@dataclass
class ModelWallet:
    """A wallet, written as plainly as can be: one request at a time, one nano-dollar rule at a time."""

    grants: list[ModelGrant] = field(default_factory=list)
    debt: int = 0
    frozen: bool = False
    holds: dict[uuid.UUID, ModelHold] = field(default_factory=dict)
    used: int = 0

    @property
    def posted(self) -> int:
        """What is left of the grants, less the debt."""
        return sum(grant.remaining for grant in self.grants) - self.debt

    @property
    def held(self) -> int:
        """The sum of the open holds."""
        return sum(hold.amount for hold in self.holds.values() if hold.state == "open")

    def sweep(self) -> None:
        """Write off what has expired, but for what open holds were promised."""
        gone = [grant for grant in sorted(self.grants, key=lambda g: g.rank) if grant.expired]
        for grant in gone:
            while grant.remaining:
                # One nano-dollar may go as long as the open holds stay payable without it, or it is more than they need.
                due = sum(other.remaining for other in gone)
                if due <= self.held and self.posted - 1 < self.held:
                    break
                grant.remaining -= 1

    def admit(self, request: Admission) -> tuple[str | None, int]:
        """Return the refusal or None, and the hold."""
        if request.request_id in self.holds:
            return None, self.holds[request.request_id].amount
        held = max(0, min(request.amount, self.posted - self.held))
        if request.quota and self.used >= request.quota.limit:
            return "quota_exceeded", 0
        if request.amount and self.frozen:
            return "wallet_frozen", 0
        if held < request.floor:
            return "insufficient_credits", 0
        self.used += request.quota is not None
        self.holds[request.request_id] = ModelHold(request, held)
        return None, held

    def settle(self, request_id: uuid.UUID, rated: int | None) -> tuple[int, int, bool]:
        """Return the charge, what is absorbed, and whether something was written."""
        hold = self.holds[request_id]
        if hold.state not in {"open", "expired"}:
            return hold.charged, 0, False
        if rated is None:
            hold.state = "released"
            self.used -= hold.request.quota is not None
            return 0, 0, True
        hold.state, hold.charged = "settled", min(rated, hold.amount)
        self.take(hold.charged)
        return hold.charged, rated - hold.charged, True

    def take(self, amount: int) -> None:
        """Spend from the grants in their order; what they do not cover is debt."""
        for grant in sorted(self.grants, key=lambda g: g.rank):
            part = min(amount, grant.remaining)
            grant.remaining -= part
            amount -= part
        self.debt += amount
