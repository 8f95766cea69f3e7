"""kill -9 of a web process under load, again and again: no finished answer unbilled, none billed twice, no hold that stays.

Each round waits until both processes serve, until enough was finished since the last kill and enough is in flight, and then kills
one of the two at a random moment; its successor is started at once, and what the other serves goes on. A request whose connection
broke is not finished: its hold waits for its end and is then closed by the sweeper, which runs as in production: a worker
and beat, every 30 seconds.
"""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field

from proofs.books import check_closed, open_holds, wait_until_closed
from proofs.client import Answer, Ending
from proofs.crowd import wait_until_all_serve
from proofs.load import Diet, Load
from proofs.report import Report
from proofs.site import BURST, QUICK, SLOW, STREAM, WHOLE, check_books, site
from rig.accounting import count_connections
from rig.answers import COMPLETION_TOKENS, PROMPT_TOKENS
from rig.installation import Installation, Tenant
from rig.processes import background_work

ROUNDS, SHORT_ROUNDS = 50, 2
CLIENTS = 140
#: At the moment of each kill: requests in flight, half of them streams; and answers finished since the kill before.
IN_FLIGHT, FINISHED, SHORT_FINISHED = 50, 200, 60
#: Seconds in which a round must get there, in which the site must finish something, and after which no hold may be open.
ROUND_PATIENCE, LONGEST_GAP, STUCK_AFTER = 90.0, 10.0, 90.0
#: What is asked for: whole answers that take up to two seconds, and streams of up to one.
WHOLES, STREAMS = (WHOLE, QUICK, SLOW), (STREAM, STREAM, BURST)


@dataclass(slots=True)
class Kills:
    """What the rounds were like."""

    in_flight: list[int] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    #: Connections that the killed process had: no others may break.
    connections: list[int] = field(default_factory=list)


def kill(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        kill_web_processes(installation, report, short=short)
        check_books(installation, report)


def kill_web_processes(installation: Installation, report: Report, *, short: bool) -> None:
    """Run the rounds on a fresh workspace, wait for the holds of the dead, and check every finished answer.

    The short version does not wait for time to pass: it ages the holds, and a web process that starts sweeps them.
    """
    tenant = installation.new_tenant(f"kill-{report.seed}", credits_usd="1000")
    diet = Diet(WHOLES, STREAMS)
    sweeping = contextlib.nullcontext() if short else background_work(installation.folder, installation.environment)
    with sweeping:
        load, kills = asyncio.run(_torment(installation, report, tenant, diet, short=short))
        ended = time.monotonic()
        left_behind = open_holds(installation, tenant.slug)
        if short:
            _let_time_pass(installation, tenant)
        stuck = wait_until_closed(installation, tenant.slug, seconds=30 if short else STUCK_AFTER)
        took = time.monotonic() - ended
    report.require(not stuck, f"{stuck} holds are open {took:.0f} s after the last kill")
    lost = _check_finished(installation, report, tenant, load.finished)
    _check_load(report, load, kills, rounds=SHORT_ROUNDS if short else ROUNDS)
    report.require(lost > 0, "no kill hit a request: nothing was proved")
    report.note(
        rounds=len(kills.finished),
        in_flight=f"{min(kills.in_flight)}…{max(kills.in_flight)}",
        streams=f"{min(kills.streams)}…{max(kills.streams)}",
        finished=len(load.finished),
        finished_a_round=f"{min(kills.finished)}…{max(kills.finished)}",
        broken_off=load.broken.total(),
        expired=lost,
        holds_left=left_behind,
        closed_after_s=round(took),
        longest_gap_s=round(load.longest_gap, 1),
    )


async def _torment(
    installation: Installation, report: Report, tenant: Tenant, diet: Diet, *, short: bool
) -> tuple[Load, Kills]:
    chance = random.Random(report.seed)
    load, kills = Load(installation.port, tenant.key, diet, chance), Kills()
    load.start(CLIENTS)
    for number in range(SHORT_ROUNDS if short else ROUNDS):
        before = len(load.finished)
        enough = before + (SHORT_FINISHED if short else FINISHED)
        if not await _is_ripe(installation, load, enough, chance):
            report.require(False, f"round {number}: {load.in_flight} in flight, {len(load.finished) - before} finished")
            break
        victim = chance.choice(installation.web)
        kills.in_flight.append(load.in_flight)
        kills.streams.append(load.out[1])
        kills.finished.append(len(load.finished) - before)
        kills.connections.append(count_connections(victim.pid, here=installation.port))
        victim.kill()
        victim.start_again()
        report.say(
            f"round {number}: killed process {victim.number} with {kills.in_flight[-1]} in flight "
            f"after {kills.finished[-1]} finished answers"
        )
    await load.stop()
    await wait_until_all_serve(installation, seconds=ROUND_PATIENCE)
    return load, kills


async def _is_ripe(installation: Installation, load: Load, enough: int, chance: random.Random) -> bool:
    """Wait for the moment of a kill: both processes serve, enough was finished, enough is in flight, and some chance."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ROUND_PATIENCE
    if not await wait_until_all_serve(installation, seconds=ROUND_PATIENCE):
        return False
    while loop.time() < deadline:
        await asyncio.sleep(chance.uniform(0.005, 0.3))
        if len(load.finished) >= enough and load.in_flight >= IN_FLIGHT and min(load.out) >= IN_FLIGHT // 2:
            return True
    return False


def _let_time_pass(installation: Installation, tenant: Tenant) -> None:
    """Make the holds of the dead as old as they would get, and start a web process anew: it sweeps them."""
    installation.query(
        "UPDATE billing_hold SET expires_at = now() - interval '1 s' WHERE state = 'open' AND wallet_id = "
        "(SELECT id FROM accounts_workspace WHERE slug = %s)",
        tenant.slug,
    )
    installation.web[0].kill()
    installation.web[0].start_again()
    asyncio.run(wait_until_all_serve(installation, seconds=ROUND_PATIENCE))


def _check_finished(installation: Installation, report: Report, tenant: Tenant, finished: list[Answer]) -> int:
    """Require each finished answer to be billed once, in full; return how many requests the sweeper had to close."""
    bookings = check_closed(installation, report, tenant.slug)
    ids = {answer.request_id for answer in finished}
    report.require(len(ids) == len(finished), f"{len(finished)} finished answers have {len(ids)} request ids")
    unbilled = [one for one in ids if one not in bookings or bookings[one].charge <= 0]
    report.require(not unbilled, f"{len(unbilled)} finished answers are unbilled, {unbilled[:2]}")
    tokens = (PROMPT_TOKENS, COMPLETION_TOKENS)
    wrong = [one for one in ids if one in bookings and (bookings[one].input, bookings[one].output) != tokens]
    report.require(not wrong, f"{len(wrong)} finished answers are billed for other tokens than {tokens}, {wrong[:2]}")
    return sum(booking.status == "expired" for booking in bookings.values())


def _check_load(report: Report, load: Load, kills: Kills, *, rounds: int) -> None:
    report.require(len(kills.finished) == rounds, f"{len(kills.finished)} of {rounds} rounds")
    report.require(not load.refused, f"answers that a process which stays must not give: {dict(load.refused)}")
    # While we count, the process may accept a few more.
    most = sum(kills.connections) + 5 * rounds
    broken = load.broken.total()
    report.require(broken <= most, f"{broken} requests broke off, the killed processes had {most} at most")
    report.require(not load.broken[Ending.SILENT], f"{load.broken[Ending.SILENT]} requests were never answered")
    report.require(
        load.longest_gap <= LONGEST_GAP, f"for {load.longest_gap:.1f} s nothing was finished, with a process that stays"
    )
