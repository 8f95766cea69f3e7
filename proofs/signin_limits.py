"""A thousand guesses, from one address and from many: how many are looked at is what docs/operations.md says.

Guesses are counted where the site writes them down: a wrong password or code that was compared is one line of the audit log. What
was refused unseen is none. Codes from messages are counted by what is answered, because each of their tries is written down.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from proofs.client import Connection, connect
from proofs.report import Report
from proofs.signin_browser import Browser, code_of_app, set_up_app
from rig.installation import Installation

#: Guesses of each kind, and how many browsers send them at once.
GUESSES, SHORT_GUESSES, LANES = 1000, 15, 16
#: The limits of docs/operations.md: how many, in how many seconds.
FOR_ONE_ACCOUNT, FROM_ONE_ADDRESS, CODES_OF_A_MESSAGE = (5, 300), (10, 60), (10, 900)
#: Tries of one code from a message.
TRIES_OF_A_CODE = 3
INCORRECT = b"Incorrect code"

type Addresses = Iterator[str]
type Round = Callable[[Browser, int], Awaitable[int]]


@dataclass(slots=True)
class Guessing:
    """What the guesses of one kind need, and how many there are."""

    installation: Installation
    report: Report
    guesses: int
    extra: list[Connection] = field(default_factory=list)

    async def run(self, name: str, round_of: Round, addresses: Addresses, *, size: int = 1) -> tuple[int, float]:
        """Guess in rounds of ``size``; return what the rounds counted together, and the seconds that it took."""
        began = asyncio.get_running_loop().time()
        numbers = iter(range(0, self.guesses, size))
        counts = await asyncio.gather(*(self._lane(round_of, numbers, addresses) for _ in range(LANES)))
        took = asyncio.get_running_loop().time() - began
        self.report.say(f"{name}: {self.guesses} guesses in {took:.0f} s")
        return sum(counts), took

    async def _lane(self, round_of: Round, numbers: Iterator[int], addresses: Addresses) -> int:
        connection = await connect(self.installation.port)
        counted = 0
        for number in numbers:
            if not connection.is_open:
                connection.close()
                connection = await connect(self.installation.port)
            counted += await round_of(Browser(connection, next(addresses)), number)
        connection.close()
        return counted

    async def browser(self, address: str) -> Browser:
        """Return a browser with a connection of its own."""
        self.extra.append(await connect(self.installation.port))
        return Browser(self.extra[-1], address)

    async def close(self) -> None:
        """Close the connections of ``browser``, and let the loop see it."""
        for connection in self.extra:
            connection.close()
        await asyncio.sleep(0.05)

    def failures(self, email: str | None) -> int:
        """Return how many wrong passwords and codes were compared for an account; None: for addresses without one."""
        who = "actor_id = (SELECT id FROM accounts_user WHERE email = %s)" if email else "actor_id IS NULL"
        statement = f"SELECT count(*) AS n FROM accounts_auditentry WHERE action = 'account.sign_in_failed' AND {who}"
        return int(self.installation.query(statement, *([email] if email else []))[0]["n"])

    def check(self, name: str, looked_at: int, limit: tuple[int, int], took: float) -> None:
        """Require that as many guesses were looked at as the limit lets through in so many seconds, and at least one period's."""
        most, period = limit
        bound = most * (int(took // period) + 1)
        # A window that begins with the clock may be seen from both sides.
        bound += most if limit == CODES_OF_A_MESSAGE else 0
        self.report.note(**{name: looked_at})
        self.report.require(looked_at <= bound, f"{name}: {looked_at} of {self.guesses} were looked at, {bound} may be")
        least = min(most, 3)
        self.report.require(looked_at >= least, f"{name}: only {looked_at} were looked at: the proof proves nothing")


def one_address(address: str) -> Addresses:
    """Return the same address again and again."""
    return itertools.repeat(address)


def many_addresses(block: str) -> Addresses:
    """Return one address after another, all different; ``block`` is their first two numbers."""
    return (f"{block}.{high}.{low}" for high in range(256) for low in range(1, 255))


async def guess_everything(installation: Installation, report: Report, people: list[str], *, short: bool) -> None:
    """Guess passwords, codes of an app and codes from messages. ``people``: six accounts that nobody else uses."""
    guessing = Guessing(installation, report, SHORT_GUESSES if short else GUESSES)
    try:
        for person, (kind, addresses) in zip(people[:2], _places("198.18", "198.19"), strict=True):
            await _guess_passwords(guessing, f"passwords_{kind}", person, addresses)
        await _guess_accounts(guessing)
        for person, (kind, addresses) in zip(people[2:4], _places("198.20", "198.21"), strict=True):
            await _guess_app(guessing, f"app_{kind}", person, addresses)
        for person, (kind, addresses) in zip(people[4:6], _places("198.22", "198.23"), strict=True):
            await _guess_messages(guessing, f"messages_{kind}", person, addresses)
    finally:
        await guessing.close()


def _places(one: str, many: str) -> list[tuple[str, Addresses]]:
    return [("from_one", one_address(f"{one}.0.1")), ("from_many", many_addresses(many))]


async def _guess_passwords(guessing: Guessing, name: str, person: str, addresses: Addresses) -> None:
    async def guess(browser: Browser, number: int) -> int:
        await browser.post("/login", {"login": person, "password": f"wrong {number}"})
        return 0

    _, took = await guessing.run(name, guess, addresses)
    guessing.check(name, guessing.failures(person), FOR_ONE_ACCOUNT, took)
    elsewhere = await guessing.browser("203.0.113.9")
    refused = await elsewhere.sign_in(person)
    guessing.report.require(took > 290 or refused.status == 200, f"{name}: the right password signs in all the same")


async def _guess_accounts(guessing: Guessing) -> None:
    """Try one password on many accounts, from one address."""
    name, before = "accounts_from_one", guessing.failures(None)

    async def guess(browser: Browser, number: int) -> int:
        await browser.post("/login", {"login": f"nobody{number}@example.com", "password": "wrong"})
        return 0

    _, took = await guessing.run(name, guess, one_address("198.24.0.1"))
    guessing.check(name, guessing.failures(None) - before, FROM_ONE_ADDRESS, took)


async def _guess_app(guessing: Guessing, name: str, person: str, addresses: Addresses) -> None:
    """Guess codes of an app, as somebody who has the password, and who gives it anew all the time."""
    own = await guessing.browser("203.0.113.10")
    await own.sign_in(person)
    secret = await set_up_app(own)

    async def guess(browser: Browser, number: int) -> int:
        if (await browser.sign_in(person)).status != 302:
            return 0
        for step in range(10):
            await browser.post("/accounts/2fa/authenticate/", {"code": f"{(number + step) * 997 % 1_000_000:06}"})
        return 10

    tried, took = await guessing.run(name, guess, addresses, size=10)
    guessing.check(name, guessing.failures(person), FOR_ONE_ACCOUNT, took)
    guessing.report.require(tried > 0, f"{name}: no code was tried")
    elsewhere = await guessing.browser("203.0.113.11")
    await elsewhere.sign_in(person)
    refused = await elsewhere.post("/accounts/2fa/authenticate/", {"code": code_of_app(secret)})
    guessing.report.require(took > 290 or refused.status == 200, f"{name}: the right code signs in all the same")


async def _guess_messages(guessing: Guessing, name: str, person: str, addresses: Addresses) -> None:
    """Guess codes from messages, three for each that is sent."""

    async def guess(browser: Browser, number: int) -> int:
        looked_at = 0
        await browser.post("/accounts/login/code/", {"email": person})
        for _ in range(TRIES_OF_A_CODE):
            answer = await browser.post("/accounts/login/code/confirm/", {"code": "BBBB-BBBB"})
            # The third ends with a redirect whatever it was; it counts if those before it were looked at.
            looked_at += INCORRECT in answer.body or (looked_at == TRIES_OF_A_CODE - 1 and answer.status == 302)
        return looked_at

    looked_at, took = await guessing.run(name, guess, addresses, size=TRIES_OF_A_CODE)
    guessing.check(name, looked_at, CODES_OF_A_MESSAGE, took)
