"""The ledger's simulator, short: thousands of random operations, and a sabotaged ledger that it must catch."""

import random

import psycopg
import pytest
from django.db import connection

from billing.services import ledger
from billing.types import Settled, Settlement
from proofs.ledger import ledger as prove_ledger
from proofs.ledger_model import Account, FaultError
from proofs.ledger_race import ledger_race
from proofs.ledger_steps import History
from proofs.report import Report
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
