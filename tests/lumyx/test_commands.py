"""The base of operators' commands: one JSON object on the last line, messages on standard error, clear exits."""

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError

from lumyx.lib.commands import JsonCommand, Subcommands


class Greeter(JsonCommand):
    """A command with every kind of end."""

    help = "Greets."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        greet = subcommands.add("greet", self.greet, help="Say hello.")
        greet.add_argument("--loud-name", required=True)
        subcommands.add("refuse", self.refuse, help="Fail.")
        subcommands.add("doubt", self.doubt, help="Answer, then fail.")
        subcommands.add("lose", self.lose, help="Lose the database.")

    def greet(self, *, loud_name: str) -> None:
        self.note("about to greet")
        self.answer({"hello": loud_name}, f"Hello, {loud_name}.")

    def refuse(self) -> None:
        self.fail("There is nobody.")

    def doubt(self) -> None:
        self.answer({"sure": False}, "Not sure.")
        self.fail("One doubt.")

    def lose(self) -> None:
        raise OperationalError("connection refused")


def run(*arguments: str) -> tuple[str, str, str]:
    """Return standard output, standard error and the error's message ("" if it went well)."""
    out, err, message = io.StringIO(), io.StringIO(), ""
    try:
        call_command(Greeter(), *arguments, stdout=out, stderr=err)
    except CommandError as error:
        message = str(error)
    return out.getvalue(), err.getvalue(), message


def run_from_shell(*arguments: str) -> tuple[int | str | None, str, str]:
    """Return the exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as stop:
        Greeter(stdout=out, stderr=err).run_from_argv(["manage.py", "greeter", *arguments])
    return stop.value.code, out.getvalue(), err.getvalue()


def test_people_get_words_and_messages_go_to_standard_error() -> None:
    assert run("greet", "--loud-name", "Alice") == ("Hello, Alice.\n", "about to greet\n", "")


@pytest.mark.parametrize(
    "arguments", [("--json", "greet", "--loud-name", "Al"), ("greet", "--loud-name", "Al", "--json")]
)
def test_json_is_one_object_wherever_the_option_stands(arguments: tuple[str, ...]) -> None:
    out, _err, _message = run(*arguments)
    assert json.loads(out) == {"hello": "Al"}
    assert out.count("\n") == 1


def test_a_failure_is_an_error_object_exit_1_and_a_message() -> None:
    code, out, err = run_from_shell("refuse", "--json")
    assert code == 1
    assert json.loads(out) == {"error": {"code": "failed", "message": "There is nobody."}}
    assert "There is nobody." in err


def test_a_failure_without_json_prints_nothing_on_standard_output() -> None:
    code, out, err = run_from_shell("refuse")
    assert (code, out) == (1, "")
    assert "There is nobody." in err


def test_an_answer_before_a_failure_stays_the_only_object() -> None:
    code, out, _err = run_from_shell("doubt", "--json")
    assert code == 1
    assert json.loads(out) == {"sure": False}


def test_a_lost_database_is_a_clear_error() -> None:
    code, out, err = run_from_shell("lose", "--json")
    assert code == 1
    assert json.loads(out)["error"]["code"] == "database_unavailable"
    assert "The database cannot be used: connection refused" in err


def test_wrong_usage_is_exit_2_with_an_error_object(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = run_from_shell("greet", "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "usage"
    assert "--loud-name" in capsys.readouterr().err


def test_help_names_the_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    code, _out, _err = run_from_shell("--help")
    assert code == 0
    assert "greet" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a\x00b", "\udcff"])
def test_text_that_cannot_be_stored_is_refused_before_the_command_runs(name: str) -> None:
    code, out, err = run_from_shell("greet", "--loud-name", name, "--json")
    assert code == 1
    assert json.loads(out)["error"] == {
        "code": "failed",
        "message": "loud_name holds a NUL or bytes that are not UTF-8.",
    }
    assert "about to greet" not in err
