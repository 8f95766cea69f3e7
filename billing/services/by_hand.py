"""Credit that is given, corrected and frozen for a reason of its own, with its line in the audit log in the same transaction.

What payments, plans and the calendar grant has its own record in the books and is not written down twice.
"""

import datetime as dt

from django.db import transaction

from accounts.services.audit import record
from billing.selectors.ledger import balance_of
from billing.services import ledger
from billing.types import AdjustOutcome, GrantOutcome
from lumyx.lib.money import nano_to_usd


@transaction.atomic
def grant(
    *,
    workspace_id: int,
    kind: str,
    amount: int,
    source: str,
    expires_at: dt.datetime | None = None,
    note: str = "",
) -> GrantOutcome:
    """Give credit as ``ledger.grant`` does, and write it down. Raises what that raises."""
    outcome = ledger.grant(
        workspace_id=workspace_id, kind=kind, amount=amount, source=source, expires_at=expires_at, note=note
    )
    if outcome.created:
        details = {"kind": kind, "amount": f"${nano_to_usd(amount)}"}
        target = ("grant", outcome.grant_id, note or source)
        record("billing.credit_granted", workspace_id=workspace_id, target=target, details=details)
    return outcome


@transaction.atomic
def adjust(
    *,
    workspace_id: int,
    amount: int,
    reason: str,
    actor_id: int | None,
    source: str,
    note: str = "",
    may_owe: bool = False,
) -> AdjustOutcome:
    """Correct a balance as ``ledger.adjust`` does, and write it down, without the reason: that is for operators alone."""
    outcome = ledger.adjust(
        workspace_id=workspace_id,
        amount=amount,
        reason=reason,
        actor_id=actor_id,
        source=source,
        note=note,
        may_owe=may_owe,
    )
    if outcome.applied:
        by = f"-${nano_to_usd(-amount)}" if amount < 0 else f"+${nano_to_usd(amount)}"
        record(
            "billing.credit_adjusted", workspace_id=workspace_id, target=("adjustment", "", note), details={"by": by}
        )
    return outcome


@transaction.atomic
def set_frozen(*, workspace_id: int, frozen: bool) -> None:
    """Freeze a wallet's credit, or let it be spent again, and write down a change. Raises UnknownWorkspaceError."""
    was_frozen = balance_of(workspace_id).frozen
    ledger.set_frozen(workspace_id=workspace_id, frozen=frozen)
    if was_frozen != frozen:
        record("billing.wallet_frozen" if frozen else "billing.wallet_thawed", workspace_id=workspace_id)
