"""How long the disk takes to keep a write, by PostgreSQL's own test: the floor of every committed request."""

import re
import subprocess
from pathlib import Path

_FDATASYNC = re.compile(r"^\s*fdatasync\s+.*?([\d.]+)\s+usecs/op", re.MULTILINE)


def fdatasync_ms(program: Path, *, folder: Path) -> float | None:
    """Return the milliseconds that pg_test_fsync measures for fdatasync of one 8 KB write; None when it tells none.

    Args:
        program: the pg_test_fsync of the PostgreSQL that is used.
        folder: a folder on the disk that the database is on.
    """
    if not program.exists():
        return None
    # One second a method; the line wanted is among the first, so the rest of the half minute is cut off.
    process = subprocess.Popen(
        [program, "-s", "1", "-f", folder / "pg_test_fsync.out"], stdout=subprocess.PIPE, text=True
    )
    found, seen = None, ""
    with process:
        for line in process.stdout or ():
            seen += line
            found = _FDATASYNC.search(seen)
            if found:
                break
        process.kill()
    return float(found[1]) / 1e3 if found else None
