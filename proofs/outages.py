"""PostgreSQL and Valkey paused, killed, restarted and flushed under load, in any order and many times over.

What must hold: without PostgreSQL a request is refused with 503 within seconds, and never otherwise; without Valkey nothing is
refused at all; the web processes recover by themselves and say on /readyz how they are; what was finished is billed, once,
nothing else is, and no hold stays open.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from proofs.bills import check_bills
from proofs.faults import FAULTS, RECOVERED, Round, Watch
from proofs.report import Report
from proofs.site import BURST, FREE, FREE_STREAM, QUICK, STREAM, WHOLE, check_books, site
from proofs.traffic import Errand, Schedule, Sent, Traffic
from rig import accounting
from rig.installation import Installation

#: Rounds of each fault, and requests a second meanwhile.
ROUNDS, SHORT_ROUNDS, RATE = 20, 1, 40.0
#: Seconds that a service is paused, and that it is away between its end and its start; PostgreSQL's long pauses.
PAUSED, SHORT_PAUSED, AWAY, SHORT_AWAY = (3.0, 8.0), (0.5, 0.8), (1.0, 5.0), (0.6, 0.8)
LONG_PAUSE, LONG_PAUSES = 30.0, 4
#: Seconds of undisturbed traffic before all, and after each round. Nothing may be refused in them.
WARM_UP, SHORT_WARM_UP, CALM, SHORT_CALM = 20.0, 1.0, 1.5, 0.3
#: Seconds in which a refusal must come; and those of an outage in which at least one request must have been refused.
TOLD, NOTICEABLE_PAUSE, NOTICEABLE_KILL = 5.0, 5.0, 0.5
#: MB that the web processes may grow by over all rounds, together.
GROWTH = 60.0
#: Requests a minute and a day that nobody sends: a 429 is always wrong.
RPM, DAILY = 1_000_000, 1_000_000
MODELS = (WHOLE, QUICK, STREAM, BURST, FREE, FREE_STREAM)
WORKSPACES = 3


def outages(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        take_services_away(installation, report, short=short)
        check_books(installation, report)


def take_services_away(installation: Installation, report: Report, *, short: bool) -> None:
    """Run every fault so many times under load, in an order of chance, and compare what clients got with the books."""
    tenants = [
        installation.new_tenant(f"outage-{report.seed}-{number}", credits_usd="10000", rpm=RPM, daily=DAILY)
        for number in range(WORKSPACES)
    ]
    probe = installation.new_tenant(f"probe-{report.seed}", credits_usd="100", rpm=RPM)
    errands = [Errand(one.slug, one.key, model, "stream" in model) for one in tenants for model in MODELS]
    pids, watch = installation.gateway_pids, Watch(installation, probe)
    with Traffic(installation.folder, Schedule(installation.port, errands, RATE, report.seed)) as traffic:
        time.sleep(SHORT_WARM_UP if short else WARM_UP)
        before = accounting.resident_megabytes(pids)
        rounds = [_run(watch, report, fault, seconds, short) for fault, seconds in _draw(report.seed, short)]
        after = accounting.resident_megabytes(pids)
    watch.close()
    report.require(installation.gateway_pids == pids, "web processes were started anew")
    report.require(all(one.process.poll() is None for one in installation.web), "a web process has ended")
    report.require(after - before < GROWTH, f"the web processes grew by {after - before:.0f} MB, from {before:.0f} MB")
    report.note(rounds=len(rounds), requests=len(traffic.sent), grown_mb=round(after - before, 1))
    _check_rounds(report, rounds, traffic.sent)
    _check_answers(report, rounds, traffic.sent)
    check_bills(installation, report, traffic.sent, errands)
    _check_logs(installation, report)


def _draw(seed: int, short: bool) -> Iterator[tuple[str, float]]:
    """Yield the faults in their order, and for how many seconds the service is away."""
    chance, count = random.Random(seed), SHORT_ROUNDS if short else ROUNDS
    paused, away = (SHORT_PAUSED, SHORT_AWAY) if short else (PAUSED, AWAY)
    drawn = [
        (fault, chance.uniform(*(paused if fault.endswith("paused") else away)))
        for fault in FAULTS
        for _ in range(count)
    ]
    if not short:
        drawn = [*drawn, *[("postgres paused", LONG_PAUSE)] * LONG_PAUSES][
            LONG_PAUSES:
        ]  # instead of as many short ones
    chance.shuffle(drawn)
    yield from drawn


def _run(watch: Watch, report: Report, fault: str, seconds: float, short: bool) -> Round:
    """Let a fault happen, wait until all is well again, and let some calm pass."""
    strike, role = FAULTS[fault]
    done = strike(watch, role, seconds)
    done.recovered = watch.wait_until_well()
    took = done.recovered - done.back
    report.require(took <= RECOVERED, f"{fault}: not every web process was well {RECOVERED:g} s after the return")
    if role == "valkey":
        report.require(watch.paces_are_counted(), f"{fault}: paces are not counted in Valkey after its return")
    time.sleep(SHORT_CALM if short else CALM)
    report.say(f"{fault} for {done.seconds:.1f} s, well {took:.1f} s later; /readyz meanwhile {dict(done.readiness)}")
    return done


def _check_rounds(report: Report, rounds: Sequence[Round], sent: Sequence[Sent]) -> None:
    """Check what /readyz and /healthz said, and that each outage of PostgreSQL was felt."""
    for one in rounds:
        wanted = {503} if one.is_postgres else {200}
        report.require(set(one.readiness) <= wanted, f"{one.fault}: /readyz said {dict(one.readiness)}")
        report.require(set(one.health) <= {200}, f"{one.fault}: /healthz said {dict(one.health)}")
        felt = {"postgres paused": NOTICEABLE_PAUSE, "postgres killed": NOTICEABLE_KILL}.get(one.fault)
        if felt is not None and one.seconds > felt:
            refused = sum(request.status == 503 and one.excuses(request.at, request.seconds) for request in sent)
            report.require(refused > 0, f"{one.fault} for {one.seconds:.1f} s, and nothing was refused")
    report.require(sum(one.readiness.total() for one in rounds) > 0, "nobody asked for the readiness")
    slowest = max(rounds, key=lambda one: one.recovered - one.back)
    longest = max(one.seconds for one in rounds)
    report.note(longest_s=round(longest), recovery_s=f"{slowest.recovered - slowest.back:.1f}")


def _check_answers(report: Report, rounds: Sequence[Round], sent: Sequence[Sent]) -> None:
    """Require every answer to be finished, or refused with 503, in time, and for a reason."""
    wrong, refused, slowest = Counter[str](), 0, 0.0
    for one in sent:
        if one.is_finished:
            continue
        if one.status == 503 and one.code == "unavailable" and any(it.excuses(one.at, one.seconds) for it in rounds):
            refused, slowest = refused + 1, max(slowest, one.seconds)
            continue
        latest = max((it for it in rounds if it.away <= one.at), key=lambda it: it.away, default=None)
        when = f"{one.at - latest.back:+.0f} s from the end of {latest.fault}" if latest else "before all faults"
        report.say(f"wrong: {one}, {when}")
        wrong[f"{one.status} {one.code} {one.ending}"] += 1
    report.require(not wrong, f"answers that are wrong: {dict(wrong)}")
    report.require(slowest <= TOLD, f"a refusal took {slowest:.1f} s")
    finished = sum(one.is_finished for one in sent)
    report.require(finished > len(sent) / 3, f"only {finished} of {len(sent)} requests were served")
    report.note(finished=finished, refused=refused, slowest_refusal_s=round(slowest, 2))


def _check_logs(installation: Installation, report: Report) -> None:
    for one in installation.web:
        count = one.log.read_text(errors="replace").count("Traceback")
        report.require(count == 0, f"{count} tracebacks in the log of web process {one.number}")
