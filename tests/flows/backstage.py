"""Runs operators' commands in an installation's own database, many in one process, so that no test waits for Django to start.

It reads a JSON list of arguments a line, ["workspace", "create", …], and answers with a line: {"status", "output", "errors"}.
"""

import io
import json
import sys

import django
from django.core.management import call_command
from django.core.management.base import CommandError


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
