"""What a request sets aside and what it costs then: found out by asking once, so that a proof can make a balance to measure."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from proofs.books import check_closed, wait_until_closed
from proofs.client import ask_once
from proofs.report import Report
from rig.installation import Installation, Tenant

#: With it the bound of the input, which the hold is for, is a little more than the tokens that the mock reports.
PROMPT = "Say hello to everybody who came here to ask for something at the very same moment as you."


@dataclass(frozen=True, slots=True)
class Price:
    """nano-USD."""

    hold: int
    charge: int

    def is_tight_for(self, requests: int) -> bool:
        """Whether what so many requests leave of their holds does not pay for one more."""
        return self.charge > 0 and requests * (self.hold - self.charge) < self.hold


def price_of(installation: Installation, report: Report, request_of: Callable[[Tenant], bytes], *, name: str) -> Price:
    """Ask once on a rich workspace of that name, and read what was set aside and charged."""
    rich = installation.new_tenant(name, credits_usd="1")
    answer = asyncio.run(ask_once(installation.port, request_of(rich)))
    report.require(answer.is_finished, f"the probe was answered {answer.status} {answer.error_code} {answer.ending}")
    wait_until_closed(installation, rich.slug, seconds=30)
    (booking,) = check_closed(installation, report, rich.slug).values()
    return Price(hold=booking.held, charge=booking.charge)


def in_usd(nano: int) -> str:
    """Return nano-USD as commands take them: "0.000647000"."""
    return f"{nano // 10**9}.{nano % 10**9:09d}"
