"""The embedded services: they start, keep their data, survive kills, and leave nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from lumyx.children import Privileges, command_of
from lumyx.devservices import (
    POSTGRES_SOCKET,
    Postgres,
    ServiceError,
    Services,
    Valkey,
    database_url,
    redis_url,
    socket_folder,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty home whose sockets are removed too."""
    yield tmp_path
    shutil.rmtree(socket_folder(tmp_path), ignore_errors=True)


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement in a connection of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def test_both_start_and_answer_and_the_second_start_keeps_the_data(home: Path) -> None:
    services = Services(home, logs=home / "logs")
    services.start()
    try:
        assert query(services.environment["DATABASE_URL"], "SELECT current_user, current_database()") == [
            ("lumyx", "lumyx")
        ]
        query(services.environment["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS value")
        with redis.from_url(services.environment["REDIS_URL"]) as client:
            assert client.ping()
    finally:
        services.stop()
    assert [command_of(pid) for pids in services.pids.values() for pid in pids] == ["", ""]
    again = Services(home, logs=home / "logs", valkey=False)
    again.start()
    try:
        assert query(again.environment["DATABASE_URL"], "SELECT value FROM kept") == [(42,)]
        assert set(again.environment) == {"DATABASE_URL"}
    finally:
        again.stop()


def test_postgres_writes_through_to_the_disk_and_listens_on_no_port(home: Path) -> None:
    postgres = Postgres(home, log=home / "log")
    postgres.start()
    try:
        found: dict[str, str] = dict(query(postgres.url, "SELECT name, setting FROM pg_settings"))
    finally:
        postgres.stop()
    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
    }
    assert {name: found[name] for name in wanted} == wanted
    assert int(str(found["server_version_num"])) >= 180000
    assert postgres.sockets.stat().st_mode & 0o777 == 0o700


def test_it_recovers_after_a_kill_and_from_the_marks_of_a_process_that_is_gone(home: Path) -> None:
    postgres = Postgres(home, log=home / "log")
    postgres.start()
    query(postgres.url, "CREATE TABLE kept AS SELECT 1 AS value")
    assert postgres.process is not None
    postgres.process.kill()
    postgres.process.wait()
    # The number in the pid file now belongs to somebody else: to us.
    mark = postgres.data / "postmaster.pid"
    mark.write_text(mark.read_text().replace(str(postgres.process.pid), str(os.getpid()), 1))
    again = Postgres(home, log=home / "log")
    again.start()
    try:
        assert query(again.url, "SELECT value FROM kept") == [(1,)]
    finally:
        again.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has death signals")
def test_a_kill_of_whoever_started_them_leaves_no_process(home: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from lumyx.devservices import Services\n"
        f"s = Services(Path({str(home)!r}), logs=Path({str(home)!r}))\n"
        "s.start(); print(*[pid for pids in s.pids.values() for pid in pids], flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(number) for number in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(str(home) in command_of(pid) or "valkey" in command_of(pid) for pid in pids):
        assert time.monotonic() < deadline, "still running after 10 s"
        time.sleep(0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to lose")
def test_without_user_namespaces_root_runs_it_as_nobody(home: Path) -> None:
    postgres = Postgres(home, log=home / "log", privileges=Privileges.NOBODY)
    moved = postgres.data.parent if postgres.data.parent != home else None
    try:
        postgres.start()
        assert query(postgres.url, "SELECT 1") == [(1,)]
        assert postgres.process is not None
        assert Path(f"/proc/{postgres.process.pid}").stat().st_uid == 65534
    finally:
        postgres.stop()
        if moved is not None:
            shutil.rmtree(moved, ignore_errors=True)


def test_a_long_path_gets_its_sockets_in_the_temporary_folder(home: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    sockets = socket_folder(deep)
    assert home not in sockets.parents
    assert len(bytes(sockets / POSTGRES_SOCKET)) <= 107
    assert socket_folder(deep) == sockets != socket_folder(deep.parent)
    valkey = Valkey(deep, log=home / "log")
    valkey.start()
    try:
        with redis.from_url(valkey.url) as client:
            assert client.ping()
    finally:
        valkey.stop()
        shutil.rmtree(sockets)


def test_a_socket_folder_that_is_somebody_elses_is_refused(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    socket_folder(home).mkdir()
    os.chown(socket_folder(home), 12345, 12345)
    with pytest.raises(ServiceError, match="somebody else"):
        Valkey(home, log=home / "log").start()


def test_a_server_that_cannot_start_says_why_and_where_its_log_is(home: Path) -> None:
    postgres = Postgres(home, log=home / "postgres.log")
    postgres.start()
    postgres.stop()
    (postgres.data / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(ServiceError, match="no_such_setting") as caught:
        postgres.start()
    assert str(home / "postgres.log") in str(caught.value)


def test_urls_of_folders_with_odd_names_can_be_read_back() -> None:
    folder = Path("/tmp/a b&c?d%20")  # noqa: S108  only a name
    assert psycopg.conninfo.conninfo_to_dict(database_url(folder))["host"] == str(folder)
    with redis.from_url(redis_url(folder)) as client:
        assert client.connection_pool.connection_kwargs["path"] == f"{folder}/valkey.sock"
