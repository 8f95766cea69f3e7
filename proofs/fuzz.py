"""Fuzz of the chat endpoint: bodies of every kind, heads as nobody should send them, and three kinds of bombs.

Whatever comes, the answer is no failure of ours, has the one shape of an error and echoes no key; bombs are refused at once and in
little memory; afterwards the books are in order, and every answer was billed.
"""

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from hypothesis import strategies as st

from proofs import bodies
from proofs.bills import check_bills
from proofs.civility import fault_of
from proofs.client import Answer, Connection, Ending, ask_once, connect, encode_request
from proofs.heads import CHAT_PATH, draw_request
from proofs.report import Report
from proofs.site import BURST, FREE_STREAM, check_books, site
from proofs.traffic import Errand, Sent, keeps_open
from rig import accounting
from rig.installation import Installation, Tenant

#: How many of each kind.
STRUCTURED, DAMAGED, HEADS, BOMBS = 10_000, 5_000, 3_000, 5
SHORT_STRUCTURED, SHORT_DAMAGED, SHORT_HEADS, SHORT_BOMBS = 150, 100, 150, 1
#: Requests in flight.
AT_ONCE = 16
#: Of the structured bodies at least so many must deserve an answer, and get it, whole and streamed.
SERVED = 0.3
#: Seconds in which a bomb must be refused, and MB that a web process may need for it.
REFUSED_WITHIN, MEMORY = 1.0, 100.0
#: Models of the mock that answer both ways, and names that are none.
MODELS = (BURST, FREE_STREAM)
NO_MODELS = ("none", "", "mock-json/", "mock-stream-50-0 ")
MEGABYTE = 1024 * 1024


def fuzz(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        throw_everything(installation, report, short=short)
        check_books(installation, report)


def throw_everything(installation: Installation, report: Report, *, short: bool) -> None:
    """Throw all of it at a fresh workspace, and compare what came back with its books."""
    tenant = installation.new_tenant(f"fuzz-{report.seed}", credits_usd="100000", daily=0)
    other = installation.new_tenant(f"other-{report.seed}")
    answers = asyncio.run(_throw_bodies(installation, report, tenant, short=short))
    count = SHORT_HEADS if short else HEADS
    chance = random.Random(report.seed)
    heads = [draw_request(chance, key=tenant.key, other_key=other.key, model=BURST) for _ in range(count)]
    report.say(f"{count} heads")
    told = asyncio.run(_ask_each_anew(installation.port, heads))
    _check_civil(report, "heads", told, (tenant.key, other.key))
    served = sum(answer.status == 200 for answer in told)
    report.require(0 < served < len(told), f"{served} of {len(told)} heads were served: too few, or nothing was odd")
    answers += told
    asyncio.run(_throw_bombs(installation, report, tenant, short=short))
    report.require(all(one.process.poll() is None for one in installation.web), "a web process has ended")
    sent = [Sent.of(answer) for answer in answers]
    check_bills(installation, report, sent, [Errand(tenant.slug, tenant.key, BURST, stream=False)])
    report.note(heads=len(told), heads_served=served)


async def _throw_bodies(installation: Installation, report: Report, tenant: Tenant, *, short: bool) -> list[Answer]:
    models = (*MODELS, *NO_MODELS)
    kinds = st.one_of(bodies.sound(MODELS), bodies.sound(MODELS), bodies.spoilt(MODELS), bodies.wild(models))
    count = SHORT_STRUCTURED if short else STRUCTURED
    structured = [bodies.encode(body) for body in bodies.draw(kinds, count, seed=report.seed)]
    report.say(f"{count} structured bodies")
    answers = await _ask_all(installation.port, (_request(tenant, body) for body in structured))
    _check_civil(report, "structured", answers, (tenant.key,))
    served = [answer for answer in answers if answer.status == 200]
    streams = sum(answer.is_stream for answer in served)
    report.require(len(served) >= SERVED * count, f"only {len(served)} of {count} structured bodies deserved an answer")
    report.require(0 < streams < len(served), f"{streams} of {len(served)} answers were streams")
    count = SHORT_DAMAGED if short else DAMAGED
    damaged = bodies.draw(bodies.damaged(BURST), count, seed=report.seed)
    report.say(f"{count} damaged bodies")
    told = await _ask_all(installation.port, (_request(tenant, body) for body in damaged))
    _check_civil(report, "damaged", told, (tenant.key,))
    refused = sum(answer.status == 400 for answer in told)
    report.require(refused > count / 2, f"only {refused} of {count} damaged bodies were refused")
    report.note(
        structured=len(answers), served=len(served), streams=streams, damaged=len(told), damaged_refused=refused
    )
    return answers + told


def _request(tenant: Tenant, body: bytes, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"authorization": f"Bearer {tenant.key}", "content-type": "application/json"}
    return encode_request("POST", CHAT_PATH.decode(), headers=named, body=body)


async def _ask_all(port: int, requests: Iterable[bytes]) -> list[Answer]:
    """Ask on kept connections, several at once."""
    waiting, answers = iter(requests), list[Answer]()

    async def work() -> None:
        line: Connection | None = None
        for request in waiting:
            line = line or await connect(port)
            answers.append(await line.ask(request))
            line = line if keeps_open(line, answers[-1]) else None
        if line is not None:
            line.close()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return answers


async def _ask_each_anew(port: int, requests: Sequence[bytes]) -> list[Answer]:
    """Ask on a connection a request, several at once."""
    waiting, answers = iter(requests), list[Answer]()

    async def work(its_own: Iterator[bytes]) -> None:
        for request in its_own:
            answers.append(await ask_once(port, request))

    await asyncio.gather(*(work(waiting) for _ in range(AT_ONCE)))
    return answers


def _check_civil(report: Report, kind: str, answers: Sequence[Answer], keys: Sequence[str]) -> None:
    """Report answers that are not whole or not civil."""
    faults = Counter[str]()
    for answer in answers:
        found = (
            "" if answer.ending is Ending.WHOLE else f"the answer is {answer.ending.value}: {bytes(answer.raw[:200])!r}"
        )
        for key in keys:
            found = found or fault_of(status=answer.status, headers=answer.headers, body=bytes(answer.body), key=key)
        if answer.status == 200 and not answer.is_finished:
            found = found or f"a stream without an end: {bytes(answer.body[-200:])!r}"
        if found:
            faults[found] += 1
    report.require(not faults, f"{kind}: {faults.total()} answers are wrong: {faults.most_common(3)}")


async def _throw_bombs(installation: Installation, report: Report, tenant: Tenant, *, short: bool) -> None:
    """Throw what would cost memory or time, again and again, and measure both."""
    deep = b'{"model":"%s","messages":' % BURST.encode() + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    packed = gzip.compress(b" " * (256 * MEGABYTE), 1)
    bombs = {
        "large": (413, _request(tenant, b" " * (50 * MEGABYTE))),
        "deep": (400, _request(tenant, deep)),
        "gzip": (415, _request(tenant, packed, content_encoding="gzip")),
        "gzip without a word": (400, _request(tenant, packed)),
    }
    pids = installation.gateway_pids
    for pid in pids:
        accounting.forget_peak(pid)
    before = {pid: accounting.resident_megabytes([pid]) for pid in pids}
    slowest = 0.0
    for name, (status, request) in bombs.items():
        answers = [await _throw(installation.port, request) for _ in range(SHORT_BOMBS if short else BOMBS)]
        _check_civil(report, name, answers, (tenant.key,))
        wrong = [answer.status for answer in answers if answer.status != status]
        report.require(not wrong, f"{name}: refused with {wrong}, not with {status}")
        slowest = max(slowest, *(answer.seconds for answer in answers))
    grown = max(accounting.peak_megabytes(pid) - before[pid] for pid in pids)
    report.require(slowest < REFUSED_WITHIN, f"a bomb was refused after {slowest:.2f} s")
    report.require(grown < MEMORY, f"a web process needed {grown:.0f} MB for the bombs")
    report.note(slowest_bomb_s=round(slowest, 2), bombs_mb=round(grown))


async def _throw(port: int, request: bytes) -> Answer:
    """Ask on a connection of its own, and take back what was not sent when the answer came."""
    line = await connect(port)
    answer = await line.ask(request)
    line.cut()
    return answer
