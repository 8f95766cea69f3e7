"""``manage.py usage count``, ``audit`` and ``rebuild``: what was recorded, and whether it agrees with the books."""

import datetime as dt

from accounts.selectors.workspaces import workspace_by_slug
from gateway.selectors.usage_audit import event_count, rollup_differences, unbilled_differences
from gateway.services.rollups import rebuild
from lumyx.lib import clock
from lumyx.lib.commands import JsonCommand, Subcommands
from lumyx.lib.money import format_usd


class Command(JsonCommand):
    """Counts and checks; only ``rebuild`` writes, and only what can be counted again."""

    help = "Look at recorded usage and check it."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare count and audit."""
        count = subcommands.add("count", self.count, help="How many requests were recorded, and their charges.")
        count.add_argument("--workspace", metavar="SLUG", help="of one workspace only")
        subcommands.add(
            "audit", self.audit, help="Compare usage with the ledger and with its roll-ups; exit 1 on a difference."
        )

        subcommands.add(
            "rebuild", self.rebuild, help="Count all roll-ups anew, after a restore into a new database cluster."
        )

    def count(self, *, workspace: str | None) -> None:
        """Answer with the number of usage events and the sum of their charges, counted one by one."""
        workspace_id = None
        if workspace is not None:
            row = workspace_by_slug(workspace)
            if row is None:
                self.fail(f'There is no workspace "{workspace}".')
            workspace_id = row.pk
        events, charge = event_count(workspace_id)
        self.answer(
            {"events": events, "charge": str(charge)}, f"{events} requests, {format_usd(charge, places=9)} charged."
        )

    def audit(self) -> None:
        """Answer with every difference between events and ledger, and between events and roll-ups of two days."""
        today = clock.now().date()
        broken = unbilled_differences()
        for day in (today - dt.timedelta(days=1), today):
            broken += [{"day": day, **row} for row in rollup_differences(day)]
        lines = [", ".join(f"{key} {value}" for key, value in row.items()) for row in broken]
        self.answer({"broken": broken}, "\n".join(lines) or "Usage agrees with the ledger and with its roll-ups.")
        if broken:
            self.fail(f"{len(broken)} differences in usage.")

    def rebuild(self) -> None:
        """Answer with the number of events that were counted anew."""
        events = rebuild()
        self.answer({"events": events}, f"{events} requests were counted anew.")
