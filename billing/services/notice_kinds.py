"""The kinds of notices, and the facts that each cannot be written without. Amounts are nano-USD, times ISO 8601.

Facts that a kind does not know are kept and left unused, so that a caller may say more than today's text tells.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lumyx.lib.money import MAX_NANO

#: What a notice is told, as its caller gives it.
Facts = Mapping[str, str | int | bool]
Amount = Annotated[int, Meta(ge=0, le=MAX_NANO)]
#: An absolute link; empty where there is none.
Link = Annotated[str, Meta(pattern=r"^(https?://\S+)?$")]
Text = Annotated[str, Meta(min_length=1, max_length=300)]


class UnknownKindError(ValueError):
    """There is no notice of this kind."""


class FactsError(ValueError):
    """A fact that the notice needs is missing, or is not what it must be."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a kind. ``TIMES`` names those that are times; an optional one may be empty."""

    def __post_init__(self) -> None:
        for name in ("paid_at", "period_end", "deletes_at"):
            value = getattr(self, name, "")
            if value:
                time_of(value)


class Receipt(Kind, frozen=True, kw_only=True):
    """Credit was paid for."""

    amount: Amount
    credit: Amount
    receipt_url: Link
    paid_at: Text
    #: How it was paid ("Visa ending in 4242").
    method: str = ""
    is_top_up: bool = False


class LowBalance(Kind, frozen=True, kw_only=True):
    """The balance fell below a threshold. ``entry``: the newest entry of the ledger that was looked at."""

    balance: Annotated[int, Meta(ge=-MAX_NANO, le=MAX_NANO)]
    threshold: Amount
    entry: int


class TopUpFailed(Kind, frozen=True, kw_only=True):
    """An automatic top-up was not paid; ``stopped``: there will be no more."""

    amount: Amount
    reason: Text
    stopped: bool


class PaymentActionNeeded(Kind, frozen=True, kw_only=True):
    """The bank asks the customer to confirm a payment, at ``url``."""

    amount: Amount
    url: Annotated[str, Meta(pattern=r"^https?://\S+$")]


class PaidPeriod(Kind, frozen=True, kw_only=True):
    """A period of a subscription was paid."""

    tier_name: Text
    interval: Literal["month", "year"]
    amount: Amount
    period_end: Text
    receipt_url: Link = ""


class SubscriptionState(Kind, frozen=True, kw_only=True):
    """A subscription became another thing. Nothing need have been paid for that, so the amount may be missing."""

    tier_name: Text
    interval: Literal["month", "year"]
    #: Empty where no period was paid.
    period_end: str
    amount: Amount | None = None


class Refund(Kind, frozen=True, kw_only=True):
    """Money went back, and the credit that it had bought was taken back."""

    amount: Amount
    credit_taken: Amount


class DisputeOpened(Kind, frozen=True, kw_only=True):
    """A bank took a payment back: the credit is frozen."""

    amount: Amount


class DisputeClosed(Kind, frozen=True, kw_only=True):
    """A bank decided."""

    won: bool
    amount: Amount


#: The id of a user; 0: an operator.
Person = Annotated[int, Meta(ge=0)]


class ToPerson(Kind, frozen=True, kw_only=True):
    """A notice to one person alone, whatever they may see in the workspace, or saw until now."""

    person: Annotated[int, Meta(ge=1)]


class MemberJoined(ToPerson, frozen=True, kw_only=True):
    """Somebody accepted an invitation."""

    member: Person
    role: Text


class RoleChanged(ToPerson, frozen=True, kw_only=True):
    """The person has another role."""

    by: Person
    role: Text
    before: Text


class MemberRemoved(ToPerson, frozen=True, kw_only=True):
    """The person was removed."""

    by: Person


class OwnershipTransferred(ToPerson, frozen=True, kw_only=True):
    """The workspace has another owner."""

    giver: Person
    taker: Person


class DeletionPlanned(ToPerson, frozen=True, kw_only=True):
    """The workspace will be deleted."""

    by: Person
    deletes_at: Text


class DeletionUndone(ToPerson, frozen=True, kw_only=True):
    """The workspace stays."""

    by: Person


class WorkspaceDeleted(ToPerson, frozen=True, kw_only=True):
    """The workspace is gone, because its owner is."""

    called: Text


KINDS: dict[str, type[Kind]] = {
    "receipt": Receipt,
    "low_balance": LowBalance,
    "top_up_failed": TopUpFailed,
    "payment_action_needed": PaymentActionNeeded,
    "subscription_started": PaidPeriod,
    "subscription_renewed": PaidPeriod,
    "subscription_changed": SubscriptionState,
    "subscription_past_due": SubscriptionState,
    "subscription_ended": SubscriptionState,
    "refund": Refund,
    "dispute_opened": DisputeOpened,
    "dispute_closed": DisputeClosed,
    "member_joined": MemberJoined,
    "role_changed": RoleChanged,
    "member_removed": MemberRemoved,
    "ownership_transferred": OwnershipTransferred,
    "deletion_planned": DeletionPlanned,
    "deletion_undone": DeletionUndone,
    "workspace_deleted": WorkspaceDeleted,
}
#: Kinds that a person can do without; the others tell of their money's movements.
MUTABLE = frozenset({"low_balance"})


def time_of(value: str) -> dt.datetime:
    """Return an ISO 8601 date or time, in UTC where it names no zone. Raises ValueError."""
    at = dt.datetime.fromisoformat(value)
    return at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)


def facts_of(kind: str, facts: Facts) -> Kind:
    """Return the facts of a notice, checked.

    Raises:
        UnknownKindError: there is no such kind.
        FactsError: a fact is missing or wrong; it names the fact.
    """
    if kind not in KINDS:
        raise UnknownKindError(f"There is no notice of the kind {kind!r}. Kinds are: {', '.join(KINDS)}.")
    try:
        return msgspec.convert(dict(facts), KINDS[kind])
    except msgspec.ValidationError as error:
        raise FactsError(f"The facts of a notice {kind!r} are not complete or not right: {error}.") from error
