"""A PostgreSQL for proofs of the ledger alone, with databases that are copies of a migrated one; no web process."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from lumyx.devservices import Postgres, database_url
from rig.processes import ROOT


class Cluster:
    """The server, and how to make databases on it."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self.postgres = postgres
        self.folder = folder

    def environment(self, name: str = "lumyx") -> dict[str, str]:
        """Return the environment of a process that works on a database."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "lumyx.settings.test",
            "DATABASE_URL": database_url(self.postgres.sockets, name=name),
            "REDIS_URL": "redis://127.0.0.1:1/0",
        }

    def copy(self, name: str) -> dict[str, str]:
        """Make a database that is a copy of the migrated one, and return its environment."""
        url = database_url(self.postgres.sockets, name="postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE lumyx'.encode())
        return self.environment(name)


@contextlib.contextmanager
def ledger_site() -> Iterator[Cluster]:
    """Run a server for the time of the block, its commits flushed to the disk as in production."""
    local = ROOT / ".local"
    local.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="proof-", dir=local) as name:
        folder = Path(name)
        postgres = Postgres(folder / "services", log=folder / "postgres.log")
        try:
            postgres.start()
            cluster = Cluster(postgres, folder)
            command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(command, cwd=ROOT, env=cluster.environment(), check=True)
            yield cluster
        finally:
            postgres.stop()
