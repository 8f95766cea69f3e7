"""The house's rules that no linter knows: sizes, docstrings, and that the repository speaks of itself alone."""

import ast
import re
from pathlib import Path

from tests.project.sources import is_migration, name_of, python_files, repository_files, tree_of

MODULE_LINES, TEST_MODULE_LINES, FUNCTION_LINES = 300, 500, 50
#: Modules and functions that may be longer, each with its reason.
LONG_MODULES = {
    "lumyx/devservices.py": "two small servers of one shape; apart, each would need the other's ground rules",
    "lumyx/supervisor.py": "one process's life from start to end, told in order",
    "tests/gateway/upstreams/test_client.py": "every way in which one server can misbehave, one after another",
}
LONG_FUNCTIONS = {
    "tests/gateway/protocols/test_openai_answer.py:test_a_folded_stream_is_the_answer_it_stands_for": "a recorded stream",
}

#: Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(
    r"(?<![\w.~/-])/(" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me/" + r"\w+"]) + r")(/|\b)"
)
PACKAGE_HOSTS = re.compile(
    "|".join(
        [
            *(r"registry\." + name for name in ("npmjs", "yarnpkg")),
            "files" + r"\.pythonhosted",
            "pypi" + r"\.org/simple",
            "--(extra-)?index" + "-url",
            "deb" + r"\.debian\.org",
        ]
    )
)
PROMISES = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")


def _sources() -> list[Path]:
    return [path for path in python_files() if not is_migration(path)]


def _texts() -> list[tuple[Path, str]]:
    found = []
    for path in repository_files():
        try:
            found.append((path, path.read_text()))
        except UnicodeDecodeError:
            continue  # fonts and pictures
    return found


def _matches(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path, text in _texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_module_is_too_long() -> None:
    long = {}
    for path in _sources():
        lines = len(path.read_text().splitlines())
        limit = TEST_MODULE_LINES if name_of(path).startswith("tests/") else MODULE_LINES
        if lines > limit and name_of(path) not in LONG_MODULES:
            long[name_of(path)] = lines
    assert long == {}


def _length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines without its decorators and docstring."""
    last = function.end_lineno or function.lineno
    docstring = function.body[0] if ast.get_docstring(function) else None
    spared = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return last - function.lineno + 1 - spared


def test_no_function_is_too_long() -> None:
    long = {}
    for path in _sources():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length_of(node) >= FUNCTION_LINES:
                name = f"{name_of(path)}:{node.name}"
                if name not in LONG_FUNCTIONS:
                    long[name] = _length_of(node)
    assert long == {}


def test_every_exception_to_the_lengths_still_exists() -> None:
    names = {name_of(path) for path in _sources()}
    assert set(LONG_MODULES) <= names
    assert {name.partition(":")[0] for name in LONG_FUNCTIONS} <= names


def test_every_module_says_at_its_top_what_it_is_for() -> None:
    silent = []
    for path in _sources():
        docstring = ast.get_docstring(tree_of(path)) if path.read_text().strip() else ""
        is_empty_package = path.name == "__init__.py" and not path.read_text().strip()
        if not is_empty_package and (not docstring or len(docstring) < 15):
            silent.append(name_of(path))
    assert silent == []


def test_nothing_prints() -> None:
    printing = [
        f"{name_of(path)}:{node.lineno}"
        for path in _sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_nothing_is_imported_inside_a_function() -> None:
    hidden = [
        f"{name_of(path)}:{inner.lineno}"
        for path in _sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []


def test_there_is_no_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert [name_of(path) for path in _sources() if path.name in drawers] == []


def test_time_is_read_in_one_place() -> None:
    pattern = re.compile(r"\b(timezone\.now|datetime\.now|datetime\.utcnow|date\.today|dt\.datetime\.now)\(")
    code = [path for path in python_files("accounts", "billing", "gateway", "dashboard") if not is_migration(path)]
    readers = [name_of(path) for path in code if pattern.search(path.read_text())]
    assert readers == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert _matches(MACHINE_PATHS) == []


def test_no_file_names_a_package_host() -> None:
    assert _matches(PACKAGE_HOSTS) == []


def test_the_lock_file_for_node_names_no_place_to_fetch_from() -> None:
    locks = [(path, text) for path, text in _texts() if path.name == "package-lock.json"]
    assert locks
    for path, text in locks:
        assert '"resolved"' not in text, name_of(path)
        assert text.count('"integrity"') >= 2


def test_nothing_is_left_for_later_in_the_code() -> None:
    assert _matches(PROMISES) == []
