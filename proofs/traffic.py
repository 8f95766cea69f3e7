"""Steady traffic from a process of its own: so many requests a second, each at its time whatever became of the others.

The process notes every request as a line of its file, with the machine's monotonic clock, so that who torments the installation
meanwhile can tell what was sent when. ``Traffic`` starts and ends it.
"""

import asyncio
import dataclasses
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

import uvloop

from proofs.client import Answer, Connection, Leave, chat_request, connect
from rig.processes import ROOT

#: Seconds that an answer may take: a settlement may wait for a minute.
PATIENCE = 100.0
#: Bytes of a stream within which half of those who leave do so.
LEAVES_BELOW = 4_000
_CODE = re.compile(rb'"code":"(\w+)"')


@dataclass(frozen=True, slots=True)
class Errand:
    """One kind of request, in the name of a workspace. ``lasts``: seconds that an answer takes; who leaves does so within."""

    workspace: str
    key: str
    model: str
    stream: bool
    lasts: float = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is asked for: ``rate`` requests a second, each an errand by chance; a share of clients means to leave before the end."""

    port: int
    errands: Sequence[Errand]
    rate: float
    seed: int
    leaving: float = 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. ``at``: monotonic seconds; ``errand``: which of the schedule's; ``code``: the error's, also inside a stream."""

    at: float
    seconds: float
    errand: int
    status: int
    code: str
    request_id: str
    is_finished: bool
    ending: str

    @classmethod
    def of(cls, answer: Answer, *, at: float = 0.0, errand: int = 0) -> Self:
        """Return the note of an answer."""
        found = [] if answer.is_finished else _CODE.findall(answer.body)
        code = found[-1].decode() if found else ""
        ending = answer.ending.value
        return cls(at, answer.seconds, errand, answer.status, code, answer.request_id, answer.is_finished, ending)


class Traffic:
    """Traffic for the time of the block; ``sent`` has every request when it is over."""

    def __init__(self, folder: Path, schedule: Schedule) -> None:
        self.sent: list[Sent] = []
        self._path = folder / f"traffic-{time.monotonic_ns()}.jsonl"
        self._schedule = schedule
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "proofs.traffic", str(self._path)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dataclasses.asdict(self._schedule)) + "\n")
        self._process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, wait for the answers that are still to come, and read what was noted."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE + 20)
        finally:
            process.kill()
            process.wait()
        with self._path.open() as lines:
            self.sent = [Sent(*json.loads(line)) for line in lines]


class _Sender:
    """The inside of the process."""

    def __init__(self, schedule: Schedule, notes: TextIO) -> None:
        self._schedule = schedule
        self._notes = notes
        self._chance = random.Random(schedule.seed)
        self._requests = [chat_request(one.model, key=one.key, stream=one.stream) for one in schedule.errands]
        self._free: list[Connection] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def send_until(self, stopped: asyncio.Event) -> None:
        """Send on schedule until told to stop; return when every answer has ended."""
        loop, number = asyncio.get_running_loop(), 0
        began = loop.time()
        while not stopped.is_set():
            number += 1
            errand = self._chance.randrange(len(self._requests))
            task = loop.create_task(self._ask(errand, self._draw_leave(self._schedule.errands[errand])))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            await asyncio.sleep(max(0.0, began + number / self._schedule.rate - loop.time()))
        while self._asking:
            await asyncio.wait(self._asking)
        for connection in self._free:
            connection.close()

    def _draw_leave(self, errand: Errand) -> Leave | None:
        chance = self._chance
        if chance.random() >= self._schedule.leaving:
            return None
        with_reset = chance.random() < 0.5
        if errand.stream and chance.random() < 0.5:
            return Leave(received=chance.randrange(1, LEAVES_BELOW), with_reset=with_reset)
        return Leave(seconds=chance.uniform(0, errand.lasts), with_reset=with_reset)

    async def _ask(self, errand: int, leave: Leave | None) -> None:
        at = time.monotonic()
        connection = await self._connection()
        answer = await connection.ask(self._requests[errand], leave=leave, patience=PATIENCE)
        if keeps_open(connection, answer):
            self._free.append(connection)
        self._notes.write(json.dumps(dataclasses.astuple(Sent.of(answer, at=at, errand=errand))) + "\n")

    async def _connection(self) -> Connection:
        """Return a connection that nobody uses."""
        while self._free:
            connection = self._free.pop()
            if connection.is_open:
                return connection
        return await connect(self._schedule.port)


def keeps_open(connection: Connection, answer: Answer) -> bool:
    """Tell whether a connection can be asked again; one whose server said that it closes is closed here too."""
    if connection.is_open and answer.headers.get("connection") == "close":
        connection.close()
    return connection.is_open


async def _main(path: Path) -> None:
    loop = asyncio.get_running_loop()
    given = json.loads(sys.stdin.readline())
    schedule = Schedule(**given | {"errands": [Errand(**one) for one in given["errands"]]})
    stopped = asyncio.Event()
    loop.add_reader(sys.stdin, stopped.set)  # its end
    with path.open("w", buffering=1 << 16) as notes:
        await _Sender(schedule, notes).send_until(stopped)


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1])))
