"""A hundred requests at once on a free quota of 25, over two processes: exactly 25 are served, and each remainder is told once.

Three times a round: on one workspace, on ten workspaces of one owner, who share what is free, and on so many that no two processes
are ever kept apart by a wallet's lock. Whole answers and streams take turns. A refusal costs nothing: no event, no hold, no use of
the quota.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence

from proofs.books import check_closed, wait_until_closed
from proofs.client import Answer, chat_request
from proofs.crowd import ask_at_once
from proofs.report import Report
from proofs.site import FREE, FREE_STREAM, check_books, site
from rig.installation import Installation, Tenant

CROWD, QUOTA, ROUNDS = 100, 25, 8
WORKSPACES, SHORT_WORKSPACES = (1, 10, 100), (1, 10, 25)
#: Seconds before midnight (UTC, the database's) in which no round begins: it would count in two days.
_LATE = 60
REMAINING = "x-ratelimit-remaining-requests"

_UNTIL_MIDNIGHT = """
SELECT extract(epoch FROM date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day' - now() AT TIME ZONE 'UTC')::float AS left
"""
_USED = """
SELECT subject, used FROM billing_dailyquota WHERE subject IN (
    SELECT quota_subject FROM billing_hold hold JOIN accounts_workspace workspace ON workspace.id = hold.wallet_id
    WHERE workspace.slug = ANY(%s))
"""


def quota_race(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        race_for_quota(installation, report, short=short)
        check_books(installation, report)


def race_for_quota(installation: Installation, report: Report, *, short: bool) -> None:
    """Run the rounds, each with fresh owners."""
    rounds, served, crowds = 1 if short else ROUNDS, 0, 0
    for number in range(rounds):
        for workspaces in SHORT_WORKSPACES if short else WORKSPACES:
            owner = f"quota-{report.seed}-{number}-{workspaces}"
            tenants = [
                installation.new_tenant(f"{owner}-{one}", owner=f"{owner}@example.com") for one in range(workspaces)
            ]
            wait_past_midnight(installation, report)
            streams = number % 2 == 1
            model = FREE_STREAM if streams else FREE
            requests = [
                chat_request(model, key=tenant.key, stream=streams)
                for tenant in itertools.islice(itertools.cycle(tenants), CROWD)
            ]
            answers = asyncio.run(ask_at_once(installation, report, requests))
            finished = _check_answers(report, owner, answers)
            _check_books(installation, report, owner, tenants, finished)
            served, crowds = served + len(finished), crowds + 1
    report.note(crowds=crowds, asked=crowds * CROWD, served=served)


def wait_past_midnight(installation: Installation, report: Report) -> None:
    """Return at a time of the day that leaves room before its end."""
    left: float = installation.query(_UNTIL_MIDNIGHT)[0]["left"]
    if left < _LATE:
        report.say(f"waits {left:.0f} s for midnight to pass")
        time.sleep(left + 1)


def _check_answers(report: Report, owner: str, answers: Sequence[Answer]) -> set[str]:
    """Require 25 served with every remainder once, and 75 refused without one; return the ids of those served."""
    served = [answer for answer in answers if answer.is_finished]
    others = Counter(
        (answer.status, answer.error_code, answer.headers.get(REMAINING), answer.headers.get("x-should-retry"))
        for answer in answers
        if not answer.is_finished
    )
    wanted = {(429, "daily_quota_exceeded", "0", "false"): CROWD - QUOTA}
    report.require(others == wanted, f"{owner}: the others were answered {dict(others)}")
    remainders = sorted(answer.headers.get(REMAINING, "none").zfill(2) for answer in served)
    told = [f"{left:02}" for left in range(QUOTA)]
    report.require(remainders == told, f"{owner}: {len(served)} were served, who were told {remainders}")
    limits = {answer.headers.get("x-ratelimit-limit-requests") for answer in answers}
    report.require(limits == {str(QUOTA)}, f"{owner}: the limit was told as {limits}")
    return {answer.request_id for answer in served}


def _check_books(
    installation: Installation, report: Report, owner: str, tenants: Sequence[Tenant], served: set[str]
) -> None:
    """Require one free event for each that was served and nothing for anybody else, and a quota used up to its end."""
    booked: set[str] = set()
    for tenant in tenants:
        still_open = wait_until_closed(installation, tenant.slug, seconds=30)
        report.require(not still_open, f"{tenant.slug}: {still_open} holds are open")
        bookings = check_closed(installation, report, tenant.slug)
        paid = [one for one in bookings.values() if one.charge or one.held or not one.is_free]
        report.require(not paid, f"{tenant.slug}: a free request was charged: {paid[:1]}")
        booked |= bookings.keys()
    report.require(booked == served, f"{owner}: {len(booked)} usage events, {len(served)} answers, not the same")
    rows = installation.query(_USED, [tenant.slug for tenant in tenants])
    used = {row["subject"]: row["used"] for row in rows}
    report.require(list(used.values()) == [QUOTA], f"{owner}: the quota is used {used}")
