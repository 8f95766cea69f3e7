"""500 requests at once on a balance that is worth seven of them: exactly seven are served, and no balance is ever below zero.

Every request sets aside exactly a seventh of the balance and costs nearly that, so what seven leave over never pays for an
eighth, however slow the machine: the figure of served requests does not hang on time. Then the balance is topped up, one hold
at a time, while many ask without end: both processes race for each, and just as many are served as the credit pays for.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial

from proofs.books import WalletWatch, check_closed, wait_until_closed, wallet_of
from proofs.client import Answer, chat_request
from proofs.crowd import ask_at_once
from proofs.price import PROMPT, in_usd, price_of
from proofs.report import Report
from proofs.site import SLOW, STREAM, check_books, site
from proofs.top_up_race import race_for_top_ups
from rig.answers import COMPLETION_TOKENS
from rig.installation import Installation, Tenant

CROWD, ROUNDS = 500, 6
AFFORDABLE = 7
#: Fewer looks at the wallet than this would prove nothing.
LOOKS = 100


def balance_race(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        race_for_balance(installation, report, short=short)
        race_for_top_ups(installation, report, short=short)
        check_books(installation, report)


def race_for_balance(installation: Installation, report: Report, *, short: bool) -> None:
    """Run the rounds, each on a fresh workspace; whole answers and streams take turns."""
    rounds = 1 if short else ROUNDS
    served = looks = 0
    for number in range(rounds):
        streams = number % 2 == 1
        request_of = partial(_request, streams=streams)
        price = price_of(installation, report, request_of, name=f"rich-{report.seed}-{number}")
        if not price.is_tight_for(AFFORDABLE):
            report.require(False, f"the request is not made for this proof: {price}")
            return
        tenant = installation.new_tenant(f"race-{report.seed}-{number}", credits_usd=in_usd(AFFORDABLE * price.hold))
        with WalletWatch(installation, tenant.slug) as watch:
            answers = asyncio.run(ask_at_once(installation, report, [request_of(tenant)] * CROWD))
            still_open = wait_until_closed(installation, tenant.slug, seconds=30)
        report.require(not still_open, f"round {number}: {still_open} holds are open")
        finished = _check_answers(report, answers)
        _check_wallet(installation, report, tenant, watch, hold=price.hold, finished=finished)
        served += len(finished)
        looks += watch.looks
    report.note(rounds=rounds, asked=rounds * CROWD, served=served, looks=looks)


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
