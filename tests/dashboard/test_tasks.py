"""Every task of the schedule can run twice, in any order, beside itself and by hand, and the books stay as they are."""

import datetime as dt
import io
import json
import random
import threading
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing.models import Hold
from billing.selectors.books import books_hash
from billing.services import ledger
from billing.types import Settlement
from gateway.services.partitions import make_partitions
from gateway.services.usage import record_usage
from lumyx.celery import SCHEDULE, app
from tests.billing.builders import Account, admit_one, make_account, overdue, run_sql
from tests.gateway.records import NOON, usage_record

NAMES = [name for name, _, _ in SCHEDULE]
pytestmark = pytest.mark.django_db(transaction=True)


def run(name: str) -> None:
    """Run a task as a worker does: by its name."""
    app.tasks[name].apply(throw=True)


@pytest.fixture(autouse=True)
def accounts() -> list[Account]:
    """Fill the database with all that tasks look at: holds of every state, grants that expired, quotas, usage, a debt."""
    app.loader.import_default_modules()
    made = [make_account() for _ in range(3)]
    for account in made:
        account.fund(1_000)
        account.fund(500, kind="promo", expires_in=0.01)
        account.fund(300, kind="vip", expires_in=3600)
        requests = [account.request(100) for _ in range(4)]
        free = account.free_request(5)
        ledger.admit([*requests, free])
        ledger.settle([Settlement(requests[0].request_id, 40), Settlement(requests[1].request_id, None)])
        overdue(requests[2], free)
        record_usage([usage_record(id=requests[0].request_id, workspace_id=account.id, charge=40)])
        record_usage(
            [
                usage_record(workspace_id=account.id, charge=0, started_at=NOON - dt.timedelta(days=days))
                for days in (1, 2)
            ]
        )
    idle = make_account()  # nothing else looks at its wallet
    idle.fund(500, kind="promo", expires_in=0.05)
    time.sleep(0.1)  # until the promotional grants are over
    return made


def test_the_hash_of_the_books_sees_every_change(accounts: list[Account]) -> None:
    seen = [books_hash()]
    assert books_hash() == seen[0]

    def changed() -> bool:
        seen.append(books_hash())
        return len(set(seen)) == len(seen)

    accounts[0].fund(1)
    assert changed()
    request = accounts[0].request(10)
    admit_one(request)
    assert changed(), "a hold"
    overdue(request)
    assert changed(), "a hold's time"
    ledger.settle([Settlement(request.request_id, 1)])
    assert changed(), "an entry"
    run_sql("UPDATE billing_dailyquota SET used = used + 1 WHERE subject = %s", f"w:{accounts[1].id}")
    assert changed(), "a quota"
    run_sql("UPDATE billing_dailyquota SET used = used - 1 WHERE subject = %s", f"w:{accounts[1].id}")
    assert books_hash() == seen[-2]


def test_there_is_something_to_do_in_the_books() -> None:
    before = books_hash()
    run("gateway.tasks.sweep_holds")
    swept = books_hash()
    run("billing.tasks.sweep_grants")
    assert len({before, swept, books_hash()}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_second_and_a_third_run_change_nothing(name: str) -> None:
    run(name)
    once = books_hash()
    run(name)
    assert books_hash() == once
    run(name)
    assert books_hash() == once


@pytest.mark.parametrize("seed", range(3))
def test_all_tasks_three_times_in_any_order_change_nothing_more(seed: int) -> None:
    for name in NAMES:
        run(name)
    once = books_hash()
    order = NAMES * 3
    random.Random(seed).shuffle(order)
    for name in order:
        run(name)
        assert books_hash() == once, name


@pytest.mark.parametrize("name", NAMES)
def test_two_workers_at_once_do_it_once(name: str) -> None:
    failures: list[BaseException] = []
    gate = threading.Barrier(3)

    def work() -> None:
        try:
            gate.wait(10)
            run(name)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    once = books_hash()
    run(name)
    assert books_hash() == once


def test_workers_that_make_the_same_partitions_at_once_do_not_fail(caplog: pytest.LogCaptureFixture) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'gateway_usageevent'::regclass ORDER BY 1"
        )
        last = max(name for (name,) in cursor.fetchall() if name[-6:].isdigit())
        cursor.execute(f"DROP TABLE {last}")
    made: list[list[str]] = []
    failures: list[BaseException] = []
    gate = threading.Barrier(4)

    def work() -> None:
        try:
            gate.wait(10)
            made.append(make_partitions())
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(made) == [[], [], [], [f"{last[-6:-2]}-{last[-2:]}"]]
    assert "cannot be made" not in caplog.text


def ask(*words: str) -> dict[str, object]:
    """Run ``manage.py tasks`` and read its JSON."""
    out = io.StringIO()
    call_command("tasks", *words, "--json", stdout=out)
    answer: dict[str, object] = json.loads(out.getvalue().splitlines()[-1])
    return answer


def test_operators_see_the_schedule_and_run_a_task_in_the_foreground() -> None:
    listed = ask("list")["tasks"]
    assert isinstance(listed, list)
    assert [(row["name"], row["every_seconds"]) for row in listed] == [(name, every) for name, every, _ in SCHEDULE]
    assert all(row["does"] for row in listed)
    assert Hold.objects.filter(state="expired").count() == 0
    answer = ask("run", "gateway.tasks.sweep_holds")
    assert (answer["task"], answer["result"]) == ("gateway.tasks.sweep_holds", 6)
    assert Hold.objects.filter(state="expired").count() == 6
    assert ask("run", "gateway.tasks.sweep_holds")["result"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_each_task_can_be_run_by_hand(name: str) -> None:
    assert ask("run", name)["task"] == name


def test_a_task_that_is_not_in_the_schedule_is_refused_with_those_that_are() -> None:
    with pytest.raises(CommandError, match=r"no task 'gateway\.tasks\.nothing'.*gateway\.tasks\.aggregate_usage"):
        call_command("tasks", "run", "gateway.tasks.nothing")
