"""``python -m proofs``: runs proofs by name, each with its seed, and prints one result line each. Exit 1 if one is broken."""

import argparse
import random
import sys
from collections.abc import Callable, Mapping

from proofs.balance_race import balance_race
from proofs.cancelled import cancelled
from proofs.disconnects import disconnects
from proofs.drain import drain
from proofs.fuzz import fuzz
from proofs.kill import kill
from proofs.ledger import ledger
from proofs.ledger_race import ledger_race
from proofs.outages import outages
from proofs.payments import payments
from proofs.quota_race import quota_race
from proofs.report import Report
from proofs.rollups import rollups
from proofs.signin import signin
from proofs.slow_clients import slow_clients
from proofs.soak import soak

#: Runs one proof at full length, or a short version of it. Each brings up what it needs.
type Proof = Callable[[Report, bool], None]

PROOFS: Mapping[str, Proof] = {
    "ledger": ledger,
    "ledger-race": ledger_race,
    "rollups": rollups,
    "payments": payments,
    "balance-race": balance_race,
    "quota-race": quota_race,
    "kill": kill,
    "disconnects": disconnects,
    "cancelled": cancelled,
    "outages": outages,
    "drain": drain,
    "fuzz": fuzz,
    "slow-clients": slow_clients,
    "soak": soak,
    "signin": signin,
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m proofs",
        description="Prove what the gateway promises, on real services that are started for the run and removed after it.",
        epilog="docs/proofs.md says what each proof does and how long it takes.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which proofs (all by default): {', '.join(PROOFS)}")
    parser.add_argument("--seed", type=int, help="repeat a run's chances (drawn and printed by default)")
    parser.add_argument("--short", action="store_true", help="the short version that the tests run")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in PROOFS]
    if unknown:
        parser.error(f"there is no proof {', '.join(unknown)}; there are {', '.join(PROOFS)}")
    return arguments


def main() -> int:
    """Run the chosen proofs one after another."""
    arguments = parse_arguments()
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**31)
    broken = 0
    for name in arguments.names or PROOFS:
        report = Report(name, seed)
        PROOFS[name](report, arguments.short)
        sys.stdout.write(report.line() + "\n")
        sys.stdout.flush()
        broken += bool(report.wrong)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
