"""Runs operators' commands as a shell does: exit status, last line of standard output, standard error."""

import io
import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand, CommandError

from lumyx.lib.commands import JsonCommand


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON object on the last line."""
        answer: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return answer

    @property
    def refusal(self) -> str:
        """The message of a command that ended with exit 1, checked to be told both ways."""
        assert self.status == 1, self
        message = str(self.answer["error"]["message"])
        assert message in self.err
        return message


def run(name: str, *arguments: str, app: str = "dashboard") -> Ran:
    """Run a command of an app with --json."""
    out, err = io.StringIO(), io.StringIO()
    command = load_command_class(app, name)
    assert isinstance(command, JsonCommand)
    command.stdout._out, command.stderr._out = out, err
    status = 0
    try:
        command.run_from_argv(["manage.py", name, *arguments, "--json"])
    except SystemExit as stop:
        status = int(stop.code or 0)
    return Ran(status, out.getvalue(), err.getvalue())
