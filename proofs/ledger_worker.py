"""A process of the ledger's simulator: history after history on a database of its own, until enough operations are done.

Prints one line of JSON at its end: {"counts": {…}, "histories": N, "fault": null or text}. Run by proofs.ledger.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter

import django
import psycopg

django.setup()

from django.db import connection  # noqa: E402  models need Django set up

from accounts.services.apikeys import create_api_key  # noqa: E402
from accounts.services.users import create_user  # noqa: E402
from accounts.services.workspaces import create_workspace  # noqa: E402
from billing.selectors.ledger import broken_invariants  # noqa: E402
from lumyx.lib import clock  # noqa: E402
from proofs.ledger_case import operations_in  # noqa: E402
from proofs.ledger_model import Account, FaultError  # noqa: E402
from proofs.ledger_steps import History  # noqa: E402

WALLETS = 4
#: Steps of a history: the issue of the books is decided by what follows what, so a history is long.
STEPS = (30, 70)
BOOKS = (
    "billing_adjustment, billing_hold, billing_ledgerentry, billing_creditgrant, billing_wallet, billing_dailyquota,"
    " billing_budgetuse, gateway_usageevent"
)
#: A history must end on the day on which it began, because the model knows no days. In seconds.
LONGEST_HISTORY = 30.0


def make_accounts() -> list[Account]:
    """Make the workspaces whose wallets every history opens anew."""
    owner = create_user("proof@example.com", password="a-long-enough-password", verified=True)  # noqa: S106
    accounts = []
    for number in range(WALLETS):
        workspace = create_workspace(f"proof-{number}", owner=owner)
        accounts.append(
            Account(workspace.pk, create_api_key(workspace=workspace, name="proof", created_by=owner).row.pk)
        )
    return accounts


def wait_for_a_whole_day() -> None:
    """Sleep over midnight, UTC, if it is near."""
    left = clock.until_midnight(clock.now()).total_seconds()
    if left < LONGEST_HISTORY:
        time.sleep(left + 0.1)


def main() -> None:
    """Run histories."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--operations", type=int, required=True, help="how many at least")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    accounts, counts, histories, fault = make_accounts(), Counter[str](), 0, None
    executioner = psycopg.connect(**{**connection.get_connection_params(), "autocommit": True})
    while operations_in(counts) < options.operations and fault is None:
        wait_for_a_whole_day()
        history = History(accounts, chance=chance, executioner=executioner)
        try:
            history.run(chance.randint(*STEPS))
            broken = broken_invariants()
            fault = f"broken invariants: {broken[:3]}" if broken else None
        except FaultError as error:
            fault = str(error)
        counts += history.counts
        histories += 1
        if fault is None:
            executioner.execute(f"TRUNCATE {BOOKS}".encode())
        if histories % 50 == 0:
            sys.stderr.write(f"{operations_in(counts)} operations\n")
            sys.stderr.flush()
    sys.stdout.write(json.dumps({"counts": counts, "histories": histories, "fault": fault}) + "\n")


if __name__ == "__main__":
    main()
