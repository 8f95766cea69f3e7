"""Random histories of a few wallets, done by the real ledger and by the model; whatever differs is a fault.

A step is a call of one of the ledger's public functions. Time passes by hand: expiries are moved into the past.
"""

import datetime as dt
import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

import psycopg
from django.db import connection

from billing.services import ledger
from billing.types import Admission, QuotaClaim, Settlement
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from proofs.ledger_crashes import crash_at_a_statement, end_by_the_server, rolled_back
from proofs.ledger_model import Account, FaultError, ModelGrant, ModelWallet

#: Free requests a day of each workspace, and the amounts of a hold and a grant in nano-USD. Small numbers meet at their edges.
QUOTA = 60
HOLD, SMALL_GRANT, BIG_GRANT = 12, 40, 900


class History:
    """One random history of fresh wallets. ``counts`` says how many operations of each kind were done."""

    def __init__(self, accounts: Sequence[Account], *, chance: random.Random, executioner: psycopg.Connection) -> None:
        self.accounts = accounts
        self.models = [ModelWallet() for _ in accounts]
        self.chance = chance
        self.executioner = executioner
        self.counts: Counter[str] = Counter()
        self._asked: list[tuple[int, Admission]] = []
        self._open: list[tuple[int, uuid.UUID]] = []
        self._clawed: dict[str, tuple[int, str, int]] = {}
        self._sources = 0
        self._name = uuid.uuid4().hex

    def run(self, steps: int) -> None:
        """Do so many steps, after a first grant for each wallet. Raises FaultError."""
        for who in range(len(self.accounts)):
            self.grant(who, "paid", BIG_GRANT)
        menu: list[tuple[Callable[[], None], int]] = [
            (self.admit, 30),
            (self.settle, 30),
            (self.grant_something, 8),
            (self.grant_again, 2),
            (self.expire_holds, 5),
            (self.let_a_grant_expire, 4),
            (self.clawback, 4),
            (self.claw_back_again, 2),
            (self.thaw, 4),
            (self.crash, 8),
        ]
        for step in self.chance.choices([step for step, _ in menu], [weight for _, weight in menu], k=steps):
            step()
        self.compare()

    def admit(self) -> None:
        """Ask for a batch, now and then with the server ending the connection meanwhile."""
        batch = self._batch()
        answers = self._survive(lambda: ledger.admit([request for _, request in batch]))
        for who in {who for who, _ in batch}:
            self.models[who].sweep()
        refused: dict[uuid.UUID, str] = {}
        for (who, request), answer in zip(batch, answers, strict=True):
            if request.request_id in refused:
                self._same("a repeated refusal", answer.refusal, refused[request.request_id])
                continue
            is_new = request.request_id not in self.models[who].holds
            refusal, held = self.models[who].admit(request)
            self._same("an admission", (answer.refusal, answer.held), (refusal, held))
            if refusal:
                refused[request.request_id] = refusal
            elif is_new:
                self._asked.append((who, request))
                self._open.append((who, request.request_id))
        self.counts["admit"] += len(batch)
        self.counts["refused"] += len(refused)

    def _batch(self) -> list[tuple[int, Admission]]:
        chance = self.chance
        # Half of the batches are plain: all new, all paid, all small; they are what the short way is for.
        is_plain = chance.random() < 0.5
        batch = []
        for _ in range(chance.choice((1, 1, 2, 4, 8, 16, 32, 64))):
            who = chance.randrange(len(self.accounts))
            kind = "fixed" if is_plain else chance.choice(("fixed", "fixed", "flexible", "free", "again", "huge"))
            if kind == "again" and self._asked:
                batch.append(chance.choice(self._asked))
            else:
                batch.append((who, self._request(who, kind)))
        return batch

    def _request(self, who: int, kind: str) -> Admission:
        account = self.accounts[who]
        amount = {"free": 0, "huge": 2 * BIG_GRANT}.get(kind, self.chance.randint(0, HOLD))
        return Admission(
            request_id=uuid7(),
            workspace_id=account.workspace_id,
            api_key_id=account.api_key_id,
            model="proof",
            amount=amount,
            floor=amount // 3 if kind == "flexible" else amount,
            ttl=600.0,
            quota=QuotaClaim(f"w:{account.workspace_id}", QUOTA) if kind == "free" else None,
        )

    def settle(self) -> None:
        """End a batch of requests: mostly open ones, some that are closed already, some twice."""
        self._open = [(who, id) for who, id in self._open if self.models[who].holds[id].state in {"open", "expired"}]
        size = min(len(self._open), self.chance.choice((1, 1, 2, 4, 8, 16, 32, 64)))
        batch = self.chance.sample(self._open, size)
        if self._asked and self.chance.random() < 0.3:
            who, request = self.chance.choice(self._asked)
            batch.append((who, request.request_id))
        releases = self.chance.random() < 0.5
        endings = [None if releases and self.chance.random() < 0.3 else self.chance.randint(0, 2 * HOLD) for _ in batch]
        settlements = [Settlement(id, rated) for (_, id), rated in zip(batch, endings, strict=True)]
        before = [self.models[who].holds[id].state in {"open", "expired"} for who, id in batch]
        answers = self._survive(lambda: ledger.settle(settlements))
        for (who, id), rated, answer, was_open in zip(batch, endings, answers, before, strict=True):
            charge, absorbed, applied = self.models[who].settle(id, rated)
            self._same("a charge", answer.charge, charge)
            # After a connection that broke, the first try may have been the one that counted.
            if answer.applied or not was_open:
                self._same("a settlement", (answer.absorbed, answer.applied), (absorbed, applied))
            self.counts["release" if rated is None else "settle"] += 1

    def expire_holds(self) -> None:
        """Let a few holds get old, and close them."""
        running = [hold for model in self.models for hold in model.holds.values() if hold.state == "open"]
        late = self.chance.sample(running, min(len(running), self.chance.randint(0, 6)))
        ids = [hold.request.request_id for hold in late]
        _run("UPDATE billing_hold SET expires_at = clock_timestamp() - interval '1 s' WHERE id = ANY (%s)", ids)
        if self.chance.random() < 0.3 and ids:
            kept, ids = ids[:1], ids[1:]
            ledger.extend_holds(kept, ttl=600.0)
            self.counts["extend"] += 1
        self._same("expired holds", {hold.request_id for hold in ledger.expire_holds()}, set(ids))
        for hold in late:
            if hold.request.request_id in ids:
                hold.state = "expired"
        self.counts["expire"] += len(ids)

    def grant_something(self) -> None:
        """Grant little or much, with or without an end."""
        kind = self.chance.choice(("paid", "promo", "vip"))
        self.grant(self.chance.randrange(len(self.accounts)), kind, self.chance.choice((SMALL_GRANT, BIG_GRANT)))

    def grant(self, who: int, kind: str, amount: int) -> None:
        """Grant ``amount``; what expires does so after one to three hours."""
        hours = self.chance.randint(0, 3) if kind != "paid" else 0
        source = self._new_source()
        expires_at = clock.now() + dt.timedelta(hours=hours) if hours else None
        outcome = ledger.grant(
            workspace_id=self.accounts[who].workspace_id, kind=kind, amount=amount, source=source, expires_at=expires_at
        )
        wallet = self.models[who]
        repaid = min(wallet.debt, amount)
        wallet.debt -= repaid
        self._same("a grant", (outcome.created, outcome.repaid), (True, repaid))
        # Grants of one hour were made at different moments, so the later one of the same hour is also later in order.
        rank = (30 if kind == "paid" else 10, hours or 9, self._sources)
        wallet.grants.append(ModelGrant(source, kind, amount, amount - repaid, rank))
        self.counts["grant"] += 1

    def _new_source(self) -> str:
        self._sources += 1
        return f"{self._name}:{self._sources}"

    def grant_again(self) -> None:
        """Deliver a source a second time."""
        who = self.chance.randrange(len(self.accounts))
        old = self.chance.choice(self.models[who].grants)
        again = ledger.grant(
            workspace_id=self.accounts[who].workspace_id, kind=old.kind, amount=old.amount, source=old.source
        )
        self._same("a grant of a known source", again.created, False)
        self.counts["grant"] += 1

    def let_a_grant_expire(self) -> None:
        """Let time pass for one grant, and sweep or leave that to the next admission."""
        live = [grant for model in self.models for grant in model.grants if grant.rank[1] < 9 and not grant.expired]
        if live:
            grant = self.chance.choice(live)
            grant.expired = True
            grant.rank = (grant.rank[0], -1, grant.rank[2])
            moment = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=grant.rank[2])
            _run("UPDATE billing_creditgrant SET expires_at = %s WHERE source = %s", moment, grant.source)
            _run(
                "UPDATE billing_wallet w SET next_expiry = (SELECT min(expires_at) FROM billing_creditgrant g"
                " WHERE g.wallet_id = w.workspace_id AND g.remaining > 0)"
            )
        if self.chance.random() < 0.5:
            ledger.sweep_grants()
            for model in self.models:
                model.sweep()
            self.counts["sweep"] += 1

    def clawback(self) -> None:
        """Take a part of a grant back, spent or not; now and then with a freeze."""
        who = self.chance.randrange(len(self.accounts))
        wallet, freeze = self.models[who], self.chance.random() < 0.2
        grant = self.chance.choice(wallet.grants)
        amount = max(1, grant.amount * self.chance.randint(1, 100) // 100)
        source = self._new_source()
        self._clawed[source] = (who, grant.source, amount)
        outcome = ledger.clawback(
            workspace_id=self.accounts[who].workspace_id,
            grant_source=grant.source,
            source=source,
            amount=amount,
            freeze=freeze,
        )
        taken = min(grant.remaining, amount)
        self._same("a clawback", (outcome.from_grant, outcome.to_overdraft), (taken, amount - taken))
        grant.remaining -= taken
        wallet.debt += amount - taken
        wallet.frozen = wallet.frozen or freeze
        self.counts["clawback"] += 1

    def claw_back_again(self) -> None:
        """Deliver a clawback a second time."""
        if not self._clawed:
            return
        source = self.chance.choice(sorted(self._clawed))
        who, grant_source, amount = self._clawed[source]
        again = ledger.clawback(
            workspace_id=self.accounts[who].workspace_id, grant_source=grant_source, source=source, amount=amount
        )
        self._same("a clawback of a known source", again.applied, False)
        self.counts["clawback"] += 1

    def thaw(self) -> None:
        """Let all wallets be spent from again."""
        for account, model in zip(self.accounts, self.models, strict=True):
            if model.frozen:
                ledger.set_frozen(workspace_id=account.workspace_id, frozen=False)
                model.frozen = False

    def crash(self) -> None:
        """Begin an admission or a settlement that dies before its end: it must leave nothing."""
        if self.chance.random() < 0.5:
            batch = [request for _, request in self._batch()]
            work: Callable[[], object] = lambda: ledger.admit(batch)  # noqa: E731  two kinds of work under one name
        else:
            known = [id for model in self.models for id in model.holds]
            chosen = self.chance.sample(known, min(len(known), 8))
            work = lambda: ledger.settle([Settlement(id, HOLD) for id in chosen])  # noqa: E731
        if self.chance.random() < 0.3:
            with rolled_back():
                work()
        else:
            crash_at_a_statement(work, statement=self.chance.randint(1, 7))
        self.counts["crash"] += 1
        self.compare()

    def _survive[T](self, work: Callable[[], T]) -> T:
        """Do ``work``; now and then the server ends the connection meanwhile, and it is done again."""
        if self.chance.random() < 0.03:
            self.counts["ended"] += 1
            result = end_by_the_server(work, executioner=self.executioner, chance=self.chance)
            if result is not None:
                return result
            self.counts["done_again"] += 1
        return work()

    def compare(self) -> None:
        """Compare wallets, grants and quotas with the model. Raises FaultError."""
        ids = [account.workspace_id for account in self.accounts]
        wallets = {row[0]: row[1:] for row in _run("SELECT workspace_id, posted, held, frozen FROM billing_wallet")}
        left = {
            row[0]: row[1]
            for row in _run("SELECT source, remaining FROM billing_creditgrant WHERE kind <> 'overdraft'")
        }
        used = {row[0]: row[1] for row in _run("SELECT subject, used FROM billing_dailyquota")}
        for id, model in zip(ids, self.models, strict=True):
            self._same("a wallet", wallets.get(id), (model.posted, model.held, model.frozen))
            self._same("a quota", used.get(f"w:{id}", 0), model.used)
        grants = {grant.source: grant.remaining for model in self.models for grant in model.grants}
        self._same("the grants", left, grants)

    def _same(self, what: str, seen: object, expected: object) -> None:
        if seen != expected:
            raise FaultError(f"{what}: the ledger says {seen!r}, the model {expected!r}; so far {dict(self.counts)}")


def _run(statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []
