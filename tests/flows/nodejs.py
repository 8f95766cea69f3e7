"""Node for flow tests: installs the pinned packages once per checkout, and runs scripts that import them."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path(__file__).resolve().parent / "node"
HOME = ROOT / ".local/node"
LISTS = ("package.json", "package-lock.json", ".npmrc")
INSTALL_SECONDS, RUN_SECONDS = 240, 60


def require(program: str) -> str:
    """Return where a program is. Without it the test is skipped on a person's machine, and fails where CI is set."""
    found = shutil.which(program)
    if found:
        return found
    reason = f"{program} is not installed; install it to run this test."
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def install() -> Path:
    """Install the packages of the lock file into .local/node, unless they are there; return that folder."""
    npm = require("npm")
    require("node")
    wanted = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in LISTS)).hexdigest()
    HOME.mkdir(parents=True, exist_ok=True)
    stamp = HOME / "installed"
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run, and runs side by side
        if not stamp.exists() or stamp.read_text() != wanted:
            for name in LISTS:
                shutil.copy(SOURCE / name, HOME / name)
            done = subprocess.run(
                [npm, "ci"], cwd=HOME, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
            assert done.returncode == 0, f"npm ci failed in {HOME}:\n{done.stderr[-2000:]}"
            stamp.write_text(wanted)
    return HOME


def command_for(program: Path) -> list[str]:
    """Return the command that runs a program of ours, which may import the installed packages."""
    # Imports are looked up from where the program is, so it is put beside node_modules.
    place = install() / program.name
    shutil.copy(program, place)
    return [require("node"), str(place)]


def run_script(source: str, *arguments: str) -> str:
    """Run an ES module that may import the installed packages, and return its standard output."""
    # Imports are looked up from where the module is, so it is put beside node_modules.
    script = install() / f"{uuid.uuid4().hex}.mjs"
    script.write_text(source)
    try:
        done = subprocess.run(
            [require("node"), str(script), *arguments],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    finally:
        script.unlink()
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
