"""``manage.py usage count``, ``audit``, ``margin`` and ``rebuild``: what was recorded, what is left, and whether it agrees."""

import datetime as dt

from accounts.selectors.workspaces import workspace_by_slug
from gateway.selectors.margins import GROUPINGS, Grouping, Margin, margins, total_of
from gateway.selectors.usage_audit import event_count, rollup_differences, unbilled_differences
from gateway.services.rollups import rebuild
from lumyx.lib import clock
from lumyx.lib.commands import JsonCommand, Subcommands
from lumyx.lib.money import format_usd

#: Ten years.
MOST_DAYS = 3660


def _as_json(row: Margin) -> dict[str, object]:
    return {
        "name": row.name,
        "requests": row.requests,
        "without_cost": row.uncosted,
        "charge": str(row.charge),
        "cost": str(row.cost),
        "absorbed": str(row.absorbed),
        "margin": None if row.margin is None else str(row.margin),
        "margin_percent": None if row.percent is None else str(row.percent),
    }


def _as_line(row: Margin) -> str:
    left = "not known" if row.margin is None else format_usd(row.margin, places=4)
    if row.percent is not None:
        left += f" ({row.percent} %)"
    bound = f", {row.uncosted} requests without a known cost" if row.uncosted else ""
    absorbed = f", {format_usd(row.absorbed, places=4)} absorbed" if row.absorbed else ""
    charge, cost = format_usd(row.charge, places=4), format_usd(row.cost, places=4)
    return f"{row.name}: {row.requests} requests, {charge} charged, {cost} cost, margin {left}{absorbed}{bound}."


class Command(JsonCommand):
    """Counts and checks; only ``rebuild`` writes, and only what can be counted again."""

    help = "Look at recorded usage and check it."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare count, audit, margin and rebuild."""
        count = subcommands.add("count", self.count, help="How many requests were recorded, and their charges.")
        count.add_argument("--workspace", metavar="SLUG", help="of one workspace only")
        subcommands.add(
            "audit", self.audit, help="Compare usage with the ledger and with its roll-ups; exit 1 on a difference."
        )
        margin = subcommands.add("margin", self.margin, help="What was charged, what it cost, and what is left.")
        margin.add_argument("--days", type=int, default=30, metavar="N", help="UTC days, today included (default: 30)")
        margin.add_argument("--by", choices=GROUPINGS, default="model", help="what a row is (default: model)")
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

    def margin(self, *, days: int, by: Grouping) -> None:
        """Answer with a row for each model, upstream or workspace, lowest margin first, and their total (nano-USD, strings)."""
        if not 1 <= days <= MOST_DAYS:
            self.fail(f"--days must be from 1 to {MOST_DAYS}.")
        rows = margins(by=by, days=days)
        total = total_of(rows)
        payload = {"days": days, "by": by, "rows": [_as_json(row) for row in rows], "total": _as_json(total)}
        self.answer(payload, "\n".join(_as_line(row) for row in [*rows, total]))

    def rebuild(self) -> None:
        """Answer with the number of events that were counted anew."""
        events = rebuild()
        self.answer({"events": events}, f"{events} requests were counted anew.")
