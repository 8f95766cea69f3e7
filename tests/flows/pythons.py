"""The older majors of the official Python clients, which others still pin: installed once per checkout, in a venv of their own."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = Path(__file__).resolve().parent / "python/requirements.txt"
HOME = ROOT / ".local/python-clients"
INSTALL_SECONDS = 240


def install() -> Path:
    """Install the locked requirements into .local/python-clients, unless they are there; return the venv's interpreter."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + f"{HOME} {sys.version}".encode()).hexdigest()
    HOME.mkdir(parents=True, exist_ok=True)
    stamp, interpreter = HOME / "installed", HOME / "venv/bin/python"
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run, and runs side by side
        if not stamp.exists() or stamp.read_text() != wanted:
            for command in _commands(interpreter):
                done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
                assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stderr[-2000:]}"
            stamp.write_text(wanted)
    return interpreter


def _commands(interpreter: Path) -> list[list[str]]:
    """Return what makes the venv: with uv, as scripts/bootstrap does it, where it is found; else with pip."""
    beside_the_venv = Path(sys.prefix).resolve().parent / ".local/uv/bin/uv"
    uv = shutil.which("uv") or (str(beside_the_venv) if beside_the_venv.exists() else None)
    venv = str(interpreter.parent.parent)
    if uv:
        sync = [uv, "pip", "sync", "--quiet", "--python", str(interpreter), "--require-hashes", str(REQUIREMENTS)]
        return [[uv, "venv", "--quiet", "--clear", "--no-config", "--python", sys.executable, venv], sync]
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    return [[sys.executable, "-m", "venv", "--clear", venv], [*pip, "--only-binary", ":all:", "-r", str(REQUIREMENTS)]]
