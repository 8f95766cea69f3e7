"""The files of the project that are or will be in the repository, and their syntax trees."""

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("lumyx", "accounts", "billing", "gateway", "dashboard")


@functools.cache
def repository_files() -> tuple[Path, ...]:
    """Return every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = {ROOT / name for name in listed.stdout.decode().split("\0") if name}
    return tuple(sorted(path for path in paths if path.is_file()))


def python_files(*folders: str) -> list[Path]:
    """Return the Python files below some folders of the repository; without folders, all."""
    found = [path for path in repository_files() if path.suffix == ".py"]
    return [path for path in found if not folders or path.relative_to(ROOT).parts[0] in folders]


def is_migration(path: Path) -> bool:
    """Tell whether a file is a migration: it is kept as it was generated and applied."""
    return "migrations" in path.parts


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(), filename=str(path))


def name_of(path: Path) -> str:
    """Return a path as people write it, from the root of the repository."""
    return path.relative_to(ROOT).as_posix()
