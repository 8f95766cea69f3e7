"""Clients that leave at random points of a stream: each admitted request is one usage event, charged by rule, and no hold stays.

Two upstreams give the same streams. One is of a kind that bills a dropped call all the same: its answer is read to the end and
charged in full, whoever left. The other stops billing when the call is dropped: what came out till then is charged by our
own count. Some clients leave before their request is sent: those were never admitted.
"""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from proofs.books import Booking, bookings_of, check_closed, wait_until_closed
from proofs.client import Answer, Ending, Leave, ask_once, chat_request
from proofs.report import Report
from proofs.site import STOPPED, STREAM, check_books, offer_stopped, site
from rig.answers import COMPLETION_TOKENS, PROMPT_TOKENS
from rig.installation import Installation, Tenant

ADMITTED, SHORT_ADMITTED = 400, 60
#: Clients that are there together.
AT_ONCE = 40
#: Seconds that a stream lasts, and a little more: some clients see the end.
LIFE = 1.3
#: Seconds in which the first byte comes, about: more clients than chance would send leave within them.
FIRST_BYTE = 0.03
#: Seconds after the last client in which every hold must be closed.
CLOSED_WITHIN = 30.0
#: Rounds of clients in which enough must have been admitted.
ROUNDS = 40

_CONTENT = re.compile(rb'"content":"([^"]*)"')
#: Our own count: a token for each four bytes.
_BYTES_PER_TOKEN = 4
#: No stream of the mock has more content than this: twenty chunks of at most 25 bytes.
_MOST_CONTENT = 500


@dataclass(frozen=True, slots=True)
class Visit:
    """A client's request and what it got. ``is_sent``: all of the request went out."""

    model: str
    is_sent: bool
    answer: Answer

    @property
    def content(self) -> int:
        """Bytes of the answer's text that came."""
        return sum(len(text) for text in _CONTENT.findall(self.answer.body))


def disconnects(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        leave_at_random(installation, report, short=short)
        check_books(installation, report)


def leave_at_random(installation: Installation, report: Report, *, short: bool) -> None:
    """Send clients to a fresh workspace until enough were admitted, and compare what they got with the books."""
    offer_stopped(installation)
    tenant = installation.new_tenant(f"leave-{report.seed}", credits_usd="100")
    chance, visits = random.Random(report.seed), list[Visit]()
    for _ in range(ROUNDS):
        visits += asyncio.run(_visit_together(installation, tenant, chance))
        if len(bookings_of(installation, tenant.slug)) >= (SHORT_ADMITTED if short else ADMITTED):
            break
    still_open = wait_until_closed(installation, tenant.slug, seconds=CLOSED_WITHIN)
    report.require(not still_open, f"{still_open} holds are open {CLOSED_WITHIN:g} s after the last client")
    bookings = check_closed(installation, report, tenant.slug)
    for visit in visits:
        fault = _fault_of(visit, bookings.get(visit.answer.request_id))
        report.require(not fault, f"request {visit.answer.request_id}: {fault}")
    _check_the_unnamed(report, visits, list(bookings.values()))
    _note(report, visits, list(bookings.values()), wanted=SHORT_ADMITTED if short else ADMITTED)


async def _visit_together(installation: Installation, tenant: Tenant, chance: random.Random) -> list[Visit]:
    visits = []
    for _ in range(AT_ONCE):
        model = chance.choice((STREAM, STOPPED))
        request = chat_request(model, key=tenant.key, prompt="Count.", stream=True)
        visits.append(_visit(installation.port, model, request, _choose_leave(chance, len(request))))
    return await asyncio.gather(*visits)


def _choose_leave(chance: random.Random, length: int) -> Leave:
    with_reset = chance.random() < 0.5
    fate = chance.random()
    if fate < 0.1:
        return Leave(sent=chance.randrange(1, length), with_reset=with_reset)
    return Leave(seconds=chance.uniform(0, FIRST_BYTE if fate < 0.25 else LIFE), with_reset=with_reset)


async def _visit(port: int, model: str, request: bytes, leave: Leave) -> Visit:
    return Visit(model, leave.sent is None, await ask_once(port, request, leave=leave))


def _fault_of(visit: Visit, booking: Booking | None) -> str:
    """Return what is wrong with the booking of a request whose id its client knows; empty when nothing is."""
    answer = visit.answer
    if not visit.is_sent or not answer.status:
        return "" if not answer.status else f"an answer {answer.status} to a request that was not sent"
    if answer.status != 200 or answer.ending not in {Ending.WHOLE, Ending.LEFT}:
        return f"it was answered {answer.status} {answer.error_code}, {answer.ending}"
    if booking is None:
        return "it is nowhere in the books"
    reported = (booking.input, booking.output) == (PROMPT_TOKENS, COMPLETION_TOKENS) and booking.source == "upstream"
    if visit.model == STREAM or answer.is_finished:
        return "" if reported else f"billed by {booking.source} for {booking.input} and {booking.output} tokens"
    # Its upstream may have been done before we heard that the client had left.
    least = -(-visit.content // _BYTES_PER_TOKEN)
    if reported or least <= booking.output <= -(-_MOST_CONTENT // _BYTES_PER_TOKEN):
        return ""
    return f"{visit.content} bytes of text came, {booking.output} tokens were billed ({booking.source})"


def _check_the_unnamed(report: Report, visits: Sequence[Visit], bookings: Sequence[Booking]) -> None:
    """Check what holds for all together, those included that left before they could know their request's id."""
    named = {visit.answer.request_id for visit in visits if visit.answer.status}
    sent = sum(visit.is_sent for visit in visits)
    report.require(
        len(named) <= len(bookings) <= sent,
        f"{len(bookings)} usage events for {sent} requests that were sent, {len(named)} of them with a head",
    )
    for booking in bookings:
        # Both upstreams always produce something; without a client nobody but a dropped call can be free.
        free = booking.charge == 0 and not (booking.status == "released" and booking.request_id not in named)
        report.require(not free, f"request {booking.request_id}: nothing was charged ({booking.status})")
        report.require(
            not booking.absorbed, f"request {booking.request_id}: {booking.absorbed} nano-USD are lost to us"
        )


def _note(report: Report, visits: Sequence[Visit], bookings: Sequence[Booking], *, wanted: int) -> None:
    sent = [visit.answer for visit in visits if visit.is_sent]
    before = sum(not answer.status for answer in sent)
    ended = sum(answer.is_finished for answer in sent)
    amid = len(sent) - before - ended
    estimated = sum(booking.source == "estimated" for booking in bookings)
    report.require(len(bookings) >= wanted, f"{len(bookings)} of {wanted} requests were admitted")
    report.require(
        min(before, amid, ended, estimated) > 0,
        f"{before} left before a byte, {amid} amid, {ended} saw the end, {estimated} estimated: not everything was tried",
    )
    report.note(
        clients=len(visits),
        admitted=len(bookings),
        left_unsent=len(visits) - len(sent),
        left_before_a_byte=before,
        of_them_admitted=len(bookings) - (len(sent) - before),
        left_amid=amid,
        saw_the_end=ended,
        estimated=estimated,
        charged=sum(booking.charge for booking in bookings),
    )
