"""Many clients ask without end on an empty balance, and it is topped up by one hold at a time: each top-up is a race of its own.

What a request leaves of its hold adds up, so now and then it pays for one more. Just as many requests are served as the
credit pays for: no more, or credit was spent twice; no less, or somebody was refused what was there.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field

from proofs.books import WalletWatch, check_closed, open_holds, wallet_of
from proofs.client import Connection, Ending, chat_request
from proofs.crowd import open_to_all
from proofs.price import PROMPT, Price, in_usd, price_of
from proofs.report import Report
from proofs.site import WHOLE
from rig.answers import COMPLETION_TOKENS
from rig.installation import Installation, Tenant

TOP_UPS, SHORT_TOP_UPS = 400, 40
CLIENTS = 64
#: Seconds that a client waits after a refusal, and the installation's operator between two top-ups, at most.
PAUSE = 0.05
#: Seconds without a served request after which nobody is served any more, and in which it must have come to that.
SILENCE, PATIENCE = 1.0, 60.0


@dataclass(slots=True)
class Askers:
    """The clients: what they were served, and what else they were told."""

    request: bytes
    chance: random.Random
    finished: set[str] = field(default_factory=set)
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    served_at: float = field(default_factory=time.monotonic)
    stops: bool = False

    async def ask_on_and_on(self, connection: Connection) -> None:
        """Ask on one connection until told to stop."""
        while not self.stops:
            answer = await connection.ask(self.request)
            if answer.is_finished:
                self.finished.add(answer.request_id)
                self.served_at = time.monotonic()
                continue
            if (answer.status, answer.error_code, answer.ending) != (402, "insufficient_credits", Ending.WHOLE):
                self.faults.append(f"{answer.status} {answer.error_code} {answer.ending}")
                return
            self.refused += 1
            await asyncio.sleep(self.chance.uniform(0, PAUSE))


def race_for_top_ups(installation: Installation, report: Report, *, short: bool) -> None:
    """Run the race on a fresh workspace, and compare what was served with what the credit pays for."""
    price = price_of(installation, report, _request_of, name=f"price-{report.seed}")
    tenant = installation.new_tenant(f"top-up-{report.seed}")
    askers = Askers(_request_of(tenant), random.Random(report.seed))
    top_ups = SHORT_TOP_UPS if short else TOP_UPS
    with WalletWatch(installation, tenant.slug) as watch:
        spread = asyncio.run(_race(installation, tenant, askers, price, top_ups))
    report.say(f"{top_ups} top-ups, {askers.refused} refusals, connections by process: {spread}")
    report.require(min(spread) > 0, f"connections by process: {spread}: there was no race between processes")
    report.require(not askers.faults, f"{len(askers.faults)} clients were told something else, {askers.faults[:2]}")
    report.require(askers.refused > top_ups, f"{askers.refused} refusals for {top_ups} top-ups: hardly a race")
    bookings = check_closed(installation, report, tenant.slug)
    report.require(
        bookings.keys() == askers.finished, f"{len(bookings)} events, {len(askers.finished)} finished answers"
    )
    # The last one served still found a whole hold; after it, none was left.
    affordable = (top_ups - 1) * price.hold // price.charge + 1
    report.require(len(askers.finished) == affordable, f"{len(askers.finished)} were served on credit for {affordable}")
    left = wallet_of(installation, tenant.slug).posted
    report.require(0 <= left < price.hold, f"{left} nano-USD are left, a hold is {price.hold}")
    report.require(watch.lowest_posted >= 0, f"the balance was {watch.lowest_posted}")
    report.require(watch.lowest_available >= 0, f"the balance less what is held was {watch.lowest_available}")
    report.require(watch.looks > top_ups and watch.most_held > 0, f"the watch saw nothing: {watch.looks} looks")
    report.note(top_ups=top_ups, served_on_top_ups=len(askers.finished), refused_then=askers.refused)


def _request_of(tenant: Tenant) -> bytes:
    return chat_request(WHOLE, key=tenant.key, prompt=PROMPT, max_tokens=COMPLETION_TOKENS)


async def _race(installation: Installation, tenant: Tenant, askers: Askers, price: Price, top_ups: int) -> list[int]:
    """Top up while everybody asks; return, when nobody is served any more, the connections by process."""
    connections, spread = await open_to_all(installation, CLIENTS)
    tasks = [asyncio.create_task(askers.ask_on_and_on(one)) for one in connections]
    for number in range(top_ups):
        source = f"{tenant.slug}:{number}"
        words = ["--workspace", tenant.slug, "--amount", in_usd(price.hold), "--kind", "paid", "--source", source]
        await asyncio.to_thread(installation.manage, "credits", "grant", *words)
        await asyncio.sleep(askers.chance.uniform(0, PAUSE))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < min(deadline, askers.served_at + SILENCE) or open_holds(installation, tenant.slug):
        await asyncio.sleep(0.1)
        if time.monotonic() > deadline:
            break
    askers.stops = True
    await asyncio.gather(*tasks)
    for one in connections:
        one.close()
    return spread
