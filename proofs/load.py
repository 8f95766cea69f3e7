"""Clients that ask one thing after another until they are told to stop, whatever becomes of their connections, and keep count."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from proofs.client import Answer, Connection, Ending, chat_request, connect

#: Seconds before a client whose connection was refused or lost tries again.
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Diet:
    """What clients ask for: models whose answers are whole, and models that stream."""

    wholes: Sequence[str]
    streams: Sequence[str]


@dataclass(slots=True)
class Load:
    """A number of clients, every second of which asks for streams; some keep their connection, some take a new one each time."""

    port: int
    key: str
    diet: Diet
    chance: random.Random
    #: Requests that are out: [whole answers, streams].
    out: list[int] = field(default_factory=lambda: [0, 0])
    finished: list[Answer] = field(default_factory=list)
    #: Whole HTTP answers that are no completions, by status and code; the other endings, by their name.
    refused: Counter[str] = field(default_factory=Counter)
    broken: Counter[Ending] = field(default_factory=Counter)
    #: Seconds of the longest time in which nothing was finished, since ``start``.
    longest_gap: float = 0.0
    _last: float = 0.0
    _stops: bool = False
    _clients: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """How many requests are out."""
        return sum(self.out)

    def start(self, clients: int) -> None:
        """Begin with so many clients."""
        self._last = asyncio.get_running_loop().time()
        self._clients = [asyncio.create_task(self._ask_on_and_on(number % 2)) for number in range(clients)]

    async def stop(self) -> None:
        """Let every client come to the end of what it asked."""
        self._stops = True
        await asyncio.gather(*self._clients)
        self._note_gap()

    async def _ask_on_and_on(self, kind: int) -> None:
        connection: Connection | None = None
        while not self._stops:
            if connection is None or not connection.is_open or self.chance.random() < 0.3:
                if connection is not None and connection.is_open:
                    connection.close()
                connection = await connect(self.port)
            model = self.chance.choice(self.diet.streams if kind else self.diet.wholes)
            self.out[kind] += 1
            answer = await connection.ask(chat_request(model, key=self.key, stream=bool(kind)))
            self.out[kind] -= 1
            self._keep(answer)
            if answer.ending is not Ending.WHOLE:
                await asyncio.sleep(_PAUSE)
        if connection is not None and connection.is_open:
            connection.close()

    def _keep(self, answer: Answer) -> None:
        if answer.is_finished:
            self._note_gap()
            self.finished.append(answer)
        elif answer.ending is Ending.WHOLE:
            self.refused[f"{answer.status} {answer.error_code or bytes(answer.body[-100:])!r}"] += 1
        else:
            self.broken[answer.ending] += 1

    def _note_gap(self) -> None:
        now = asyncio.get_running_loop().time()
        self.longest_gap, self._last = max(self.longest_gap, now - self._last), now
