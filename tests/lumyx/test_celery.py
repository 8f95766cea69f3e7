"""The beat schedule names tasks that exist, and what queues them finds the application."""

import subprocess
import sys
from pathlib import Path

from lumyx.celery import SCHEDULE, app


def test_every_scheduled_task_is_registered_under_that_name() -> None:
    app.loader.import_default_modules()
    missing = [name for name, _, _ in SCHEDULE if name not in app.tasks]
    assert missing == []


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
