"""Where the gateway's time goes: py-spy samples the worker while it is saturated, and functions are listed by share.

Only threads that hold the interpreter's lock are sampled: the others wait, or are in libraries that need no Python.
"""

import collections
import re
import subprocess
import sys
from pathlib import Path

SAMPLES_PER_SECOND = 250
_FILE = re.compile(r"\(([^()]+)\)$")
_LINE = re.compile(r":\d+\)$")


def record(pid: int, *, seconds: float, output: Path) -> subprocess.Popen[bytes]:
    """Start py-spy on a process; it ends by itself after ``seconds`` and leaves folded stacks in ``output``."""
    program = Path(sys.executable).with_name("py-spy")
    options = ["--duration", str(int(seconds)), "--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--gil"]
    return subprocess.Popen(
        [program, "record", "--pid", str(pid), *options, "--output", output],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _package_of(frame: str) -> str:
    """Return whose code a frame is: a package's name, or a folder of ours."""
    found = _FILE.search(frame)
    path = found[1] if found else "interpreter"
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "gateway" and len(parts) > 2 else parts[0]


def summarize(folded: str, *, top: int = 20) -> str:
    """Return tables from folded stacks: packages and functions by their own share, and functions with what they call."""
    packages: collections.Counter[str] = collections.Counter()
    alone: collections.Counter[str] = collections.Counter()
    with_callees: collections.Counter[str] = collections.Counter()
    total = 0
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        samples = int(count)
        total += samples
        packages[_package_of(frames[-1])] += samples
        alone[frames[-1]] += samples
        with_callees.update(dict.fromkeys(frames, samples))
    if not total:
        return "py-spy took no samples."
    lines = []
    tables = (
        ("packages on their own", packages),
        ("functions on their own", alone),
        ("functions with what they call", with_callees),
    )
    for title, counter in tables:
        lines += ["", f"share of the time, {title}:"]
        lines += [f"{samples / total:7.1%}  {name}" for name, samples in counter.most_common(top)]
    return "\n".join(lines).lstrip("\n")
