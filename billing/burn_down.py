"""In which order credit is spent, and what expires: pure arithmetic on one wallet's grants. No Django; nano-USD.

Grants come in burn-down order: priority, expires_at (never is last), id; the overdraft pseudo-grant is the last of all.
The functions change ``remaining`` of the grants they are given and return the cuts they made.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class GrantState:
    """What is left of a grant. Only the overdraft pseudo-grant goes below zero."""

    id: int
    remaining: int
    expires_at: dt.datetime | None = None
    is_overdraft: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a charge (``ref``) that one grant paid, or a part of a grant that expired. ``amount`` > 0."""

    ref: str
    grant_id: int
    amount: int


def spend(grants: Sequence[GrantState], charges: Iterable[tuple[str, int]]) -> list[Cut]:
    """Cut charges (reference, amount) over grants in their order; the overdraft takes what nothing else covers.

    Charge and grant meet where the intervals of their running sums overlap. A charge of 0 makes no cut.
    """
    cuts, position = [], 0
    for ref, amount in charges:
        left = amount
        while left > 0:
            grant = grants[position]
            part = left if grant.is_overdraft else min(left, grant.remaining)
            if part <= 0:
                position += 1
                continue
            grant.remaining -= part
            left -= part
            cuts.append(Cut(ref, grant.id, part))
    return cuts


def expire(grants: Sequence[GrantState], *, posted: int, held: int, at: dt.datetime) -> list[Cut]:
    """Cut away what has expired by ``at``, except what open holds were promised and no other credit covers.

    A request that was admitted on credit which expires while it runs is paid with that credit, not with debt; the rest of
    it goes when the hold is closed. New requests get nothing of it: available is posted - held, which this leaves at 0 or
    less. The reference of a cut names the grant and what was left of it, so that none can be written twice.
    """
    due = [grant for grant in grants if is_due(grant, at=at)]
    total = sum(grant.remaining for grant in due)
    promised = min(total, held, max(0, held - (posted - total)))
    left, cuts = total - promised, []
    for grant in due:
        part = min(left, grant.remaining)
        if part:
            cuts.append(Cut(f"expire:{grant.id}:{grant.remaining}", grant.id, part))
            grant.remaining -= part
            left -= part
    return cuts


def is_due(grant: GrantState, *, at: dt.datetime) -> bool:
    """Tell whether something of a grant is left after its time."""
    return grant.expires_at is not None and grant.expires_at <= at and grant.remaining > 0


def next_expiry_of(grants: Iterable[GrantState]) -> dt.datetime | None:
    """Return when the next of these grants expires; None if nothing does."""
    return min((grant.expires_at for grant in grants if grant.expires_at and grant.remaining > 0), default=None)
