"""Follows log files and picks out what a person at the terminal should see: errors, with their tracebacks."""

import re
from collections.abc import Iterator
from pathlib import Path

#: The first line of an entry: ours ("2026-01-31 12:00:00,000 ERROR name text"), Celery's ("[2026-01-31 12:00:00,000: ERROR/Main…"),
#: PostgreSQL's ("2026-01-31 12:00:00.000 UTC [42] PANIC:  text").
ENTRY = re.compile(r"^\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")
BAD_ENTRY = re.compile(r"^\[?\d{4}-\d\d-\d\d[ T][^ ]+ (ERROR|CRITICAL)\b|^\S+ \S+ \S+ \[\d+\] PANIC:")
#: What a program that never reached its logging set-up leaves.
BARE_TRACEBACK = "Traceback (most recent call last):"
KEPT_BYTES = 20_000_000


def rotate(log: Path) -> None:
    """Put a log aside as NAME.1 when it has grown large; the one before it goes."""
    if log.exists() and log.stat().st_size > KEPT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


class LogTail:
    """Reads what is added to one log from now on."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.position = log.stat().st_size if log.exists() else 0
        self._rest = b""
        self._in_error = False

    def new_errors(self) -> Iterator[str]:
        """Yield the lines of errors since the last call, each entry with the lines that follow it."""
        if not self.log.exists():
            return
        with self.log.open("rb") as file:
            file.seek(self.position)
            added = file.read()
        self.position += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        for raw in lines:
            line = raw.decode(errors="replace")
            if ENTRY.match(line):
                self._in_error = bool(BAD_ENTRY.match(line))
            elif line == BARE_TRACEBACK:
                self._in_error = True
            if self._in_error:
                yield line
