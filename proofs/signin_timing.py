"""Nobody learns by the time of an answer whether an address has an account: known and unknown ones, in turn.

The noise is measured, not assumed: medians are drawn again and again from the times themselves (a bootstrap), within the known and
within the unknown, and the difference must be within Z standard errors of their difference. What it finds is a missing hash, a
missing message, or a line that is written for accounts alone.
"""

import asyncio
import random
import statistics
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from proofs.client import Answer, Connection, connect
from proofs.report import Report
from proofs.signin_browser import PASSWORD, Browser
from proofs.signin_limits import Addresses, many_addresses
from rig.installation import Installation

TRIES, SHORT_TRIES = 300, 4
#: Once in a thousand, chance alone is further off.
Z = 3.3
DRAWS = 1000
#: Browsers at once where answers wait for a step of half a second; what takes its time by computing is asked one by one.
LANES = 4
KINDS = ("known", "unknown")

type Ask = Callable[[Connection, str, int], Awaitable[Answer]]


@dataclass(slots=True)
class Times:
    """Seconds that answers took, and their statuses, by kind of address."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    statuses: dict[str, set[int]] = field(default_factory=lambda: {kind: set() for kind in KINDS})

    def judge(self, name: str, report: Report, chance: random.Random, *, status: int) -> None:
        """Require medians that are alike, and the same status everywhere."""
        known, unknown = (statistics.median(self.seconds[kind]) for kind in KINDS)
        errors = [_error_of_median(self.seconds[kind], chance) for kind in KINDS]
        noise = Z * (errors[0] ** 2 + errors[1] ** 2) ** 0.5
        figures = f"{known * 1000:.2f}/{unknown * 1000:.2f}±{noise * 1000:.2f}ms"
        report.note(**{name: figures})
        report.require(abs(known - unknown) <= noise, f"{name}: the medians tell who has an account: {figures}")
        statuses = self.statuses["known"] | self.statuses["unknown"]
        report.require(statuses == {status}, f"{name}: the answers are {statuses}, all should be {status}")


def _error_of_median(times: list[float], chance: random.Random) -> float:
    """Return the standard error of the median, by drawing samples from the sample."""
    medians = [statistics.median(chance.choices(times, k=len(times))) for _ in range(DRAWS)]
    return statistics.stdev(medians)


@dataclass(slots=True)
class Clock:
    """Who is asked, how often, from where."""

    installation: Installation
    report: Report
    tries: int
    addresses: Addresses
    chance: random.Random

    async def time(self, name: str, ask: Ask, *, status: int, lanes: int) -> None:
        """Ask for known and unknown addresses in turn, ``tries`` times each, and judge."""
        times = Times()
        numbers = iter(range(self.tries))
        await asyncio.gather(*(self._lane(ask, numbers, times) for _ in range(lanes)))
        times.judge(name, self.report, self.chance, status=status)
        self.report.say(f"{name}: {self.report.figures[name]}")

    async def _lane(self, ask: Ask, numbers: Iterator[int], times: Times) -> None:
        connection = await connect(self.installation.port)
        for number in numbers:
            # Who comes first is chance: what the first leaves warm is the other's as often.
            for kind in self.chance.sample(KINDS, 2):
                answer = await ask(connection, kind, number)
                times.seconds[kind].append(answer.seconds)
                times.statuses[kind].add(answer.status)
        connection.close()

    def browser(self, connection: Connection) -> Browser:
        """Return somebody new, from somewhere new."""
        return Browser(connection, next(self.addresses))


async def time_everything(
    installation: Installation, report: Report, addresses: Mapping[str, list[str]], *, short: bool
) -> None:
    """Time every form that takes an address. ``addresses``: one for each try and kind; and one more that is known."""
    tries = SHORT_TRIES if short else TRIES
    clock = Clock(installation, report, tries, many_addresses("198.51"), random.Random(report.seed))
    known = addresses["known"]

    async def give_wrong_password(connection: Connection, kind: str, number: int) -> Answer:
        fields = {"login": addresses[kind][number], "password": "wrong"}
        return await clock.browser(connection).post("/login", fields)

    async def ask_to_reset(connection: Connection, kind: str, number: int) -> Answer:
        return await clock.browser(connection).post("/accounts/password/reset/", {"email": addresses[kind][number]})

    half_way: dict[tuple[str, int], dict[str, str]] = {}

    async def ask_for_code(connection: Connection, kind: str, number: int) -> Answer:
        browser = clock.browser(connection)
        answer = await browser.post("/accounts/login/code/", {"email": addresses[kind][number]})
        half_way[kind, number] = browser.cookies
        return answer

    async def give_wrong_code(connection: Connection, kind: str, number: int) -> Answer:
        browser = Browser(connection, next(clock.addresses), half_way[kind, number])
        return await browser.post("/accounts/login/code/confirm/", {"code": "BBBB-BBBB"})

    async def add_address(connection: Connection, kind: str, number: int) -> Answer:
        browser = clock.browser(connection)
        await browser.sign_in(known[number])
        await browser.prove()
        wanted = known[-1] if kind == "known" else f"new-{number}@example.com"
        return await browser.post("/accounts/email/", {"email": wanted, "action_add": ""})

    async def sign_up(connection: Connection, kind: str, number: int) -> Answer:
        fields = {"email": addresses[kind][number], "password1": PASSWORD}
        return await clock.browser(connection).post("/signup", fields)

    await clock.time("wrong_password", give_wrong_password, status=200, lanes=1)
    await clock.time("reset", ask_to_reset, status=302, lanes=LANES)
    await clock.time("ask_for_code", ask_for_code, status=302, lanes=LANES)
    await clock.time("wrong_code", give_wrong_code, status=200, lanes=LANES)
    await clock.time("new_address", add_address, status=302, lanes=LANES)
    await clock.time("sign_up", sign_up, status=302, lanes=LANES)
    await asyncio.sleep(0.05)  # let the loop see that the connections are closed
