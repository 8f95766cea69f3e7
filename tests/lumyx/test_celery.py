"""The beat schedule names tasks that exist."""

from lumyx.celery import SCHEDULE, app


def test_every_scheduled_task_is_registered_under_that_name() -> None:
    app.loader.import_default_modules()
    missing = [name for name, _, _ in SCHEDULE if name not in app.tasks]
    assert missing == []


def test_every_entry_has_a_reason_and_an_interval() -> None:
    assert all(seconds > 0 and reason for _, seconds, reason in SCHEDULE)
    assert len(app.conf.beat_schedule) == len(SCHEDULE)
