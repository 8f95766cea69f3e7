"""What the code does and what the documents say are the same list: environment variables, error codes, commands."""

import ast
import re
from collections.abc import Iterator

from gateway.errors import error_type
from tests.project.sources import ROOT, is_migration, name_of, python_files, tree_of

OPERATIONS = ROOT / "docs/operations.md"
ERRORS = ROOT / "docs/guide/errors.md"
#: Methods of lumyx.env.Env that read a variable.
READERS = {"text", "flag", "integer", "items", "url", "key"}
#: Read by the code, but set by Django, the shell or the project itself, never by an operator.
INTERNAL = {"DJANGO_SETTINGS_MODULE", "LUMYX_TEST_SERVICES"}
#: Error codes that are no answers of an HTTP endpoint of ours: none so far.
ROW = re.compile(r"^\| (\d{3}) \| (.+?) \|", re.MULTILINE)
CODE = re.compile(r"`([a-z_]+)`")


def _variables_read() -> set[str]:
    found: set[str] = set()
    for path in python_files("lumyx", "accounts", "billing", "gateway", "dashboard"):
        for node in ast.walk(tree_of(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in READERS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "env"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
            elif _is_environ(node):
                found |= set(_constant_key(node))
    return found - INTERNAL


def _is_environ(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value) == "os.environ"
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.environ.get", "os.getenv"}


def _constant_key(node: ast.AST) -> Iterator[str]:
    key = node.slice if isinstance(node, ast.Subscript) else node.args[0] if isinstance(node, ast.Call) else None
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        yield key.value


def test_every_environment_variable_is_documented_for_operators() -> None:
    read = _variables_read()
    assert {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"} <= read
    text = OPERATIONS.read_text()
    assert sorted(name for name in read if f"`{name}" not in text) == []


def _codes_in_code() -> set[tuple[int, str]]:
    """Return (status, code) of every ApiError that is made with constants."""
    found: set[tuple[int, str]] = set()
    for path in python_files("lumyx", "gateway"):
        if is_migration(path):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ApiError":
                values = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args[:2]]
                if len(values) == 2 and isinstance(values[0], int) and isinstance(values[1], str):
                    found.add((values[0], values[1]))
    return found


def _codes_in_documents() -> set[tuple[int, str]]:
    section = ERRORS.read_text().split("## Codes")[1]
    return {(int(row[1]), code) for row in ROW.finditer(section) for code in CODE.findall(row[2])}


def test_every_error_that_the_gateway_gives_is_documented_with_its_status() -> None:
    in_code = _codes_in_code()
    assert {(404, "model_not_found"), (413, "body_too_large"), (503, "unavailable")} <= in_code
    assert in_code - _codes_in_documents() == set()


def test_every_documented_error_is_one_that_the_gateway_can_give() -> None:
    source = "\n".join(
        path.read_text() for path in python_files("lumyx", "gateway", "billing", "dashboard") if not is_migration(path)
    )
    assert {code for _, code in _codes_in_documents() if f'"{code}"' not in source} == set()


def test_the_documented_types_follow_from_the_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", ERRORS.read_text(), re.MULTILINE)
    assert len(rows) >= 6
    for kind, statuses in rows:
        for status in statuses.split(","):
            assert error_type(int(status)) == kind


def test_every_command_says_what_it_is_for() -> None:
    for path in python_files("accounts", "billing", "gateway", "dashboard"):
        if path.parent.name == "commands" and path.name != "__init__.py":
            (command,) = [
                node for node in tree_of(path).body if isinstance(node, ast.ClassDef) and node.name == "Command"
            ]
            helps = [
                node.value.value
                for node in command.body
                if isinstance(node, ast.Assign)
                and ast.unparse(node.targets[0]) == "help"
                and isinstance(node.value, ast.Constant)
            ]
            assert len(helps) == 1, name_of(path)
            assert len(str(helps[0])) > 10, name_of(path)
