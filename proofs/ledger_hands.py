"""The hands of the ledger's race, as forks of one process: whoever is killed is replaced at once. Run by proofs.ledger_race.

Prints the accounts it has made, then works until SIGTERM. A hand that ends by itself before that is a fault.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

import django

django.setup()

from django.db import InterfaceError, OperationalError, connection  # noqa: E402  models need Django set up

from accounts.budgets import Budget, BudgetPeriod  # noqa: E402
from accounts.services.apikeys import create_api_key  # noqa: E402
from accounts.services.member_budgets import set_member_budget  # noqa: E402
from accounts.services.users import create_user  # noqa: E402
from accounts.services.workspaces import create_workspace  # noqa: E402
from proofs.ledger_model import Account  # noqa: E402
from proofs.ledger_racer import Hand  # noqa: E402

#: Of some wallets' keys and of those who made them. One is used up in the middle of a race, the others only count.
BUDGETS = {
    0: Budget(10**12, BudgetPeriod.DAY),
    1: Budget(10**12, BudgetPeriod.MONTH),
    2: Budget(40_000, BudgetPeriod.TOTAL),
}
MEMBER_BUDGETS = {2: Budget(10**12, BudgetPeriod.WEEK), 3: Budget(10**12, BudgetPeriod.TOTAL)}


def make_accounts(count: int, *, with_budgets: bool = True) -> list[Account]:
    """Make so many workspaces with a key each, and budgets of some keys and of some people."""
    owner = create_user("race@example.com", password="a-long-enough-password", verified=True)  # noqa: S106
    made = [create_workspace(f"race-{number}", owner=owner) for number in range(count)]
    keys = [
        create_api_key(
            workspace=one, name="race", created_by=owner, budget=BUDGETS.get(number) if with_budgets else None
        )
        for number, one in enumerate(made)
    ]
    for number, one in enumerate(made if with_budgets else ()):
        set_member_budget(workspace_id=one.pk, user_id=owner.pk, budget=MEMBER_BUDGETS.get(number))
    return [Account(key.row.workspace_id, key.row.pk) for key in keys]


def work(accounts: Sequence[Account], *, seed: int, diary: Path, told: threading.Event) -> None:
    """Act until told. A lost connection is the race's doing; any other error is raised."""
    acts = lost = 0
    descriptor = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    hand = Hand(accounts, random.Random(seed), descriptor)
    while not told.is_set():
        try:
            hand.act()
            acts += 1
        except (OperationalError, InterfaceError) as error:
            if "deadlock" in str(error) or "timeout" in str(error):
                raise
            lost += 1
            connection.close()
        if acts % 20 == 0:
            hand.note(f"acts {acts} {lost}")
    hand.note(f"acts {acts} {lost}")


def start(accounts: Sequence[Account], *, seed: int, folder: Path, told: threading.Event) -> int:
    """Fork a hand, and return its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work(accounts, seed=seed, diary=folder / f"diary-{os.getpid()}-{seed}", told=told)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> int:
    """Keep so many hands at work until SIGTERM; exit 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hands", type=int, required=True)
    parser.add_argument("--wallets", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the diaries go")
    options = parser.parse_args()
    accounts = make_accounts(options.wallets)
    connection.close()
    sys.stdout.write(json.dumps([[one.workspace_id, one.api_key_id] for one in accounts]) + "\n")
    sys.stdout.flush()
    told, failed, number = threading.Event(), 0, options.seed
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    hands: set[int] = set()
    while not told.is_set():
        while len(hands) < options.hands:
            number += 1
            hands.add(start(accounts, seed=number, folder=options.folder, told=told))
        with contextlib.suppress(InterruptedError):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                hands.discard(pid)
                failed += not os.WIFSIGNALED(status)
            else:
                told.wait(0.01)
    for pid in hands:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid in hands:
        status = os.waitpid(pid, 0)[1]
        failed += status != 0 and not os.WIFSIGNALED(status)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
