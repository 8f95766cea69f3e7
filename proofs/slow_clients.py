"""Two hundred slow clients of four kinds, all cut in time, while others are served as ever.

They say nothing, drip the head of a request, drip a body, or read nothing of their stream. Whether one is cut is asked of the
kernel: the server's end of its connection is gone.
"""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proofs.bills import CLOSED, check_bills
from proofs.books import check_closed, wait_until_closed
from proofs.civility import fault_of
from proofs.client import chat_request
from proofs.report import Report
from proofs.site import BURST, QUICK, WHOLE, check_books, offer, site
from proofs.traffic import Errand, Schedule, Sent, Traffic
from rig import accounting
from rig.catalog import model_entry
from rig.installation import Installation, Tenant

#: Clients of each kind, and requests a second of the others.
EACH, SHORT_EACH, RATE = 50, 10, 50.0
#: Seconds that the server's patience lasts in the short version (20 by default), within which all must be cut.
SHORT_PATIENCE, CUT, SHORT_CUT = "2", 30.0, 6.0
#: Seconds in which nobody may be cut yet: slow is not bad.
SPARED = 1.0
#: Seconds of the others' 95th percentile; without the slow ones it is the mock's own 0.1 s.
P95 = 1.0
#: A stream of 1 MB at once, more than any buffer of the client's holds.
FLOOD = "mock-stream-5000-0"
ESTABLISHED = "01"


#: How often a client that drips looks for an answer.
LOOKS_A_SECOND = 10


@dataclass(slots=True)
class Slow:
    """One slow client: its kind, its connection, what it got, and when it was seen to be cut."""

    kind: str
    line: socket.socket
    got: bytearray = field(default_factory=bytearray)
    cut_after: float = float("inf")

    @property
    def port(self) -> int:
        """Its end of the connection."""
        number: int = self.line.getsockname()[1]
        return number


def slow_clients(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site(settings={"CLIENT_PATIENCE_SECONDS": SHORT_PATIENCE} if short else None) as installation:
        try_patience(installation, report, short=short)
        check_books(installation, report)


def try_patience(installation: Installation, report: Report, *, short: bool) -> None:
    """Let slow clients and others come together. The short version needs an installation with ``SHORT_PATIENCE``."""
    offer(installation, "flood", [model_entry(FLOOD)])
    slow_one = installation.new_tenant(f"slow-{report.seed}", credits_usd="100")
    other = installation.new_tenant(f"others-{report.seed}", credits_usd="1000")
    errands = [Errand(other.slug, other.key, model, model == BURST) for model in (WHOLE, QUICK, BURST)]
    before = _held_open(installation)
    with Traffic(installation.folder, Schedule(installation.port, errands, RATE, report.seed)) as traffic:
        clients = asyncio.run(_torment(installation, slow_one, random.Random(report.seed), short=short))
    _check_cut(report, clients, slow_one, short=short)
    _check_others(report, traffic.sent)
    check_bills(installation, report, traffic.sent, errands)
    stuck = wait_until_closed(installation, slow_one.slug, seconds=CLOSED)
    report.require(not stuck, f"{stuck} holds of slow clients are open")
    streams = len(check_closed(installation, report, slow_one.slug))
    report.require(streams == _each(short), f"{streams} of {_each(short)} streams that nobody read are in the books")
    after = _held_open(installation)
    report.require(after <= before + 10, f"the web processes have {after} descriptors open, {before} before")


def _held_open(installation: Installation) -> int:
    """Return the web processes' open descriptors, without the pool of connections to the upstream, which is kept for a while."""
    upstream = installation.upstream_port
    return sum(
        len(accounting.descriptors(pid)) - accounting.count_connections(pid, there=upstream)
        for pid in installation.gateway_pids
    )


def _each(short: bool) -> int:
    return SHORT_EACH if short else EACH


async def _torment(installation: Installation, tenant: Tenant, chance: random.Random, *, short: bool) -> list[Slow]:
    """Open all connections, let each be slow in its way, and note when the server's end of it is gone."""
    loop = asyncio.get_running_loop()
    clients = [Slow(kind, _connect(installation.port, kind)) for kind in KINDS for _ in range(_each(short))]
    chance.shuffle(clients)
    began = loop.time()
    tasks = [loop.create_task(KINDS[one.kind](one, tenant)) for one in clients]
    while loop.time() < began + (SHORT_CUT if short else CUT):
        await asyncio.sleep(0.25)
        still = _established(installation.port)
        for one in clients:
            if one.port not in still:
                one.cut_after = min(one.cut_after, loop.time() - began)
        if all(one.cut_after < float("inf") for one in clients):
            break
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for one in clients:
        with contextlib.suppress(OSError):  # what had come before the cut
            one.got += one.line.recv(65536)
        one.line.close()
    return clients


def _connect(port: int, kind: str) -> socket.socket:
    line = socket.socket()
    if kind == "reads nothing":
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", port))
    line.setblocking(False)
    return line


def _established(port: int) -> set[int]:
    """Return the clients' ports of the connections whose server's end is open."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        int(row[2].rpartition(":")[2], 16)
        for row in rows
        if int(row[1].rpartition(":")[2], 16) == port and row[3] == ESTABLISHED
    }


# --- ways of being slow ---------------------------------------------------------------------------------------------


async def _say_nothing(_client: Slow, _tenant: Tenant) -> None:
    await asyncio.Event().wait()


async def _drip_head(client: Slow, tenant: Tenant) -> None:
    await _drip(client, f"POST /api/v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {tenant.key}\r\nx-slow: ")


async def _drip_body(client: Slow, tenant: Tenant) -> None:
    head = f"POST /api/v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {tenant.key}\r\n"
    await _drip(client, f"{head}content-type: application/json\r\ncontent-length: 100000\r\n\r\n{{")


async def _drip(client: Slow, start: str) -> None:
    """Send a beginning at once, and a byte a second after it, until the server answers."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client.line, start.encode())
    while True:
        # Looks, not a wait that is given up: one that ends as the answer comes would take the answer with it.
        for _ in range(LOOKS_A_SECOND):
            await asyncio.sleep(1 / LOOKS_A_SECOND)
            with contextlib.suppress(BlockingIOError):
                client.got += client.line.recv(65536)
                return
        await loop.sock_sendall(client.line, b"a")


async def _read_nothing(client: Slow, tenant: Tenant) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client.line, chat_request(FLOOD, key=tenant.key, stream=True))
    await asyncio.Event().wait()


KINDS: Mapping[str, Callable[[Slow, Tenant], Coroutine[Any, Any, None]]] = {
    "says nothing": _say_nothing,
    "drips a head": _drip_head,
    "drips a body": _drip_body,
    "reads nothing": _read_nothing,
}


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_cut(report: Report, clients: list[Slow], tenant: Tenant, *, short: bool) -> None:
    limit = SHORT_CUT if short else CUT
    stayed = Counter(one.kind for one in clients if one.cut_after > limit)
    report.require(not stayed, f"not cut within {limit:g} s: {dict(stayed)}")
    early = Counter(one.kind for one in clients if one.cut_after < SPARED)
    report.require(not early, f"cut within {SPARED:g} s: {dict(early)}")
    for one in clients:
        if one.kind.startswith("drips"):
            status, fault = _told(bytes(one.got), tenant.key)
            report.require(status == 408 and not fault, f"one that {one.kind} was told {status}: {fault}")
    report.note(clients=len(clients), cut_after_s=f"{max(one.cut_after for one in clients):.1f}")


def _told(got: bytes, key: str) -> tuple[int, str]:
    """Return the status of an answer and what is wrong with it."""
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split()[1]) if first.startswith("HTTP/1.1 ") else 0
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return status, fault_of(status=status, headers=headers, body=body, key=key)


def _check_others(report: Report, sent: list[Sent]) -> None:
    wrong = Counter(f"{one.status} {one.code} {one.ending}" for one in sent if not one.is_finished)
    report.require(not wrong, f"others were not served: {dict(wrong)}")
    report.require(len(sent) > 50, f"only {len(sent)} others asked")
    p95 = sorted(one.seconds for one in sent)[int(len(sent) * 0.95)]
    report.require(p95 < P95, f"the 95th percentile of the others is {p95:.2f} s")
    report.note(others=len(sent), p95_ms=round(p95 * 1000))
