"""What the ledger would answer to an admission now. Nothing is locked and nothing is written."""

from copy import replace

from billing.selectors.budgets import limits_of_keys, use_of
from billing.selectors.ledger import balance_of
from billing.services.admission import AdmissionDesk, AdmissionFacts, WalletState
from billing.types import Admission, Admitted
from lumyx.lib import clock


def would_admit(admission: Admission) -> Admitted:
    """Return the answer that the ledger's own rules give on balance and budgets as they are; a daily quota is not asked."""
    balance, workspace_id = balance_of(admission.workspace_id), admission.workspace_id
    wallet = WalletState(
        id=workspace_id,
        posted=balance.posted,
        held=balance.held,
        next_expiry=balance.next_expiry,
        frozen=balance.frozen,
        suspended=False,
    )
    limits = limits_of_keys([admission.api_key_id]).get(admission.api_key_id, ()) if admission.has_budget else ()
    facts = AdmissionFacts(key_workspace_id=workspace_id, key_version=admission.key_version, budgets=limits)
    at = clock.now()
    desk = AdmissionDesk(at=at, wallets={workspace_id: wallet}, budgets=use_of(limits, at=at))
    return desk.decide(replace(admission, quota=None), facts)
