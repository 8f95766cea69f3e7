"""One hand of the ledger's race: random operations on shared wallets until it is told to end, or killed.

Hands know nothing of each other. What they do together follows from the clock: which wallets are hot, which requests come to
several doors, which sources several payments have. Holds they pick from the table, so that several end the same one.
"""

import datetime as dt
import os
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from billing.services import ledger
from billing.types import Admission, QuotaClaim, Settlement
from gateway.services.settlement import settle_exchanges
from gateway.services.sweeping import sweep_expired_holds
from gateway.services.usage import UsageRecord
from lumyx.lib import clock
from proofs.ledger_model import Account

HOLD, GRANT, QUOTA = 60, 1_500, 10_000_000
SUBJECT = "u:race"
#: Seconds: how long the same wallets are hot, how long a source is that of the moment, how long a shared request is.
HOT, SLICE, MOMENT = 2.0, 0.1, 0.02
#: How far back, in seconds, a hand looks for holds to end.
LATELY = 2.0
SIZES = (1, 1, 1, 3, 10, 30)


def is_calm(number: int) -> bool:
    """Tell whether nothing is clawed back from a wallet and no hold of it gets old: then it cannot come into debt."""
    return number % 2 == 0


@dataclass(slots=True)
class Hand:
    """Does one thing after another, and writes what it was told to ``diary`` (see proofs.ledger_diary)."""

    accounts: Sequence[Account]
    chance: random.Random
    diary: int

    def act(self) -> None:
        """Do one random thing."""
        actions = (
            self.admit,
            self.settle,
            self.grant,
            self.claw_back,
            self.expire,
            self.sweep,
            self.extend,
            self.freeze,
        )
        self.chance.choices(actions, (40, 46, 6, 3, 3, 2, 2, 2))[0]()

    def note(self, *lines: str) -> None:
        """Write lines to the diary, all or none."""
        if lines:
            os.write(self.diary, "".join(f"{line}\n" for line in lines).encode())

    def hot_wallet(self) -> int:
        """Return the number of one of the hot wallets: of the first one, two, … or of all."""
        hot = 1 + int(clock.now().timestamp() / HOT) % len(self.accounts)
        return self.chance.randrange(hot)

    def admit(self) -> None:
        """Ask for a batch of holds, some of which others ask for too; some batches twice."""
        batch = [self._request() for _ in range(self.chance.choice(SIZES))]
        for _ in range(1 + (self.chance.random() < 0.1)):
            answers = ledger.admit(batch)
            self.note(*[f"admit {a.request_id} {a.held}" for a in answers if a.refusal is None])
            self.note(*[f"refuse {a.request_id}" for a in answers if a.refusal is not None])

    def _request(self) -> Admission:
        if self.chance.random() < 0.7:
            return request(self.accounts, self.hot_wallet(), self.chance)
        # What is asked for at this moment, by whoever asks: the same id and the same contents.
        moment = int(clock.now().timestamp() / MOMENT) - self.chance.randrange(3)
        return request(self.accounts, moment % len(self.accounts), random.Random(moment), at=moment * MOMENT)

    def settle(self) -> None:
        """End a few holds that any hand has placed, sometimes some that were ended before."""
        states = ["open", "expired"] if self.chance.random() < 0.8 else ["settled", "released"]
        moment = int((clock.now().timestamp() - self.chance.uniform(0, LATELY)) * 1000)
        found = _rows(
            "SELECT id, wallet_id, api_key_id, model FROM billing_hold WHERE state = ANY (%s) AND id > %s ORDER BY id LIMIT %s",
            states,
            uuid.UUID(int=moment << 80),
            self.chance.choice(SIZES),
        )
        self.chance.shuffle(found)
        answers = settle_exchanges([self._ending(*row) for row in found])
        self.note(*[f"settle {a.request_id} {a.charge} {a.applied:d}" for a in answers])

    def _ending(self, id: uuid.UUID, workspace_id: int, key_id: int, model: str) -> tuple[Settlement, UsageRecord]:
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
        return Settlement(id, rated), record

    def grant(self) -> None:
        """Deliver the grant of this slice of time, which others deliver too; some of them are short of life."""
        number, slice_ = self.hot_wallet(), int(clock.now().timestamp() / SLICE)
        workspace_id = self.accounts[number].workspace_id
        kind, source = ("paid", "promo", "vip")[slice_ % 3], f"g:{workspace_id}:{slice_}"
        expires_at = (
            None if kind == "paid" else clock.now() + dt.timedelta(seconds=self.chance.choice((0.05, 0.5, 3600)))
        )
        answer = ledger.grant(workspace_id=workspace_id, kind=kind, amount=GRANT, source=source, expires_at=expires_at)
        self.note(f"grant {source} {answer.created:d}")

    def claw_back(self) -> None:
        """Take back, from a rough wallet, a part of a grant that some hand has delivered."""
        found = _rows(
            "SELECT wallet_id, source FROM billing_creditgrant WHERE kind <> 'overdraft' AND wallet_id = ANY (%s)"
            " ORDER BY id DESC LIMIT 6",
            [account.workspace_id for number, account in enumerate(self.accounts) if not is_calm(number)],
        )
        if found:
            workspace_id, of = self.chance.choice(found)
            source = f"c:{of}"
            answer = ledger.clawback(workspace_id=workspace_id, grant_source=of, source=source, amount=GRANT // 3)
            self.note(f"clawback {source} {answer.applied:d}")

    def expire(self) -> None:
        """Close the holds whose time has passed, with their usage events."""
        sweep_expired_holds(limit=50)

    def sweep(self) -> None:
        """Write off what has expired."""
        ledger.sweep_grants()

    def extend(self) -> None:
        """Let some holds live longer."""
        ids = [row[0] for row in _rows("SELECT id FROM billing_hold WHERE state = 'open' LIMIT 5")]
        ledger.extend_holds(ids, ttl=600.0)

    def freeze(self) -> None:
        """Stop a rough wallet's credit, or, more often, let it go on."""
        number = self.hot_wallet() | 1
        ledger.set_frozen(workspace_id=self.accounts[number].workspace_id, frozen=self.chance.random() < 0.1)


def request(accounts: Sequence[Account], number: int, chance: random.Random, *, at: float | None = None) -> Admission:
    """Return a request of a wallet, all of whose contents come from ``chance``, and its id from the time ``at`` (now) too."""
    account = accounts[number]
    millis = int((clock.now().timestamp() if at is None else at) * 1000)
    amount = chance.choice((0, 0, chance.randint(1, HOLD), HOLD, HOLD, HOLD, HOLD, 20 * HOLD))
    gets_old = not is_calm(number) and chance.random() < 0.2
    return Admission(
        request_id=uuid.UUID(int=millis << 80 | 0x7 << 76 | 0x2 << 62 | chance.getrandbits(60)),
        workspace_id=account.workspace_id,
        api_key_id=account.api_key_id,
        model="race",
        amount=amount,
        floor=chance.choice((amount, amount, amount // 3)),
        ttl=chance.choice((0.0, 0.2)) if gets_old else 600.0,
        quota=QuotaClaim(SUBJECT, QUOTA) if amount == 0 else None,
    )


def _rows(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]
        return list(cursor.fetchall())
