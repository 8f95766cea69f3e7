"""The base of operators' commands: subcommands, --json (one object on the last line of standard output), clear errors.

    class Command(JsonCommand):
        help = "Give credit."

        def add_subcommands(self, subcommands: Subcommands) -> None:
            grant = subcommands.add("grant", self.grant, help="Give a workspace credit.")
            grant.add_argument("--workspace", required=True, metavar="SLUG")

        def grant(self, *, workspace: str) -> None:
            self.answer({"workspace": workspace}, f"{workspace} has credit now.")

Messages go to standard error. A CommandError, or ``fail`` after ``answer``, ends with exit 1; with --json an object is
printed all the same, ``{"error": {"code", "message"}}`` unless there was an answer. Wrong usage is exit 2.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError

from lumyx.lib.origin import Origin, acting_as

JSON_HELP = "print one JSON object as the last line of standard output"
#: Python turns bytes of the command line that are not UTF-8 into lone surrogates.
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


class Subcommands:
    """Where a command declares its subcommands, each with the function that does it."""

    def __init__(self, parser: CommandParser) -> None:
        self._parsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")

    def add(self, name: str, run: Callable[..., None], *, help: str) -> argparse.ArgumentParser:
        """Declare a subcommand. ``run`` is called with the subcommand's own arguments as keywords."""
        parser = self._parsers.add_parser(name, help=help, description=help)
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=JSON_HELP)
        parser.set_defaults(run_subcommand=run, own_arguments=parser)
        return parser


class JsonCommand(BaseCommand):
    """A command that answers people in words and programs in JSON. Subclasses define ``add_subcommands``."""

    #: Its checks load the whole site; an operator's command should start quickly.
    requires_system_checks: tuple[str, ...] = ()

    _as_json = False
    _has_answered = False

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare the subcommands and their arguments."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare --json and the subcommands."""
        parser.add_argument("--json", action="store_true", help=JSON_HELP)
        self.add_subcommands(Subcommands(parser))

    def answer(self, payload: Mapping[str, Any], text: str) -> None:
        """Print the command's one answer: ``payload`` with --json, else ``text``."""
        if self._as_json:
            self._print_json(payload)
        else:
            self.stdout.write(text)
        self._has_answered = True

    def note(self, text: str) -> None:
        """Print a message on standard error."""
        self.stderr.write(text, lambda line: line)

    def fail(self, message: str) -> NoReturn:
        """End with exit 1 and a message on standard error; an answer that was given stays the only object."""
        raise CommandError(message)

    def handle(self, *_args: object, **options: Any) -> None:
        """Run the chosen subcommand."""
        self._as_json, self._has_answered = options["json"], False
        own: argparse.ArgumentParser = options["own_arguments"]
        names = {action.dest for action in own._actions} - {"help", "json"}
        try:
            for name in sorted(names):
                self._refuse_unstorable(name, options[name])
            with acting_as(partial(Origin, kind="command")):
                options["run_subcommand"](**{name: options[name] for name in names})
        except CommandError as error:
            self._print_error("failed", str(error))
            raise
        except OperationalError as error:
            message = f"The database cannot be used: {str(error).strip()}"
            self._print_error("database_unavailable", message)
            raise CommandError(message) from error
        except Exception as error:
            self._print_error("internal_error", f"{type(error).__name__}: {error}")
            raise

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as from a shell; wrong usage gets its JSON object too."""
        try:
            super().run_from_argv(argv)
        except SystemExit as stop:
            if stop.code == 2 and "--json" in argv:
                self._print_json({"error": {"code": "usage", "message": "Wrong usage; see standard error, or --help."}})
            raise

    def _refuse_unstorable(self, name: str, value: object) -> None:
        """Refuse text that no column and no file name can hold: a NUL, or bytes of the shell that are not UTF-8."""
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and UNSTORABLE.search(text) for text in texts):
            self.fail(f"{name} holds a NUL or bytes that are not UTF-8.")

    def _print_error(self, code: str, message: str) -> None:
        if self._as_json and not self._has_answered:
            self._print_json({"error": {"code": code, "message": message}})

    def _print_json(self, payload: Mapping[str, Any]) -> None:
        self.stdout.write(json.dumps(payload, cls=DjangoJSONEncoder))
