"""What the ledger would answer to an admission now. Nothing is locked and nothing is written."""

from copy import replace

from billing.selectors.ledger import balance_of
from billing.services.admission import AdmissionDesk, AdmissionFacts, WalletState
from billing.types import Admission, Admitted
from lumyx.lib import clock


def would_admit(admission: Admission) -> Admitted:
    """Return the answer that the ledger's own rules give on the balance as it is; a daily quota is not asked."""
    balance, workspace_id = balance_of(admission.workspace_id), admission.workspace_id
    wallet = WalletState(
        id=workspace_id,
        posted=balance.posted,
        held=balance.held,
        next_expiry=balance.next_expiry,
        frozen=balance.frozen,
        suspended=False,
    )
    facts = AdmissionFacts(
        key_workspace_id=workspace_id,
        key_is_revoked=False,
        key_has_expired=False,
        earlier_wallet_id=None,
        earlier_amount=None,
    )
    desk = AdmissionDesk(at=clock.now(), wallets={workspace_id: wallet})
    return desk.decide(replace(admission, quota=None), facts)
