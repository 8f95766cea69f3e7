"""The ledger against a small model of it in Python, over random histories, with the invariants after every step."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from billing.selectors.ledger import balance_of, broken_invariants
from billing.services import ledger
from billing.types import AdjustOutcome, Admission, Settlement
from proofs.ledger_crashes import rolled_back
from proofs.ledger_model import ModelAnswer, ModelGrant, ModelWallet
from tests.billing.builders import Account, make_account, overdue, run_sql

amounts = st.integers(1, 60)
LIMIT = 4


class LedgerMachine(RuleBasedStateMachine):
    """Two workspaces, one shared daily quota each, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts: list[Account] = []
        self.models: list[ModelWallet] = []
        self.requests: list[tuple[int, Admission]] = []
        self.sources = 0
        self.clawed: dict[str, tuple[int, str, int]] = {}
        self.adjusted: dict[str, tuple[int, int]] = {}

    @initialize()
    def open_accounts(self) -> None:
        self.accounts = [make_account(), make_account()]
        self.models = [ModelWallet(), ModelWallet()]

    @rule(
        who=st.integers(0, 1), kind=st.sampled_from(["paid", "promo", "vip"]), amount=amounts, hours=st.integers(0, 3)
    )
    def grant(self, who: int, kind: str, amount: int, hours: int) -> None:
        self.sources += 1
        source = f"s{self.sources}"
        expires = kind != "paid" and hours > 0
        self.accounts[who].fund(amount, kind=kind, expires_in=hours * 3600 if expires else None, source=source)
        wallet = self.models[who]
        # Grants of one hour were made at different moments, so the later one of the same hour is also later in order.
        rank = (30 if kind == "paid" else 10, hours if expires else 9, self.sources)
        wallet.grant(ModelGrant(source, kind, amount, amount, rank))

    @rule(data=st.data())
    def grant_again(self, data: st.DataObject) -> None:
        who = data.draw(st.integers(0, 1))
        if self.models[who].grants:
            old = data.draw(st.sampled_from(self.models[who].grants))
            arguments: dict[str, Any] = {"kind": old.kind, "amount": old.amount, "source": old.source}
            assert ledger.grant(workspace_id=self.accounts[who].id, **arguments).created is False

    @rule(data=st.data(), crash=st.booleans())
    def admit(self, data: st.DataObject, crash: bool) -> None:
        batch = []
        for _ in range(data.draw(st.integers(1, 5))):
            who = data.draw(st.integers(0, 1))
            choice = data.draw(st.sampled_from(["fixed", "flexible", "free", "again"]))
            account, amount = self.accounts[who], data.draw(amounts)
            if choice == "again" and self.requests:
                batch.append(data.draw(st.sampled_from(self.requests)))
            elif choice == "free":
                batch.append((who, account.free_request(LIMIT)))
            else:
                batch.append((who, account.request(amount, floor=amount // 3 if choice == "flexible" else None)))
        if crash:
            with rolled_back():
                ledger.admit([request for _who, request in batch])
            return
        self.requests += [pair for pair in batch if pair not in self.requests]
        answers = ledger.admit([request for _who, request in batch])
        for wallet in {who: self.models[who] for who, _request in batch}.values():
            wallet.sweep()
        told: dict[uuid.UUID, ModelAnswer] = {}
        for (who, request), answer in zip(batch, answers, strict=True):
            if request.request_id not in told:  # repeated within the batch: the same answer
                told[request.request_id] = self.models[who].admit(request)
            seen = (answer.refusal, answer.held, answer.available, answer.quota_remaining)
            assert seen == told[request.request_id]

    @rule(data=st.data(), crash=st.booleans())
    def settle(self, data: st.DataObject, crash: bool) -> None:
        known = [(who, id_) for who, model in enumerate(self.models) for id_ in model.holds]
        if not known:
            return
        batch = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=5))
        endings = [data.draw(st.none() | st.integers(0, 80)) for _ in batch]
        settlements = [Settlement(id_, rated) for (_who, id_), rated in zip(batch, endings, strict=True)]
        if crash:
            with rolled_back():
                ledger.settle(settlements)
            return
        answers = ledger.settle(settlements)
        for (who, id_), rated, answer in zip(batch, endings, answers, strict=True):
            assert (answer.charge, answer.absorbed, answer.applied) == self.models[who].settle(id_, rated)

    @rule(data=st.data())
    def expire_holds(self, data: st.DataObject) -> None:
        running = [(model, hold) for model in self.models for hold in model.holds.values() if hold.state == "open"]
        late = data.draw(st.lists(st.sampled_from(running), unique_by=lambda pair: id(pair[1]))) if running else []
        overdue(*[hold.request for _model, hold in late])
        assert {hold.request_id for hold in ledger.expire_holds()} == {hold.request.request_id for _model, hold in late}
        for model, hold in late:
            model.expire(hold)

    @rule(data=st.data(), sweep=st.booleans())
    def let_a_grant_expire(self, data: st.DataObject, sweep: bool) -> None:
        live = [g for model in self.models for g in model.grants if g.rank[1] < 9 and not g.expired]
        if live:
            grant = data.draw(st.sampled_from(live))
            grant.expired = True
            # All that expire later keep their order: the one that has expired is the first of its priority.
            grant.rank = (grant.rank[0], -1, grant.rank[2])
            moment = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=grant.rank[2])
            run_sql("UPDATE billing_creditgrant SET expires_at = %s WHERE source = %s", moment, grant.source)
            run_sql(
                "UPDATE billing_wallet w SET next_expiry = (SELECT min(expires_at) FROM billing_creditgrant g"
                " WHERE g.wallet_id = w.workspace_id AND g.remaining > 0)"
            )
        if sweep:
            ledger.sweep_grants()
            for model in self.models:
                model.sweep()

    @rule(data=st.data(), who=st.integers(0, 1), part=st.integers(1, 100), freeze=st.sampled_from([False, False, True]))
    def clawback(self, data: st.DataObject, who: int, part: int, freeze: bool) -> None:
        wallet, account = self.models[who], self.accounts[who]
        if not wallet.grants:
            return
        grant = data.draw(st.sampled_from(wallet.grants))
        amount = max(1, grant.amount * part // 100)
        self.sources += 1
        source = f"c{self.sources}"
        self.clawed[source] = (who, grant.source, amount)
        outcome = ledger.clawback(
            workspace_id=account.id, grant_source=grant.source, source=source, amount=amount, freeze=freeze
        )
        assert (outcome.from_grant, outcome.to_overdraft) == wallet.claw_back(grant, amount)
        wallet.frozen = wallet.frozen or freeze

    @rule(data=st.data())
    def claw_back_again(self, data: st.DataObject) -> None:
        if self.clawed:
            source = data.draw(st.sampled_from(sorted(self.clawed)))
            who, grant_source, amount = self.clawed[source]
            account = self.accounts[who]
            again = ledger.clawback(
                workspace_id=account.id, grant_source=grant_source, source=source, amount=amount, freeze=True
            )
            assert again.applied is False

    @rule(who=st.integers(0, 1), amount=amounts)
    def adjust_up(self, who: int, amount: int) -> None:
        self.sources += 1
        source = f"a{self.sources}"
        outcome = self._adjust(who, amount, source)
        fresh = ModelGrant(f"adjustment:{source}", "paid", amount, amount, (30, 9, self.sources))
        assert (outcome.applied, outcome.repaid) == (True, self.models[who].grant(fresh))
        self.adjusted[source] = (who, amount)

    @rule(who=st.integers(0, 1), amount=amounts, may_owe=st.booleans())
    def adjust_down(self, who: int, amount: int, may_owe: bool) -> None:
        self.sources += 1
        source = f"a{self.sources}"
        expected = self.models[who].adjust_down(amount, may_owe=may_owe)
        if expected is None:
            with pytest.raises(ledger.InsufficientCreditError):
                self._adjust(who, -amount, source)
            return
        outcome = self._adjust(who, -amount, source, may_owe=may_owe)
        assert (outcome.applied, outcome.taken, outcome.owed) == (True, *expected)
        self.adjusted[source] = (who, -amount)

    @rule(data=st.data())
    def adjust_again(self, data: st.DataObject) -> None:
        if self.adjusted:
            source = data.draw(st.sampled_from(sorted(self.adjusted)))
            who, amount = self.adjusted[source]
            assert self._adjust(who, amount, source, may_owe=True).applied is False
            with pytest.raises(ledger.SourceConflictError):
                self._adjust(who, -amount, source, may_owe=True)
            with pytest.raises(ledger.SourceConflictError):
                self._adjust(1 - who, amount, source, may_owe=True)

    def _adjust(self, who: int, amount: int, source: str, *, may_owe: bool = False) -> AdjustOutcome:
        return ledger.adjust(
            workspace_id=self.accounts[who].id,
            amount=amount,
            reason="By the model",
            actor_id=None,
            source=source,
            may_owe=may_owe,
        )

    @rule(who=st.integers(0, 1), amount=st.none() | st.integers(1, 120))
    def set_budget(self, who: int, amount: int | None) -> None:
        # The model knows no periods, and a budget of another begins anew: each account keeps to one of them.
        period = ("day", "total")[who] if amount else ""
        key = self.accounts[who].api_key_id
        run_sql("UPDATE accounts_apikey SET budget_nano = %s, budget_period = %s WHERE id = %s", amount, period, key)
        self.models[who].key_budget.amount = amount

    @rule(who=st.integers(0, 1))
    def thaw(self, who: int) -> None:
        ledger.set_frozen(workspace_id=self.accounts[who].id, frozen=False)
        self.models[who].frozen = False

    @invariant()
    def the_books_say_what_the_model_says(self) -> None:
        assert broken_invariants() == []
        for account, model in zip(self.accounts, self.models, strict=True):
            rows = run_sql("SELECT posted, held, frozen FROM billing_wallet WHERE workspace_id = %s", account.id)
            assert rows in ([], [(model.posted, model.held, model.frozen)])
            left = run_sql(
                "SELECT source, remaining FROM billing_creditgrant WHERE wallet_id = %s AND kind <> 'overdraft'",
                account.id,
            )
            assert dict(left) == {grant.source: grant.remaining for grant in model.grants}  # type: ignore[arg-type]
            used = run_sql("SELECT used FROM billing_dailyquota WHERE subject = %s", f"w:{account.id}")
            assert used in ([], [(model.used,)])
            budget = run_sql("SELECT held, spent FROM billing_budgetuse WHERE wallet_id = %s", account.id)
            assert (budget or [(0, 0)]) == [(model.key_budget.held, model.key_budget.spent)]

    @invariant()
    def balances_do_not_wait_for_the_sweeper(self) -> None:
        for account, model in zip(self.accounts, self.models, strict=True):
            balance = balance_of(account.id)
            live = sum(grant.remaining for grant in model.grants if not grant.expired) - model.debt
            assert max(0, balance.available) == max(0, live - model.held)


class Isolated(LedgerMachine):
    """Each history in a transaction of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint_create()

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)


@pytest.mark.django_db
def test_random_histories_end_as_the_model_says() -> None:
    run_state_machine_as_test(
        Isolated,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    assert not connection.needs_rollback
