"""SIGTERM with streams under way: every one comes to its end and is billed, and /readyz says 503 while requests are still taken.

Twenty streams run on two processes; one of the two is asked to end, then, in a second round, both. The processes share one socket,
so each is asked on connections that were opened to it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from proofs.bills import check_bills
from proofs.client import Answer, Connection, chat_request, connect, encode_request
from proofs.crowd import wait_until_all_serve
from proofs.doors import owner_of
from proofs.report import Report
from proofs.site import LONG_STREAM, QUICK, check_books, offer, site
from proofs.traffic import Errand, Sent
from rig.catalog import model_entry
from rig.installation import Installation, Tenant
from rig.processes import WebProcess

STREAMS = 20
#: Seconds that a process drains, and that it then waits for what is under way.
DRAIN, GRACE = "2", "60"
#: Three seconds: longer than the drain, so that the streams end in the grace.
SHORT_STREAM = "mock-stream-30-10"
#: Seconds in which readiness must say 503, and after the last stream (and the drain) in which the process must have ended.
TOLD, ENDED = 1.0, 5.0
#: Seconds in which connections to each process must be had, and in which a process must serve again.
OPENED, BACK = 10.0, 30.0
READY = encode_request("GET", "/readyz")


@dataclass(slots=True)
class _End:
    """How one process ended."""

    told: float = float("inf")
    #: Requests that it served after the signal: on a connection that it had, and on one that it accepted.
    kept: Answer | None = None
    accepted: Answer | None = None
    ended: float = float("inf")
    code: int | None = None


@dataclass(slots=True)
class _Lines:
    """Connections to one process: for streams, and one to ask on."""

    streams: list[Connection] = field(default_factory=list)
    watch: list[Connection] = field(default_factory=list)


def drain(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site(settings={"DRAIN_SECONDS": DRAIN, "GRACE_SECONDS": GRACE}) as installation:
        end_with_streams(installation, report, short=short)
        check_books(installation, report)


def end_with_streams(installation: Installation, report: Report, *, short: bool) -> None:
    """Run both rounds on a fresh workspace (the short version: the first). The processes must drain for ``DRAIN`` seconds."""
    offer(installation, "drain", [model_entry(SHORT_STREAM)])
    tenant = installation.new_tenant(f"drain-{report.seed}", credits_usd="100")
    model = SHORT_STREAM if short else LONG_STREAM
    answers, ends = [], list[_End]()
    rounds = [installation.web[:1]] if short else [installation.web[:1], installation.web]
    for round_ in rounds:
        streams, ended = asyncio.run(_run(installation, report, tenant, round_, model))
        for process in round_:
            process.start_again()
        served = asyncio.run(wait_until_all_serve(installation, seconds=BACK))
        report.require(served, "the successors do not serve")
        answers += streams
        ends += ended
    whole = sum(answer.is_finished for answer in answers)
    report.require(
        whole == len(answers) == len(rounds) * STREAMS, f"{whole} of {len(answers)} streams came to their end"
    )
    for end in ends:
        _check_end(report, end)
    answers += [answer for end in ends for answer in (end.kept, end.accepted) if answer is not None]
    sent = [Sent.of(answer) for answer in answers]
    check_bills(installation, report, sent, [Errand(tenant.slug, tenant.key, model, stream=True)])
    report.note(
        requests=len(answers),
        whole=whole,
        told_s=round(max(end.told for end in ends), 2),
        ended_s=round(max(end.ended for end in ends), 1),
    )


async def _run(
    installation: Installation, report: Report, tenant: Tenant, leaving: Sequence[WebProcess], model: str
) -> tuple[list[Answer], list[_End]]:
    """Start the streams, ask processes to end, and return how both ended."""
    loop = asyncio.get_running_loop()
    lines = await _open_lines(installation)
    spread = {pid: len(own.streams) for pid, own in lines.items()}
    report.require(min(spread.values()) > 0 and sum(spread.values()) == STREAMS, f"streams by process: {spread}")
    request = chat_request(model, key=tenant.key, stream=True)
    running = {pid: [loop.create_task(line.ask(request)) for line in own.streams] for pid, own in lines.items()}
    for line in (line for own in lines.values() for line in own.streams):
        while not line.latest.body:
            await asyncio.sleep(0.02)
    under_way = sum(not task.done() for tasks in running.values() for task in tasks)
    report.require(under_way == STREAMS, f"only {under_way} streams were under way at the signal")
    for process in leaving:
        process.terminate()
    ends = await asyncio.gather(
        *(_see_out(installation, tenant, one, lines[one.pid].watch[0], running[one.pid]) for one in leaving)
    )
    answers = await asyncio.gather(*(task for tasks in running.values() for task in tasks))
    for own in lines.values():
        for line in (*own.streams, *own.watch):
            line.cut()
    return list(answers), list(ends)


async def _open_lines(installation: Installation) -> dict[int, _Lines]:
    """Open as many connections to each process as it shall have streams, and one to ask on."""
    loop = asyncio.get_running_loop()
    lines = {pid: _Lines() for pid in installation.gateway_pids}
    share, deadline, spare = STREAMS // len(lines), loop.time() + OPENED, list[Connection]()
    while loop.time() < deadline and any(len(own.streams) < share or not own.watch for own in lines.values()):
        line = await connect(installation.port)
        own = lines.get(await _owner(installation, line) or 0)
        if own is None or (own.watch and len(own.streams) >= share):
            spare.append(line)
        else:
            (own.streams if own.watch else own.watch).append(line)
    for line in spare:
        line.close()
    return lines


async def _owner(installation: Installation, line: Connection) -> int | None:
    """Return which process has accepted a connection; None when none does at once."""
    client_port = line.transport.get_extra_info("sockname")[1]
    for _ in range(200):
        pid = owner_of(client_port, server_port=installation.port, pids=installation.gateway_pids)
        if pid is not None:
            return pid
        await asyncio.sleep(0.005)
    return None


async def _see_out(
    installation: Installation,
    tenant: Tenant,
    process: WebProcess,
    watch: Connection,
    streams: Sequence["asyncio.Task[Answer]"],
) -> _End:
    """Ask a process that was told to end how it is, have it serve, and wait until it and its streams have ended."""
    loop, end = asyncio.get_running_loop(), _End()
    signalled = loop.time()
    while end.told > TOLD and loop.time() < signalled + 2 * TOLD:
        if (await watch.ask(READY)).status == 503:
            end.told = loop.time() - signalled
    request = chat_request(QUICK, key=tenant.key)
    end.kept = await watch.ask(request)
    while end.accepted is None and loop.time() < signalled + float(installation.environment["DRAIN_SECONDS"]):
        line = await connect(installation.port)
        if line.is_open and await _owner(installation, line) == process.pid:
            end.accepted = await line.ask(request)
        line.close()
    await asyncio.wait(streams)
    drained = max(loop.time(), signalled + float(installation.environment["DRAIN_SECONDS"]))
    while process.process.poll() is None and loop.time() < drained + 2 * ENDED:
        await asyncio.sleep(0.02)
    end.code, end.ended = process.process.poll(), loop.time() - drained
    return end


def _check_end(report: Report, end: _End) -> None:
    report.require(end.told <= TOLD, f"/readyz said 503 after {end.told:.1f} s")
    for name, answer in (("it had", end.kept), ("it accepted", end.accepted)):
        report.require(
            answer is not None and answer.is_finished,
            f"a process that drains did not serve on a connection that {name}: {answer and answer.status}",
        )
    report.require(end.code == 0, f"a process ended with {end.code}")
    report.require(end.ended <= ENDED, f"a process ended {end.ended:.1f} s after its last stream")
