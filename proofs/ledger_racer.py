"""One hand of the ledger's race: random operations on shared wallets until it is told to end, or killed. Run by proofs.ledger_race.

Hands know nothing of each other: they pick open holds from the table, so that several end the same one, and draw the sources of
grants and clawbacks from one small row, so that several deliver the same.
"""

import argparse
import json
import random
import signal
import sys
import threading
import uuid
from typing import Any

import django

django.setup()

from django.db import InterfaceError, OperationalError, connection  # noqa: E402  models need Django set up

from billing.services import ledger  # noqa: E402
from billing.types import Admission, QuotaClaim, Settlement  # noqa: E402
from gateway.services.settlement import settle_exchanges  # noqa: E402
from gateway.services.sweeping import sweep_expired_holds  # noqa: E402
from gateway.services.usage import UsageRecord  # noqa: E402
from lumyx.lib import clock  # noqa: E402
from lumyx.lib.ids import uuid7  # noqa: E402

HOLD, GRANT, QUOTA = 60, 4_000, 10_000_000
#: Numbers of sources come from slices of time of this many seconds: hands that grant in one slice deliver the same source.
SLICE = 0.1


class Hand:
    """Does one thing after another. Of the accounts, ``[workspace id, key id]`` each, the first half is calm (see ledger_race)."""

    def __init__(self, accounts: list[list[int]], *, chance: random.Random) -> None:
        self.accounts = accounts
        self.chance = chance

    def act(self) -> None:
        """Do one random thing."""
        actions = (self.admit, self.settle, self.grant, self.expire, self.clawback, self.sweep)
        self.chance.choices(actions, (40, 40, 8, 3, 3, 2))[0]()

    def admit(self) -> None:
        """Ask for a batch of holds; some batches twice."""
        batch = [self._request() for _ in range(self.chance.choice((1, 1, 3, 10, 30)))]
        ledger.admit(batch)
        if self.chance.random() < 0.1:
            ledger.admit(batch)

    def _request(self) -> Admission:
        workspace_id, key_id = self.chance.choice(self.accounts)
        amount = self.chance.randint(0, HOLD)
        # The holds of rough wallets get old at once, now and then.
        is_short = self._is_rough(workspace_id) and self.chance.random() < 0.2
        return Admission(
            request_id=uuid7(),
            workspace_id=workspace_id,
            api_key_id=key_id,
            model="race",
            amount=amount,
            floor=amount if self.chance.random() < 0.7 else amount // 3,
            ttl=0.01 if is_short else 600.0,
            quota=QuotaClaim("u:race", QUOTA) if amount == 0 else None,
        )

    def settle(self) -> None:
        """End a few holds that any hand has placed, sometimes some that were ended before."""
        state = "open" if self.chance.random() < 0.8 else "settled"
        found = _rows(
            "SELECT id, wallet_id, api_key_id, model FROM billing_hold WHERE state = %s AND id > %s ORDER BY id LIMIT %s",
            state,
            self._recently(),
            self.chance.choice((1, 4, 20)),
        )
        endings = []
        for id, workspace_id, key_id, model in found:
            rated = None if self.chance.random() < 0.2 else self.chance.randint(0, 2 * HOLD)
            record = UsageRecord(
                id=id,
                workspace_id=workspace_id,
                api_key_id=key_id,
                model=model,
                usage_source="none" if rated is None else "upstream",
                status="released" if rated is None else "ok",
                http_status=200,
                started_at=clock.now(),
                duration_ms=1,
            )
            endings.append((Settlement(id, rated), record))
        settle_exchanges(endings)

    def _recently(self) -> uuid.UUID:
        """Return the smallest id of a random moment of the last seconds, so that hands meet at the same holds."""
        moment = int((clock.now().timestamp() - self.chance.uniform(0, 3)) * 1000)
        return uuid.UUID(int=moment << 80)

    def grant(self) -> None:
        """Deliver the grant of this slice of time, which others deliver too."""
        workspace_id = self.chance.choice(self.accounts)[0]
        ledger.grant(workspace_id=workspace_id, kind="paid", amount=GRANT, source=f"g:{workspace_id}:{self._slice()}")

    def clawback(self) -> None:
        """Take back, from a rough wallet, a grant that some hand has delivered."""
        rough = [account[0] for account in self.accounts if self._is_rough(account[0])]
        found = _rows(
            "SELECT wallet_id, source FROM billing_creditgrant WHERE kind = 'paid' AND wallet_id = ANY (%s)"
            " ORDER BY id DESC LIMIT 5",
            rough,
        )
        if found:
            workspace_id, source = self.chance.choice(found)
            ledger.clawback(workspace_id=workspace_id, grant_source=source, source=f"c:{source}", amount=GRANT // 4)

    def expire(self) -> None:
        """Close the holds whose time has passed, with their usage events."""
        sweep_expired_holds()

    def sweep(self) -> None:
        """Write off what has expired, and let some holds live longer."""
        ledger.sweep_grants()
        ids = [row[0] for row in _rows("SELECT id FROM billing_hold WHERE state = 'open' LIMIT 3")]
        ledger.extend_holds(ids, ttl=600.0)

    def _slice(self) -> int:
        return int(clock.now().timestamp() / SLICE)

    def _is_rough(self, workspace_id: int) -> bool:
        return workspace_id in {account[0] for account in self.accounts[len(self.accounts) // 2 :]}


def _rows(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]
        return list(cursor.fetchall())


def main() -> None:
    """Act until SIGTERM. A lost connection is the race's doing; any other error ends the hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--accounts", required=True, help="JSON: [[workspace id, key id], …]")
    options = parser.parse_args()
    hand = Hand(json.loads(options.accounts), chance=random.Random(options.seed))
    acts, lost, told = 0, 0, threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    while not told.is_set():
        try:
            hand.act()
            acts += 1
        except (OperationalError, InterfaceError) as error:
            if "deadlock" in str(error) or "timeout" in str(error):
                raise
            lost += 1
            connection.close()
    sys.stdout.write(json.dumps({"acts": acts, "lost": lost}) + "\n")


if __name__ == "__main__":
    main()
