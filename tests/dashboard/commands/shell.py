"""Runs operators' commands inside the test's transaction, and returns what a shell would see."""

import io
import json
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: standard output, standard error, and the error's message ("" if it went well)."""

    out: str
    err: str
    message: str

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON object on the last line of a command that went well."""
        assert not self.message
        answer: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return answer

    @property
    def refusal(self) -> str:
        """The message of a command that ended with exit 1; its JSON object says the same."""
        assert json.loads(self.out.splitlines()[-1]) == {"error": {"code": "failed", "message": self.message}}
        return self.message


def run(name: str, *arguments: str) -> Ran:
    """Run a command with --json."""
    out, err, message = io.StringIO(), io.StringIO(), ""
    try:
        call_command(name, *arguments, "--json", stdout=out, stderr=err)
    except CommandError as error:
        message = str(error)
    return Ran(out.getvalue(), err.getvalue(), message)
