"""What the terminal shows of the logs: errors whole, the rest not."""

from pathlib import Path

import pytest

from lumyx import logtail
from lumyx.logtail import LogTail, rotate


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with a line that was there before."""
    path = tmp_path / "web.log"
    path.write_text("2026-11-22 10:00:00,000 ERROR old news\n")
    return path


def add(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_only_errors_and_their_tracebacks_come_through(log: Path) -> None:
    tail = LogTail(log)
    add(
        log,
        "2026-11-22 10:00:01,000 INFO gateway fine\n"
        "2026-11-22 10:00:02,000 ERROR gateway bad\nTraceback (most recent call last):\n  File x\nValueError: y\n"
        "2026-11-22 10:00:03,000 WARNING gateway so so\n  more of it\n"
        "[2026-11-22 10:00:04,000: CRITICAL/MainProcess] worse\n",
    )
    assert list(tail.new_errors()) == [
        "2026-11-22 10:00:02,000 ERROR gateway bad",
        "Traceback (most recent call last):",
        "  File x",
        "ValueError: y",
        "[2026-11-22 10:00:04,000: CRITICAL/MainProcess] worse",
    ]
    assert list(tail.new_errors()) == []


def test_a_program_that_dies_before_its_logging_is_set_up_is_heard(log: Path) -> None:
    tail = LogTail(log)
    add(log, "Traceback (most recent call last):\nImportError: no\n")
    assert list(tail.new_errors()) == ["Traceback (most recent call last):", "ImportError: no"]


def test_half_a_line_waits_for_its_other_half(log: Path) -> None:
    tail = LogTail(log)
    add(log, "2026-11-22 10:00:02,000 ERR")
    assert list(tail.new_errors()) == []
    add(log, "OR gateway bad\n")
    assert list(tail.new_errors()) == ["2026-11-22 10:00:02,000 ERROR gateway bad"]


def test_a_log_that_is_not_there_yet_has_no_errors(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "later.log")
    assert list(tail.new_errors()) == []
    (tmp_path / "later.log").write_text("2026-11-22 10:00:02,000 ERROR x\n")
    assert list(tail.new_errors()) == ["2026-11-22 10:00:02,000 ERROR x"]


def test_only_a_large_log_is_put_aside(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(log)
    assert log.exists()
    monkeypatch.setattr(logtail, "KEPT_BYTES", 10)
    rotate(log)
    assert not log.exists()
    assert "old news" in log.with_name("web.log.1").read_text()
