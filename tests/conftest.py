"""What every test runs under: real services, seeded tiers, the books checked after each test, and no network.

PostgreSQL and Valkey are started once per run, when DATABASE_URL and REDIS_URL do not say otherwise; the workers of pytest-xdist
share them. Two runs side by side have one of each to themselves.
"""

import contextlib
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from billing.selectors import ledger
from billing.services import tiers
from lumyx.children import command_of
from lumyx.devservices import Services

_services = pytest.StashKey[Services]()
#: Fixtures that open the database, apart from the mark django_db.
DATABASE_FIXTURES = {
    "db",
    "transactional_db",
    "django_db_serialized_rollback",
    "live_server",
    "admin_client",
    "admin_user",
}


class NetworkError(Exception):
    """A test tried to leave this machine."""


def _remove_leftovers() -> None:
    """Remove the folders of runs that were killed; their processes died with them."""
    for folder in Path(tempfile.gettempdir()).glob("lumyx-test-*"):
        number = folder.name.rpartition("-")[2]
        if number.isdigit() and not command_of(int(number)) and folder.stat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Know pytest-asyncio's settings in pyproject.toml also where it is left out (the browser tests)."""
    if not pluginmanager.hasplugin("asyncio"):
        for name in ("asyncio_mode", "asyncio_default_fixture_loop_scope"):
            parser.addini(name, "unused in this run")


def pytest_configure(config: pytest.Config) -> None:
    """Start what is not given, in the process that leads the run."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    wanted = {"postgres": not os.environ.get("DATABASE_URL"), "valkey": not os.environ.get("REDIS_URL")}
    if not any(wanted.values()):
        return
    _remove_leftovers()
    home: Path = settings.TEST_SERVICES
    home.mkdir(mode=0o711)
    services = Services(home, logs=home / "logs", **wanted)
    services.start()
    # For the programs that tests start; our own settings have known these URLs since they were loaded.
    os.environ.update(services.environment)
    config.stash[_services] = services


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started, and remove its files."""
    services = config.stash.get(_services, None)
    if services is not None:
        services.stop()
        shutil.rmtree(settings.TEST_SERVICES, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Seed the tiers once, beside the migrations; at the end, cut what threads of async tests still hold open."""
    with django_db_blocker.unblock():
        if tiers:
            tiers.ensure_tiers()
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(autouse=True)
def sound_books(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give tests with a database its tiers (a transactional test empties it), and check every invariant of the ledger after them.

    A test that breaks the books on purpose is marked ``breaks_the_books``.
    """
    node: pytest.Item = request.node
    if not (node.get_closest_marker("django_db") or DATABASE_FIXTURES & set(request.fixturenames)):
        yield
        return
    request.getfixturevalue("db")  # it becomes the transactional one by itself where the test asks for that
    if tiers:
        tiers.ensure_tiers()
    yield
    if not connection.needs_rollback and not node.get_closest_marker("breaks_the_books"):
        assert ledger.broken_invariants() == []


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    host = str(address[0])
    if host in {"", "localhost"}:
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return False


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Generator[None]:
    """Let sockets reach this machine only: a test that needs the internet is wrong somewhere else too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            real = getattr(socket.socket, name)

            def guarded(self: socket.socket, address: Any, *, real: Any = real) -> Any:
                if not _is_local(address):
                    raise NetworkError(f"A test tried to reach {address}.")
                return real(self, address)

            patch.setattr(socket.socket, name, guarded)
        yield
