"""No secret is anywhere where it need not be: not in the database, the logs, Redis, what went through Redis, or the files.

People and programs use every secret that there is, rightly and wrongly, on a whole installation with a worker and beat; then
everything that it wrote is searched, also for secrets in other forms.
"""

import base64
import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
import pytest
import redis

from lumyx.lib.crypto import new_api_key, new_management_key
from rig.processes import background_work
from tests.flows.installation import Gateway, Installation, installed
from tests.flows.visitor import Visitor

PASSWORD, NEW_PASSWORD = "correct-horse-9-battery-Staple", "another-horse-8-battery-Nail"
WRONG_PASSWORD = "wrong-horse-7-battery-Clip"
CREDENTIAL = "sk-upstream-credential-0123456789abcdef"
CHAT = {"model": "sandbox/paid", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
CATALOG = f"""
[[upstreams]]
name = "nowhere"
provider = "openai"
protocol = "openai_chat"
base_url = "http://127.0.0.1:9/v1"
credential = "{CREDENTIAL}"
allow_private_network = true
[[models]]
id = "nowhere/model"
kind = "chat"
context_window = 1000
max_output_tokens = 100
price = {{ input = "1", output = "1" }}
routes = [{{ upstream = "nowhere", model = "theirs" }}]
"""


class Monitor:
    """Everything that is sent to a Valkey while the block runs: tasks among it."""

    def __init__(self, url: str) -> None:
        self.heard = bytearray()
        path = url.removeprefix("unix://").split("?")[0]
        if url.startswith("unix"):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(path)
        else:
            host, _, port = url.removeprefix("redis://").split("/")[0].rpartition(":")
            self._socket = socket.create_connection((host, int(port)))
        self._socket.sendall(b"*1\r\n$7\r\nMONITOR\r\n")
        self._thread = threading.Thread(target=self._listen)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while heard := self._socket.recv(1 << 16):
                self.heard += heard

    def __enter__(self) -> "Monitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        self._socket.close()


@pytest.fixture(scope="module")
def used() -> Iterator[tuple[Installation, dict[str, str], Monitor]]:
    """An installation in which every secret was used, the secrets by name, and what its Valkey heard."""
    with installed(number=6) as installation:
        installation.use(TEST_MAIL_FOLDER=str(installation.folder / "mail"), TEST_TASKS="queued")
        with (
            Monitor(installation.redis_url()) as monitor,
            background_work(installation.folder, installation.environment()),
        ):
            gateway = installation.start_gateway()
            try:
                secrets = use_everything(installation, gateway)
                wait_for(lambda: b"billing.tasks" in monitor.heard)
            finally:
                gateway.stop()
        yield installation, secrets, monitor


def wait_for(condition: Callable[[], bool], *, seconds: float = 70) -> None:
    """Wait until something is so: beat asks for a task each minute."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


def use_everything(installation: Installation, gateway: Gateway) -> dict[str, str]:
    """Use each secret rightly, wrongly and in the wrong place; return them by name."""
    (installation.folder / "catalog.toml").write_text(CATALOG)
    installation.manage("catalog", "apply", str(installation.folder / "catalog.toml"))
    (installation.folder / "catalog.toml").unlink()
    installation.try_manage("upstream", "test", "nowhere")
    owner = "owner@example.com"
    slug = installation.manage(
        "workspace", "create", "--name", "Lab", "--owner", owner, "--password", PASSWORD, "--credits", "5"
    )["slug"]
    secrets = {
        "password": PASSWORD,
        "new password": NEW_PASSWORD,
        "wrong password": WRONG_PASSWORD,
        "credential": CREDENTIAL,
        "command's key": installation.new_key(slug),
        "mistyped key": new_api_key(),
        "mistyped management key": new_management_key(),
        "management key": installation.manage(
            "managementkey", "create", "--workspace", slug, "--name", "CI", "--write"
        )["secret"],
    }
    with closing(Visitor(gateway.origin)) as visitor:
        visitor.sign_in(owner, WRONG_PASSWORD)
        assert visitor.sign_in(owner, PASSWORD).status_code == 302
        secrets["session"] = visitor.http.cookies["sessionid"]
        secrets |= make_keys(visitor)
        visitor.send(
            "/dashboard/members/invite", {"email": "dora@example.com", "role": "viewer"}, page="/dashboard/members"
        )
        changed = visitor.send(
            "/accounts/password/change/",
            {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
            page="/accounts/password/change/",
        )
        assert changed.status_code == 302
    with closing(Visitor(gateway.origin)) as stranger:
        stranger.send("/accounts/password/reset/", {"email": owner}, page="/accounts/password/reset/")
        stranger.send("/accounts/login/code/", {"email": owner}, page="/accounts/login/code/")
    secrets |= links_of(installation.folder / "mail")
    for name in [name for name in secrets if name.endswith("key")]:
        call(gateway, secrets[name])
    httpx.get(f"{gateway.base_url}/keys", headers={"Authorization": f"Bearer {secrets['management key']}"})
    manage_keys(gateway, secrets)
    return secrets


def make_keys(visitor: Visitor) -> dict[str, str]:
    """Make a key on the page, and give it a new secret."""
    page = "/dashboard/api-keys"
    made = visitor.send(f"{page}/create", {"name": "page", "expires": ""}, page=page)
    first = found_key(made.text)
    rotated = visitor.send(f"{page}/{first[:11]}/rotate", {"overlap": "60"}, page=f"{page}/{first[:11]}/rotate")
    managing = visitor.send(
        "/dashboard/management-keys/create",
        {"name": "page", "access": "write", "expires": ""},
        page="/dashboard/management-keys",
    )
    return {
        "page's key": first,
        "rotated key": found_key(rotated.text),
        "page's management key": found_key(managing.text, start="lm-"),
    }


def manage_keys(gateway: Gateway, secrets: dict[str, str]) -> None:
    """Make a key by the management API, twice with one Idempotency-Key, whose answer is kept."""
    headers = {"Authorization": f"Bearer {secrets['management key']}", "Idempotency-Key": "once"}
    for _ in range(2):
        answer = httpx.post(f"{gateway.base_url}/keys", json={"name": "program"}, headers=headers)
        assert answer.status_code == 201
        if answer.json()["secret"]:
            secrets["program's key"] = answer.json()["secret"]
    call(gateway, secrets["program's key"])


def found_key(html: str, *, start: str = "lx-") -> str:
    """Return the secret that a page shows."""
    found = re.search(rf"{start}[A-Za-z0-9]{{40,}}", html)
    assert found is not None, html[:2000]
    return found[0]


def links_of(folder: Path) -> dict[str, str]:
    """Return what the messages hold that lets somebody in."""
    texts = "\n".join(path.read_text() for path in sorted(folder.iterdir())).replace("=\n", "")
    invitation = re.search(r"/invitations/([\w-]{20,})", texts)
    reset = re.search(r"/password/reset/key/\w+?-([\w-]{20,})/", texts)
    assert invitation is not None, texts[-2000:]
    assert reset is not None, texts[-2000:]
    return {"invitation": invitation[1], "reset link": reset[1]}


def call(gateway: Gateway, key: str) -> None:
    """Send a key in every place in which clients put one, the wrong ones too."""
    url = f"{gateway.base_url}/chat/completions"
    bearer = {"Authorization": f"Bearer {key}"}
    for headers in (
        bearer,
        {"x-api-key": key},
        {"Authorization": f"Basic {key}"},
        {**bearer, "x-api-key": new_api_key()},
    ):
        httpx.post(url, json=CHAT, headers=headers)
    httpx.post(url, json={**CHAT, "stream": True}, headers=bearer)
    httpx.post(url, json={**CHAT, "model": key}, headers=bearer)
    httpx.post(url, json={**CHAT, "model": "nowhere/model"}, headers=bearer)
    httpx.post(url, content=b'{"api_key": "' + key.encode(), headers=bearer)
    httpx.post(f"{gateway.base_url}/messages", json=CHAT, headers={"x-api-key": key})
    httpx.get(f"{gateway.base_url}/models", headers=bearer)
    httpx.get(f"{gateway.base_url}/key", headers=bearer)
    httpx.get(f"{gateway.origin}/dashboard", headers=bearer)
    httpx.get(f"{gateway.origin}/no/such/page", headers=bearer)


def forms_of(secret: str) -> Iterator[bytes]:
    """Return a secret as it is and as it would look in other coats."""
    raw = secret.encode()
    yield raw
    yield quote(secret).encode()
    yield raw.hex().encode()
    # Of base64 only what is the same wherever the secret begins: the middle, at each of three places.
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + raw)[4:-4]


def dump_of(installation: Installation) -> bytes:
    """Return every row of every table, as PostgreSQL writes it out."""
    found = bytearray()
    tables = installation.query(
        "SELECT format('%%I.%%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND %s",
        True,
    )
    assert len(tables) > 50
    with psycopg.connect(installation.database_url()) as connection, connection.cursor() as cursor:
        for table in tables:
            # The names are the catalog's own.
            with cursor.copy(f"COPY (SELECT * FROM {table['name']}) TO STDOUT".encode()) as copy:  # noqa: S608
                for part in copy:
                    found += part
    return bytes(found)


def redis_of(installation: Installation) -> bytes:
    """Return every key of its Redis with what it holds, as Redis would save it."""
    with closing(redis.Redis.from_url(installation.redis_url())) as client:
        return b"\n".join(key + b" " + (client.dump(key) or b"") for key in client.scan_iter(count=1000))


def files_of(installation: Installation) -> bytes:
    """Return what its processes wrote into its folder; messages are for whoever gets them, links and all."""
    paths = [path for path in installation.folder.rglob("*") if path.is_file() and "mail" not in path.parts]
    assert any(path.name == "gateway.log" for path in paths)
    assert any(path.name == "worker.log" for path in paths)
    return b"\n".join(path.read_bytes() for path in paths)


@pytest.mark.parametrize("where", ["database", "Redis", "what Redis heard", "files"])
def test_no_secret_is_left(used: tuple[Installation, dict[str, str], Monitor], where: str) -> None:
    installation, secrets, monitor = used
    places: dict[str, Callable[[], bytes]] = {
        "database": lambda: dump_of(installation),
        "Redis": lambda: redis_of(installation),
        "what Redis heard": lambda: bytes(monitor.heard),
        "files": lambda: files_of(installation),
    }
    text = places[where]()
    assert text
    # Django finds a session by its cookie: that is in the database, and is looked for elsewhere only.
    sought = {name: secret for name, secret in secrets.items() if (name, where) != ("session", "database")}
    assert len(sought) >= 14
    found = [name for name, secret in sought.items() if any(form in text for form in forms_of(secret))]
    assert found == []


def test_secrets_would_be_seen(used: tuple[Installation, dict[str, str], Monitor]) -> None:
    installation, secrets, monitor = used
    text = dump_of(installation)
    # What is public of a key is in the database, and tasks were heard.
    assert secrets["page's key"][:11].encode() in text
    assert b"owner@example.com" in text
    assert b"billing.tasks" in monitor.heard
    for shift in range(3):
        coat = base64.b64encode(b"x" * shift + PASSWORD.encode() + b"tail")
        assert any(form in coat for form in forms_of(PASSWORD))
