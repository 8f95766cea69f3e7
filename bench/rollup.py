"""The work that is left for the worker after requests were answered: adding their usage events to the roll-ups.

``python -m bench.rollup`` runs in the environment of an installation, rolls up what is new and prints one JSON object:
``{"events", "cpu_seconds", "postgres_cpu_seconds"}``.
"""

import json
import os
import sys
import time
from pathlib import Path

import django

django.setup()

from django.db import connection  # noqa: E402  Django must be set up first

from gateway.services.rollups import roll_up  # noqa: E402
from rig import accounting  # noqa: E402


def backend_pid() -> int:
    """Return the number of this connection's server process; 0 when it does not run on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        row = cursor.fetchone()
    pid = int(row[0]) if row else 0
    return pid if Path(f"/proc/{pid}/stat").is_file() else 0


def main() -> None:
    """Roll up once and print what it cost."""
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(core) for core in sys.argv[1:]})
    pid = backend_pid()
    cpu, postgres = time.process_time(), accounting.own_cpu_seconds([pid])
    events = roll_up()
    counted = {
        "events": events,
        "cpu_seconds": time.process_time() - cpu,
        "postgres_cpu_seconds": accounting.own_cpu_seconds([pid]) - postgres,
    }
    connection.close()
    sys.stdout.write(json.dumps(counted) + "\n")


if __name__ == "__main__":
    main()
