"""What clients got against what they were billed: a finished answer once and in full, a refused one not at all."""

from collections.abc import Sequence

from proofs.books import INPUT_RATE, OUTPUT_RATE, Booking, check_closed, wait_until_closed
from proofs.report import Report
from proofs.traffic import Errand, Sent
from rig.answers import COMPLETION_TOKENS, PROMPT_TOKENS
from rig.installation import Installation

#: nano-USD that every answer of the mock costs, but never more than was held for it.
CHARGE = PROMPT_TOKENS * INPUT_RATE + COMPLETION_TOKENS * OUTPUT_RATE
#: Seconds after the last answer in which every hold must be closed.
CLOSED = 90.0

# What requests that are billed to a workspace's owner have used of the free models' daily limit.
_USED = """
SELECT coalesce(sum(used), 0)::int AS used FROM billing_dailyquota WHERE subject IN (
    SELECT DISTINCT quota_subject FROM billing_hold JOIN accounts_workspace workspace ON workspace.id = wallet_id
    WHERE slug = %s AND quota_subject IS NOT NULL)
"""


def check_bills(installation: Installation, report: Report, sent: Sequence[Sent], errands: Sequence[Errand]) -> None:
    """Compare the answers that clients got with the books of their workspaces, whose requests are all over.

    Clients that left are told apart by how their answer ended: theirs may be billed or not, but is closed.
    """
    unbilled, billed_wrongly, charged_for_nothing, billed = [], [], [], 0
    for slug in sorted({one.workspace for one in errands}):
        stuck = wait_until_closed(installation, slug, seconds=CLOSED)
        report.require(not stuck, f"{slug}: {stuck} holds are open {CLOSED:g} s after the last answer")
        bookings = check_closed(installation, report, slug)
        own = [one for one in sent if errands[one.errand].workspace == slug]
        left = {one.request_id for one in own if one.ending == "left"}
        finished = {one.request_id: errands[one.errand] for one in own if one.is_finished}
        report.require(len(finished) == sum(one.is_finished for one in own), f"{slug}: request ids came twice")
        unbilled += [one for one in finished if one not in bookings]
        billed_wrongly += [one for one in finished if one in bookings and not _is_right(bookings[one])]
        # Whoever left before the head of the answer came does not know its id.
        if all(left):
            charged_for_nothing += [
                one for one, it in bookings.items() if it.charge and one not in finished and one not in left
            ]
            _check_quota(
                installation, report, slug, finished=sum(bookings[one].is_free for one in finished if one in bookings)
            )
        billed += len(finished)
    report.require(not unbilled, f"{len(unbilled)} finished answers are in no book, {unbilled[:2]}")
    report.require(
        not billed_wrongly, f"{len(billed_wrongly)} finished answers are not billed in full, {billed_wrongly[:2]}"
    )
    report.require(
        not charged_for_nothing,
        f"{len(charged_for_nothing)} charged requests were finished by nobody, {charged_for_nothing[:2]}",
    )
    report.require(billed > 0, "no answer was finished: nothing was proved")
    report.note(billed=billed)


def _is_right(booking: Booking) -> bool:
    tokens = (PROMPT_TOKENS, COMPLETION_TOKENS)
    charge = 0 if booking.is_free else min(CHARGE, booking.held)
    return (booking.input, booking.output) == tokens and booking.charge == charge and booking.status == "ok"


def _check_quota(installation: Installation, report: Report, slug: str, *, finished: int) -> None:
    """Require the daily limit to have been used by the answers that were finished, and by nothing else."""
    used = installation.query(_USED, slug)[0]["used"]
    report.require(used == finished, f"{slug}: {used} free requests are counted, {finished} were answered")
