"""500 requests at once on a balance that is worth seven of them: exactly seven are served, and no balance is ever below zero.

Every request sets aside exactly a seventh of the balance and costs nearly that, so what seven leave over never pays for an
eighth, however slow the machine: the figure of served requests does not hang on time.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from proofs.books import WalletWatch, check_closed, wait_until_closed, wallet_of
from proofs.client import Answer, chat_request
from proofs.crowd import ask_at_once
from proofs.report import Report
from proofs.site import SLOW, STREAM, check_books, site
from rig.installation import Installation, Tenant
from rig.upstream import COMPLETION_TOKENS

CROWD, ROUNDS = 500, 6
AFFORDABLE = 7
#: So short that the bound of the input is little more than what the mock says that it was.
PROMPT = "Hello"
#: Fewer looks at the wallet than this would prove nothing.
LOOKS = 100


@dataclass(frozen=True, slots=True)
class Price:
    """What one request sets aside and what it costs then, in nano-USD."""

    hold: int
    charge: int

    @property
    def is_tight(self) -> bool:
        """Whether what seven requests leave of their holds does not pay for one more."""
        return self.charge > 0 and AFFORDABLE * (self.hold - self.charge) < self.hold


def balance_race(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        race_for_balance(installation, report, short=short)
        check_books(installation, report)


def race_for_balance(installation: Installation, report: Report, *, short: bool) -> None:
    """Run the rounds, each on a fresh workspace; whole answers and streams take turns."""
    rounds = 1 if short else ROUNDS
    served = looks = 0
    for number in range(rounds):
        streams = number % 2 == 1
        price = _price_of(installation, report, number, streams=streams)
        if not price.is_tight:
            report.require(False, f"the request is not made for this proof: {price}")
            return
        tenant = installation.new_tenant(f"race-{report.seed}-{number}", credits_usd=_usd(AFFORDABLE * price.hold))
        with WalletWatch(installation, tenant.slug) as watch:
            request = _request(tenant, streams=streams)
            answers = asyncio.run(ask_at_once(installation, report, [request] * CROWD))
            still_open = wait_until_closed(installation, tenant.slug, seconds=30)
        report.require(not still_open, f"round {number}: {still_open} holds are open")
        finished = _check_answers(report, answers)
        _check_wallet(installation, report, tenant, watch, hold=price.hold, finished=finished)
        served += len(finished)
        looks += watch.looks
    report.note(rounds=rounds, asked=rounds * CROWD, served=served, looks=looks)


def _price_of(installation: Installation, report: Report, number: int, *, streams: bool) -> Price:
    """Ask once on a rich workspace, and read what was set aside and charged."""
    rich = installation.new_tenant(f"rich-{report.seed}-{number}", credits_usd="1")
    (answer,) = asyncio.run(ask_at_once(installation, report, [_request(rich, streams=streams)]))
    report.require(answer.is_finished, f"the probe was answered {answer.status} {answer.ending}")
    wait_until_closed(installation, rich.slug, seconds=30)
    (booking,) = check_closed(installation, report, rich.slug).values()
    return Price(hold=booking.held, charge=booking.charge)


def _request(tenant: Tenant, *, streams: bool) -> bytes:
    model = STREAM if streams else SLOW
    return chat_request(model, key=tenant.key, prompt=PROMPT, max_tokens=COMPLETION_TOKENS, stream=streams)


def _check_answers(report: Report, answers: Sequence[Answer]) -> set[str]:
    """Require seven finished answers and a refusal for everybody else; return the ids of those served."""
    served = {answer.request_id for answer in answers if answer.is_finished}
    others = Counter((answer.status, answer.error_code) for answer in answers if not answer.is_finished)
    wanted = {(402, "insufficient_credits"): CROWD - AFFORDABLE}
    report.require(len(served) == AFFORDABLE, f"{len(served)} were served on a balance for {AFFORDABLE}")
    report.require(others == wanted, f"the others were answered {dict(others)}")
    ids = {answer.request_id for answer in answers}
    report.require(len(ids) == len(answers), f"{len(answers)} answers have {len(ids)} request ids")
    return served


def _check_wallet(
    installation: Installation, report: Report, tenant: Tenant, watch: WalletWatch, *, hold: int, finished: set[str]
) -> None:
    """Require that the balance was never below zero, that the watch saw it spent to the last, and that the books add up."""
    bookings = check_closed(installation, report, tenant.slug)
    charged = {name for name, booking in bookings.items() if booking.charge > 0}
    report.require(
        bookings.keys() == charged == finished,
        f"{len(bookings)} usage events, {len(charged)} charged, {len(finished)} finished answers; not the same",
    )
    posted = wallet_of(installation, tenant.slug).posted
    report.require(0 <= posted < hold, f"{posted} nano-USD are left, a hold is {hold}")
    report.require(watch.lowest_posted >= 0, f"the balance was {watch.lowest_posted}")
    report.require(watch.lowest_available >= 0, f"the balance less what is held was {watch.lowest_available}")
    report.require(
        watch.looks >= LOOKS and watch.most_held == AFFORDABLE * hold,
        f"the watch saw nothing: {watch.looks} looks, {watch.most_held} held at most",
    )


def _usd(nano: int) -> str:
    return f"{nano // 10**9}.{nano % 10**9:09d}"
