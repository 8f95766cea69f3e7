"""Thousands of cancelled requests, each with a nonce: no client ever gets a byte of another's answer, and nothing is left behind.

The mock echoes the nonce of each prompt, and the gateway names each answer; every answer, whole or broken off, is searched for
both. Clients leave while they send, before, amid and after the answer, by closing, by resetting and by cancelling the task
that asks; others read to the end, on connections that others have used. One model's upstream stops billing when a call is dropped:
there the gateway cancels its own call, too. Before and after, when all is quiet, what the
gateway keeps open must be the same.
"""

import asyncio
import itertools
import random
import time
from dataclasses import replace

from proofs.books import check_closed, open_holds
from proofs.nonces import ENDINGS, MODELS, Crowd
from proofs.open_ends import OpenEnds, count_open_ends
from proofs.report import Report
from proofs.site import check_books, offer_stopped, site
from rig.answers import COMPLETION_TOKENS, PROMPT_TOKENS
from rig.installation import Installation, Tenant

CANCELLED, SHORT_CANCELLED, WARM_UPS = 10_000, 500, 200
#: So many requests a minute that nobody is refused, and the limiter is asked nevertheless.
PACE = 10_000_000
#: Seconds in which the gateway becomes quiet. It keeps free connections to an upstream for 30 s and looks every 30 s; the short
#: version does not wait for that.
QUIET_WITHIN, SHORT_QUIET_WITHIN = 75.0, 5.0
#: Free connections to one upstream that a process keeps at most.
POOL = 512


def cancelled(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        cancel_many(installation, report, short=short)
        check_books(installation, report)


def cancel_many(installation: Installation, report: Report, *, short: bool) -> None:
    """Warm up, cancel, and compare what is open before and after."""
    offer_stopped(installation)
    tenant = installation.new_tenant(f"cancel-{report.seed}", credits_usd="1000", rpm=PACE)
    wanted = SHORT_CANCELLED if short else CANCELLED
    warm_up, crowd = (
        Crowd(installation.port, tenant.key, random.Random(report.seed), cancels) for cancels in (False, True)
    )
    asyncio.run(warm_up.ask(range(WARM_UPS)))
    before = _when_quiet(installation, tenant, short=short)
    report.say(f"warm: {before}")
    asyncio.run(crowd.ask(itertools.count(WARM_UPS), cancellations=wanted))
    after = _when_quiet(installation, tenant, short=short, like=before)
    report.say(f"after the cancellations: {after}; {dict(crowd.endings)}")
    report.require(after == before, f"open before: {before}, and after: {after}")
    still_open = open_holds(installation, tenant.slug)
    report.require(not still_open, f"{still_open} holds are open")
    _check_crowd(report, warm_up, crowd, wanted=wanted)
    bookings = check_closed(installation, report, tenant.slug)
    for name in warm_up.finished | crowd.finished:
        tokens = (bookings[name].input, bookings[name].output) if name in bookings else None
        report.require(
            tokens == (PROMPT_TOKENS, COMPLETION_TOKENS), f"request {name}: finished, and billed for {tokens}"
        )
    report.note(
        requests=crowd.endings.total(),
        cancelled=crowd.cancellations,
        answered=crowd.answered,
        finished=len(crowd.finished),
        on_used_connections=crowd.reused,
        mismatches=len(warm_up.faults) + len(crowd.faults),
        admitted=len(bookings) - WARM_UPS,
        upstream=after.upstream,
        descriptors=after.descriptors,
        postgres=after.postgres,
        valkey=after.valkey,
    )


def _check_crowd(report: Report, warm_up: Crowd, crowd: Crowd, *, wanted: int) -> None:
    """Require no mismatch, and that everything was tried often enough to say so."""
    for fault in warm_up.faults + crowd.faults:
        report.require(False, fault)
    report.require(len(warm_up.finished) == WARM_UPS, f"{len(warm_up.finished)} of {WARM_UPS} warm-ups were answered")
    count = crowd.endings.total()
    report.require(crowd.cancellations >= wanted, f"{crowd.cancellations} of {wanted} requests were cancelled")
    report.require(len(crowd.finished) >= count // 10, f"only {len(crowd.finished)} answers were read to the end")
    report.require(crowd.reused >= count // 20, f"only {crowd.reused} of them on a connection that was used before")
    rare = [ending for ending in ENDINGS if crowd.endings[ending] < count // 100]
    report.require(not rare, f"endings that were hardly tried: {rare}; {dict(crowd.endings)}")
    unasked = [model for model in MODELS if crowd.asked[model] < count // 50]
    report.require(not unasked, f"models that were hardly asked: {unasked}")


def _when_quiet(installation: Installation, tenant: Tenant, *, short: bool, like: OpenEnds | None = None) -> OpenEnds:
    """Return what is open when no client and no hold is left, and no free connection upstream (the short version keeps those).

    With ``like`` it waits for that to be open and nothing else, too; but not for ever.
    """
    deadline = time.monotonic() + (SHORT_QUIET_WITHIN if short else QUIET_WITHIN)
    while True:
        ends = count_open_ends(installation)
        if short and ends.upstream <= POOL * len(installation.web):
            ends = replace(ends, upstream=0)
        is_quiet = not ends.clients and not ends.upstream and not open_holds(installation, tenant.slug)
        if (is_quiet and like in {None, ends}) or time.monotonic() > deadline:
            return ends
        time.sleep(0.2)
