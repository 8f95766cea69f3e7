"""The ledger's simulator, short: thousands of random operations, and a sabotaged ledger that it must catch."""

import random
from pathlib import Path

import psycopg
import pytest
from django.db import connection, transaction

from billing.selectors.ledger import broken_invariants
from billing.services import ledger
from billing.types import Settled, Settlement
from lumyx.lib.ids import uuid7
from proofs import ledger_recorder
from proofs.ledger import ledger as prove_ledger
from proofs.ledger_diary import Diaries
from proofs.ledger_model import Account, FaultError, ModelGrant, ModelWallet
from proofs.ledger_race import ledger_race
from proofs.ledger_steps import History
from proofs.report import Report
from tests.billing.builders import make_account, run_sql, settle_one
from tests.factories import make_api_key, make_workspace


def test_random_operations_end_as_the_model_says() -> None:
    report = Report("ledger", 11)
    prove_ledger(report, True)
    assert report.wrong == []
    assert report.line().startswith("PROVED ledger seed=11 operations=")


def test_many_processes_on_few_wallets_keep_the_books() -> None:
    report = Report("ledger-race", 11)
    ledger_race(report, True)
    assert report.wrong == []
    assert report.figures["killed"]
    assert report.figures["cut"]


def test_a_wallet_of_the_model_is_swept_as_if_nano_by_nano() -> None:
    chance = random.Random(5)
    for _ in range(500):
        grants = [
            ModelGrant(str(rank), "vip", 20, chance.randint(0, 20), (10, rank, 0), expired=chance.random() < 0.6)
            for rank in range(chance.randint(1, 4))
        ]
        swept = ModelWallet(grants=grants, debt=chance.choice((0, 0, 15)), held=chance.randint(0, 60))
        left = {grant.source: grant.remaining for grant in grants}
        gone = [grant.source for grant in grants if grant.expired]
        while sum(left[source] for source in gone) and (
            sum(left[source] for source in gone) > swept.held or sum(left.values()) - swept.debt > swept.held
        ):
            left[next(source for source in gone if left[source])] -= 1
        swept.sweep()
        assert {grant.source: grant.remaining for grant in grants} == left


@pytest.mark.django_db(transaction=True)
@pytest.mark.breaks_the_books
def test_the_recorder_sees_what_the_invariants_cannot() -> None:
    account = make_account()
    account.fund(100)
    with psycopg.connect(**{**connection.get_connection_params(), "autocommit": True}) as recorder:
        ledger_recorder.install(recorder)
        try:
            request = account.request(80)
            ledger.admit([request])
            ledger.settle([Settlement(request.request_id, 30)])
            run_sql("UPDATE billing_hold SET state = 'released', actual = NULL WHERE id = %s", request.request_id)
            with transaction.atomic():
                run_sql("UPDATE billing_wallet SET held = held + 90 WHERE workspace_id = %s", account.id)
                run_sql(
                    "INSERT INTO billing_hold (id, wallet_id, amount, state, expires_at, model)"
                    " VALUES (gen_random_uuid(), %s, 90, 'open', now(), 'x')",
                    account.id,
                )
            assert broken_invariants()[0]["invariant"] == "hold_is_its_usage_entries"
            deeds, wrong = ledger_recorder.judge(recorder)
        finally:
            ledger_recorder.remove(recorder)
    assert deeds >= 4
    assert [fault.partition(",")[0] for fault in wrong] == [
        "a hold was placed that nothing covers",
        "a wallet went below zero for no reason",
        "a hold went a way that there is not",
        "the lines of a request do not sum to its charge",
        "a closed hold has not its one usage event",
    ]


@pytest.mark.django_db(transaction=True)
def test_diaries_that_the_books_do_not_bear_out_are_seen(tmp_path: Path) -> None:
    account = make_account()
    source = account.fund(100)
    request, other = account.request(80), uuid7()
    ledger.admit([request])
    settle_one(request, 30)
    lines = [
        *(f"admit {request.request_id} 80", f"settle {request.request_id} 30 1", f"grant {source} 1"),
        *(
            f"admit {other} 5",
            f"settle {request.request_id} 31 1",
            "clawback c:1 1",
            f"grant {source} 1",
            "settle cut of",
        ),
    ]
    (tmp_path / "diary-1").write_text("\n".join(lines))
    with psycopg.connect(**connection.get_connection_params()) as reader:
        faults = Diaries.of(tmp_path).faults(reader)
    assert [fault.split(" was ")[0].split(" is ")[0] for fault in faults] == [
        f"settle {request.request_id}",
        f"grant {source}",
        f"request {other}",
        f"request {request.request_id}",
        "clawback c:1",
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.breaks_the_books
def test_a_ledger_that_charges_one_too_little_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = []
    for number in range(2):
        workspace = make_workspace(f"W{number}")
        accounts.append(Account(workspace.pk, make_api_key(workspace).row.pk))
    honest = ledger.settle

    def sloppy(settlements: list[Settlement]) -> list[Settled]:
        return honest(
            [Settlement(one.request_id, max(0, one.rated - 1) if one.rated else one.rated) for one in settlements]
        )

    monkeypatch.setattr(ledger, "settle", sloppy)
    with psycopg.connect(**{**connection.get_connection_params(), "autocommit": True}) as executioner:
        history = History(accounts, chance=random.Random(3), executioner=executioner)
        with pytest.raises(FaultError, match="the ledger says"):
            history.run(60)
