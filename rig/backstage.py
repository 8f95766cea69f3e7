"""Runs operators' commands in an installation's own database, many in one process, so that nobody waits for Django to start.

The process reads a JSON list of arguments a line, ["workspace", "create", …], and answers with a line: {"status", "output",
"errors"}. Between commands it holds no connection, so it outlives a database that goes and comes back.
"""

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import django
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from rig.processes import ROOT


class BackstageError(Exception):
    """The process that runs commands has ended."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left: its exit status, and what it wrote."""

    status: int
    output: str
    errors: str


class Backstage:
    """The process, from outside. One command at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rig.backstage"],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Done:
        """Run a command to its end. Raises BackstageError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(arguments) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BackstageError(f"The process that runs commands ended during {arguments}.")
        return Done(**json.loads(line))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def run(arguments: list[str]) -> dict[str, object]:
    """Run one command as `manage.py` would, and return its exit status, standard output and standard error."""
    output, errors, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command(arguments[0], *arguments[1:], stdout=output, stderr=errors)
    except CommandError as error:
        status = error.returncode
        errors.write(str(error))
    except SystemExit as error:
        status = int(error.code or 0)
    finally:
        connections.close_all()
    return {"status": status, "output": output.getvalue(), "errors": errors.getvalue()}


def main() -> None:
    """Answer commands until standard input ends."""
    django.setup()
    for line in sys.stdin:
        answer = run(json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
