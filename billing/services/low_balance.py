"""Tells a workspace when its balance falls below a threshold: once a fall, and again only after it rose above it.

Nothing is kept for this but the notices themselves. A fall past several thresholds at once is one notice, about the lowest.
"""

from django.conf import settings
from django.db import transaction

from billing.selectors.low_balance import fallen_below
from billing.services.notices import owe
from lumyx.lib.money import usd_to_nano


def thresholds() -> list[int]:
    """Return the installation's thresholds in nano-USD. Raises MoneyError for a setting that is no amount."""
    return [usd_to_nano(amount) for amount in settings.LUMYX_LOW_BALANCE_USD]


@transaction.atomic
def alert_low_balances() -> int:
    """Owe a notice to each workspace whose balance fell below a threshold and that was not told of this fall; return how many."""
    owed = [
        owe(
            "low_balance",
            workspace_id=fallen.workspace_id,
            # By the last entry above the threshold: two tasks at once tell of one fall once.
            key=f"low_balance:{fallen.workspace_id}:{fallen.threshold}:{fallen.above}",
            facts={"balance": fallen.balance, "threshold": fallen.threshold, "entry": fallen.newest},
        )
        for fallen in fallen_below(thresholds())
    ]
    return sum(owed)
