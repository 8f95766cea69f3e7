"""A crowd whose every request has a nonce, and which looks for those of others in every byte that it gets."""

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from proofs.client import Answer, Connection, Ending, Leave, chat_request, connect
from proofs.site import BURST, QUICK, STOPPED, STREAM, WHOLE
from rig.answers import FILLER


@dataclass(frozen=True, slots=True)
class Nature:
    """What is known of a model's answers: how often it is asked, seconds until the end, and what a whole one holds how often."""

    weight: int
    seconds: float
    mark: bytes
    times: int
    is_stream: bool


MODELS = {
    WHOLE: Nature(4, 0.02, FILLER, 1, is_stream=False),
    QUICK: Nature(3, 0.12, FILLER, 1, is_stream=False),
    BURST: Nature(4, 0.03, b"token ", 49, is_stream=True),
    STREAM: Nature(1, 1.1, b"sent-", 19, is_stream=True),
    STOPPED: Nature(3, 1.1, b"sent-", 19, is_stream=True),
}
#: Clients that are there together.
AT_ONCE = 48
#: Bytes of the longest answer, about.
LENGTH = 6_000
#: How a client that may leave ends, and how often: reads on; leaves while it sends, after a time, after so many bytes, right
#: after the end; or is cancelled.
FATES = {"reads": 15, "unsent": 10, "seconds": 40, "received": 10, "end": 10, "cancelled": 15}
ENDINGS = ("read to the end", "left after the end", "left amid", "left before a byte", "left unsent", "cancelled")

_NONCE = re.compile(rb"nonce-(\d*)")
_NAME = re.compile(rb"chatcmpl-([0-9a-f]*)")


@dataclass(slots=True)
class Crowd:
    """Clients that ask with nonces; with ``cancels`` most of them leave, at any point."""

    port: int
    key: str
    chance: random.Random
    cancels: bool
    #: Ids of requests whose answers came to their end, and how many of those on a connection that was used before.
    finished: set[str] = field(default_factory=set)
    reused: int = 0
    #: Answers of which at least the head came.
    answered: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    #: Seconds that answers lately took, by model: leaving is spread over them.
    _lasts: dict[str, float] = field(default_factory=lambda: {name: nature.seconds for name, nature in MODELS.items()})
    _names: set[str] = field(default_factory=set)
    _idle: list[Connection] = field(default_factory=list)

    @property
    def cancellations(self) -> int:
        """Requests whose client did not read on and stay."""
        return self.endings.total() - self.endings["read to the end"]

    async def ask(self, nonces: Iterable[int], *, cancellations: int | None = None) -> None:
        """Ask once with each nonce, or until so many requests were cancelled."""
        numbers = iter(nonces)
        await asyncio.gather(*(self._ask_in_turn(numbers, cancellations) for _ in range(AT_ONCE)))
        for connection in self._idle:
            self._look_for_stray(connection)
            connection.close()

    async def _ask_in_turn(self, numbers: Iterator[int], cancellations: int | None) -> None:
        for number in numbers:
            await self._ask_one(b"%012d" % number)
            if cancellations is not None and self.cancellations >= cancellations:
                return

    async def _ask_one(self, nonce: bytes) -> None:
        model = self.chance.choices(list(MODELS), [nature.weight for nature in MODELS.values()])[0]
        fate = self.chance.choices(list(FATES), list(FATES.values()))[0] if self.cancels else "reads"
        prompt = f"nonce-{nonce.decode()} {'please ' * self.chance.randrange(30)}"
        request = chat_request(model, key=self.key, prompt=prompt, stream=MODELS[model].is_stream)
        connection, was_used = await self._take()
        leave, patience = self._leave(fate, model, len(request))
        task = asyncio.create_task(connection.ask(request, leave=leave))
        if fate == "cancelled":
            await asyncio.wait([task], timeout=patience)
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if fate == "end":
            connection.cut()
        self.asked[model] += 1
        self.endings[_ending_of(connection.latest, fate, is_cancelled=task.cancelled())] += 1
        self._note(model, nonce, connection, was_used=was_used, is_cancelled=task.cancelled())
        if connection.is_open:
            self._idle.append(connection)

    async def _take(self) -> tuple[Connection, bool]:
        """Return an open connection, and whether somebody has used it."""
        while self._idle and self.chance.random() < 0.9:
            connection = self._idle.pop(self.chance.randrange(len(self._idle)))
            self._look_for_stray(connection)
            if connection.is_open:
                return connection, True
        return await connect(self.port), False

    def _leave(self, fate: str, model: str, length: int) -> tuple[Leave, float]:
        """Return when to leave, and after how many seconds to cancel."""
        with_reset = self.chance.random() < 0.5
        moment = self.chance.uniform(0, 1.2 * self._lasts[model])
        if fate == "unsent":
            return Leave(sent=self.chance.randrange(1, length), with_reset=with_reset), moment
        if fate == "seconds":
            return Leave(seconds=moment, with_reset=with_reset), moment
        if fate == "received":
            return Leave(received=self.chance.randrange(1, LENGTH), with_reset=with_reset), moment
        return Leave(with_reset=with_reset), moment

    def _note(self, model: str, nonce: bytes, connection: Connection, *, was_used: bool, is_cancelled: bool) -> None:
        answer = connection.latest
        self.answered += answer.status > 0
        fault = _fault_of(answer, model, nonce) or self._fault_of_name(answer, is_cancelled=is_cancelled)
        if fault:
            self.faults.append(f"nonce {nonce.decode()}, request {answer.request_id}: {fault}")
        if answer.is_finished:
            self.finished.add(answer.request_id)
            self.reused += was_used
        if answer.ending is Ending.WHOLE:
            self._lasts[model] += 0.1 * (answer.seconds - self._lasts[model])
        self._look_for_stray(connection)

    def _fault_of_name(self, answer: Answer, *, is_cancelled: bool) -> str:
        """Return what is wrong with an ending or a name that two answers have; empty when nothing is."""
        if not is_cancelled and answer.ending not in {Ending.WHOLE, Ending.LEFT}:
            return f"its connection was {answer.ending.value}"
        if answer.request_id and answer.request_id in self._names:
            return "another answer has its name"
        self._names.add(answer.request_id)
        return ""

    def _look_for_stray(self, connection: Connection) -> None:
        if connection.stray:
            self.faults.append(f"bytes that nobody asked for: {bytes(connection.stray[:200])!r}")
            connection.stray.clear()


def _ending_of(answer: Answer, fate: str, *, is_cancelled: bool) -> str:
    """Return which of ``ENDINGS`` it was."""
    if is_cancelled:
        return "cancelled"
    if answer.is_finished:
        return "left after the end" if fate == "end" else "read to the end"
    return "left unsent" if fate == "unsent" else "left amid" if answer.status else "left before a byte"


def _fault_of(answer: Answer, model: str, nonce: bytes) -> str:
    """Return what an answer holds that is not its own, or lacks; empty when nothing is wrong. It may break off anywhere."""
    if answer.status not in {0, 200}:
        return f"it was answered {answer.status} {answer.error_code}"
    strangers = [one for one in _NONCE.findall(answer.body) if not nonce.startswith(one)]
    if strangers:
        return f"it holds the nonces {strangers}"
    names = [one for one in _NAME.findall(answer.body) if not answer.request_id.encode().startswith(one)]
    if names:
        return f"it holds the names {names}"
    if answer.is_finished:
        nature = MODELS[model]
        own, marks = answer.body.count(b"nonce-" + nonce), answer.body.count(nature.mark)
        if (own, marks, answer.is_stream) != (1, nature.times, nature.is_stream):
            return f"its nonce came {own} times, and its content {marks} of {nature.times} times"
    return ""
