"""A crowd that asks at once: as many open connections as requests, all accepted before the first byte is sent."""

import asyncio
from collections.abc import Sequence

from proofs.client import Answer, Connection, connect
from proofs.report import Report
from rig.accounting import count_connections
from rig.installation import Installation

#: Seconds in which the web processes must have accepted everybody.
_ACCEPTING = 5.0
#: Times that the crowd comes anew because the kernel gave every connection to one process.
_GATHERINGS = 5


async def ask_at_once(installation: Installation, report: Report, requests: Sequence[bytes]) -> list[Answer]:
    """Send each request on a connection of its own, all together, and return the answers in their order.

    Reports it when not every web process had accepted some of several connections: then the race was not between processes.
    """
    opened, spread = await open_to_all(installation, len(requests))
    if len(requests) > 1:
        report.say(f"{len(requests)} ask at once; connections by process: {spread}")
        report.require(min(spread) > 0 and sum(spread) == len(requests), f"connections by process: {spread}")
    answers = await asyncio.gather(*(one.ask(request) for one, request in zip(opened, requests, strict=True)))
    for one in opened:
        one.close()
    return answers


async def open_to_all(installation: Installation, count: int) -> tuple[list[Connection], list[int]]:
    """Open ``count`` connections, to every web process some; return them, and how many each has accepted."""
    opened: list[Connection] = []
    spread: list[int] = []
    for _ in range(_GATHERINGS):
        for one in opened:
            one.close()
        opened = [await connect(installation.port) for _ in range(count)]
        spread = await _accepted(installation, count)
        if min(spread) > 0 or count == 1:
            break
    return opened, spread


async def _accepted(installation: Installation, count: int) -> list[int]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _ACCEPTING
    while True:
        spread = [count_connections(pid, here=installation.port) for pid in installation.gateway_pids]
        if sum(spread) == count or loop.time() > deadline:
            return spread
        await asyncio.sleep(0.02)


async def wait_until_all_serve(installation: Installation, *, seconds: float) -> bool:
    """Wait until every web process accepts connections; tell whether they do within ``seconds``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        opened = [await connect(installation.port) for _ in range(10)]
        await asyncio.sleep(0.1)
        spread = [count_connections(pid, here=installation.port) for pid in installation.gateway_pids]
        for one in opened:
            one.close()
        if min(spread) > 0:
            return True
    return False
