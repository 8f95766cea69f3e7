"""Keeps what the nightly comparison found."""

from collections.abc import Sequence
from typing import NamedTuple

from billing.models import Reconciliation
from lumyx.lib import clock

#: Of each check at most so many sentences are kept: the log has all of them.
_MOST = 200


class Check(NamedTuple):
    """A check: how many things it looked at, what it put right, and a sentence for each thing that is wrong."""

    name: str
    looked_at: int
    put_right: list[str]
    wrong: list[str]


def begin() -> int:
    """Note that a comparison runs, and return its id."""
    return Reconciliation.objects.create().pk


def finish(run: int, checks: Sequence[Check]) -> bool:
    """Keep what a comparison found, and return whether nothing was wrong."""
    is_clean = not any(check.wrong for check in checks)
    findings = {
        check.name: {
            "looked_at": check.looked_at,
            "put_right": check.put_right[:_MOST],
            "put_right_count": len(check.put_right),
            "wrong": check.wrong[:_MOST],
            "wrong_count": len(check.wrong),
        }
        for check in checks
    }
    Reconciliation.objects.filter(pk=run).update(findings=findings, is_clean=is_clean, finished_at=clock.now())
    return is_clean
