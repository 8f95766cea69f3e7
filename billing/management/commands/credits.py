"""`manage.py credits`: give workspaces credit, and correct their balances."""

import datetime as dt

from django.utils.dateparse import parse_date, parse_datetime

from accounts.models import Workspace
from billing.selectors.ledger import balance_of
from billing.services import by_hand, ledger
from lumyx.lib import clock
from lumyx.lib.commands import JsonCommand, Subcommands
from lumyx.lib.ids import uuid7
from lumyx.lib.money import MoneyError, format_usd, usd_to_nano


class Command(JsonCommand):
    """Gives credit and corrects balances, once per source."""

    help = "Give workspaces credit, and correct their balances."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare `grant` and `adjust`."""
        grant = subcommands.add("grant", self.grant, help="Give a workspace credit, once per --source.")
        grant.add_argument("--workspace", required=True, metavar="SLUG")
        grant.add_argument("--amount", required=True, metavar="USD", help="US dollars, at most nine decimals: 12.50")
        grant.add_argument("--kind", required=True, choices=["paid", "promo", "vip"])
        grant.add_argument("--expires", metavar="ISO", help="when it expires (UTC without an offset); never without")
        grant.add_argument(
            "--source", required=True, metavar="TEXT", help="what it is for; the same source gives nothing twice"
        )
        grant.add_argument("--note", default="", metavar="TEXT")
        adjust = subcommands.add(
            "adjust", self.adjust, help="Correct a workspace's balance by a signed amount, once per --source."
        )
        adjust.add_argument("--workspace", required=True, metavar="SLUG")
        adjust.add_argument("--amount", required=True, metavar="USD", help="5 gives paid credit; -5 takes credit off")
        adjust.add_argument(
            "--reason", required=True, metavar="TEXT", help="for operators; the workspace does not see it"
        )
        adjust.add_argument(
            "--source",
            metavar="TEXT",
            help="the same source adjusts nothing twice; without it, this run is one of its own",
        )
        adjust.add_argument(
            "--note", default="", metavar="TEXT", help="what the workspace sees beside credit it is given"
        )
        adjust.add_argument("--allow-debt", action="store_true", help="take it even where it is spent or set aside")

    def grant(self, *, workspace: str, amount: str, kind: str, expires: str | None, source: str, note: str) -> None:
        """Grant, and answer with the grant and the balance after it."""
        row = self._workspace(workspace)
        if len(source) > 200 or len(note) > 500:
            self.fail("--source has at most 200 characters, --note 500.")
        try:
            nano = usd_to_nano(amount)
            outcome = by_hand.grant(
                workspace_id=row.pk, kind=kind, amount=nano, source=source, expires_at=self._expiry(expires), note=note
            )
        except (MoneyError, ValueError, ledger.LedgerError) as error:
            self.fail(str(error))
        balance = balance_of(row.pk)
        payload = {
            "workspace": workspace,
            "grant": outcome.grant_id,
            "created": outcome.created,
            "kind": kind,
            "amount": str(nano),
            "source": source,
            "repaid": str(outcome.repaid),
            "posted": str(balance.posted),
            "held": str(balance.held),
            "available": str(balance.available),
        }
        done = f"{format_usd(nano)} {kind} given to" if outcome.created else f"{source!r} was granted before to"
        self.answer(payload, f"{done} {workspace}; it has {format_usd(balance.available)} available.")

    def adjust(
        self, *, workspace: str, amount: str, reason: str, source: str | None, note: str, allow_debt: bool
    ) -> None:
        """Adjust, and answer with what that did and the balance after it."""
        row = self._workspace(workspace)
        source = source or f"cli:{uuid7()}"
        try:
            nano = usd_to_nano(amount)
            outcome = by_hand.adjust(
                workspace_id=row.pk,
                amount=nano,
                reason=reason,
                actor_id=None,
                source=source,
                note=note,
                may_owe=allow_debt,
            )
        except (MoneyError, ValueError, ledger.LedgerError) as error:
            self.fail(str(error))
        balance = balance_of(row.pk)
        payload = {
            "workspace": workspace,
            "applied": outcome.applied,
            "amount": str(nano),
            "source": source,
            "repaid": str(outcome.repaid),
            "taken": str(outcome.taken),
            "owed": str(outcome.owed),
            "posted": str(balance.posted),
            "held": str(balance.held),
            "available": str(balance.available),
        }
        done = (
            f"Adjusted {workspace} by {format_usd(nano)}"
            if outcome.applied
            else f"{source!r} adjusted {workspace} before"
        )
        self.answer(payload, f"{done}; it has {format_usd(balance.available)} available.")

    def _workspace(self, slug: str) -> Workspace:
        row = Workspace.objects.filter(slug=slug).first()
        if row is None:
            self.fail(f"There is no workspace {slug!r}.")
        return row

    def _expiry(self, text: str | None) -> dt.datetime | None:
        if text is None:
            return None
        try:
            parsed: dt.datetime | dt.date | None = parse_datetime(text) or parse_date(text)
        except ValueError:
            parsed = None
        if parsed is None:
            self.fail(f"--expires {text!r} is not an ISO date or time, like 2027-01-31 or 2027-01-31T12:00:00Z.")
        if not isinstance(parsed, dt.datetime):
            parsed = dt.datetime.combine(parsed, dt.time())
        expiry = parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)
        if expiry <= clock.now():
            self.fail(f"--expires {text!r} is in the past.")
        return expiry
