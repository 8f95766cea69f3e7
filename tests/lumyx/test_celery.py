"""The schedule names tasks that exist, tasks are safe to lose and to repeat, and messages that nobody knows do no harm."""

import datetime as dt
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler
from celery.contrib.testing.worker import start_worker

from gateway.selectors.patience import PATIENCE
from lumyx.celery import EXPIRY_FLOOR, SCHEDULE, app
from lumyx.lib import clock


def test_every_scheduled_task_is_registered_under_its_dotted_path() -> None:
    app.loader.import_default_modules()
    for name, _, _ in SCHEDULE:
        assert name in app.tasks
        module, _, function = name.rpartition(".")
        assert getattr(importlib.import_module(module), function).name == name


def test_every_task_of_the_project_is_named_by_its_dotted_path() -> None:
    app.loader.import_default_modules()
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    assert ours
    assert [name for name, task in ours.items() if name != f"{task.__module__}.{task.__name__}"] == []


def test_every_entry_has_a_reason_and_an_interval() -> None:
    assert all(seconds > 0 and reason for _, seconds, reason in SCHEDULE)
    assert len(app.conf.beat_schedule) == len(SCHEDULE)


def test_a_web_process_queues_to_its_broker_from_every_thread() -> None:
    code = (
        "import threading, lumyx.asgi, celery\n"
        "thread = threading.Thread(target=lambda: print(celery.current_app.main, celery.current_app.conf.broker_url))\n"
        "thread.start(); thread.join()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.stdout == "lumyx memory://\n", done.stderr


def test_runs_that_nobody_took_in_time_do_not_heap_up() -> None:
    for name, seconds, _ in SCHEDULE:
        expires = app.conf.beat_schedule[name]["options"]["expires"]
        assert expires >= seconds
        assert expires >= EXPIRY_FLOOR


def test_a_run_that_is_lost_with_its_worker_is_delivered_again_and_no_sooner_than_it_may_last() -> None:
    conf = app.conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert PATIENCE < conf.task_soft_time_limit < conf.task_time_limit
    assert conf.task_time_limit < conf.broker_transport_options["visibility_timeout"]


def test_messages_are_json_and_results_are_not_kept() -> None:
    assert (app.conf.task_serializer, app.conf.accept_content) == ("json", ["json"])
    assert app.conf.task_ignore_result is True
    assert app.conf.result_backend is None


def test_the_broker_may_be_away_at_the_start_and_for_ever() -> None:
    assert app.conf.broker_connection_retry is True
    assert app.conf.broker_connection_retry_on_startup is True
    assert app.conf.broker_connection_max_retries is None


def test_a_clock_that_was_away_for_long_runs_each_task_once_and_forgets_tasks_of_old_names(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scheduler() -> PersistentScheduler:
        return PersistentScheduler(app, schedule_filename=f"{tmp_path}/schedule", lazy=False)

    first = scheduler()
    first.add(name="gateway.tasks.roll_up_usage", task="gateway.tasks.roll_up_usage", schedule=60)
    for entry in first.schedule.values():
        entry.last_run_at = clock.now() - dt.timedelta(days=365)
    first.close()
    again = scheduler()
    sent: list[str] = []
    monkeypatch.setattr(again, "apply_async", lambda entry, **_: sent.append(entry.task))
    for _ in range(3 * len(SCHEDULE)):
        again.tick()
    again.close()
    assert sorted(sent) == sorted(name for name, _, _ in SCHEDULE)


def test_a_queued_run_of_a_name_that_is_gone_is_dropped_and_the_next_one_runs() -> None:
    worker_app = Celery("other", broker="memory://", set_as_current=False)
    worker_app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, accept_content=["json"])
    ran: list[int] = []

    @worker_app.task(name="known")
    def known(number: int) -> None:
        ran.append(number)

    for number in range(2):
        worker_app.send_task("gateway.tasks.roll_up_usage")
        worker_app.send_task("known", args=[number])
    with start_worker(worker_app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        deadline = clock.monotonic() + 20
        while len(ran) < 2 and clock.monotonic() < deadline:
            pass
    with worker_app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        left = channel.queue_declare("celery", passive=True).message_count
    assert (ran, left) == ([0, 1], 0)
