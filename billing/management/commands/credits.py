"""`manage.py credits`: give workspaces credit."""

import datetime as dt

from django.utils.dateparse import parse_date, parse_datetime

from accounts.models import Workspace
from billing.selectors.ledger import balance_of
from billing.services import ledger
from lumyx.lib import clock
from lumyx.lib.commands import JsonCommand, Subcommands
from lumyx.lib.money import MoneyError, format_usd, usd_to_nano


class Command(JsonCommand):
    """Gives credit, once per source."""

    help = "Give workspaces credit."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare `grant`."""
        grant = subcommands.add("grant", self.grant, help="Give a workspace credit, once per --source.")
        grant.add_argument("--workspace", required=True, metavar="SLUG")
        grant.add_argument("--amount", required=True, metavar="USD", help="US dollars, at most nine decimals: 12.50")
        grant.add_argument("--kind", required=True, choices=["paid", "promo", "vip"])
        grant.add_argument("--expires", metavar="ISO", help="when it expires (UTC without an offset); never without")
        grant.add_argument(
            "--source", required=True, metavar="TEXT", help="what it is for; the same source gives nothing twice"
        )
        grant.add_argument("--note", default="", metavar="TEXT")

    def grant(self, *, workspace: str, amount: str, kind: str, expires: str | None, source: str, note: str) -> None:
        """Grant, and answer with the grant and the balance after it."""
        row = Workspace.objects.filter(slug=workspace).first()
        if row is None:
            self.fail(f"There is no workspace {workspace!r}.")
        if len(source) > 200 or len(note) > 500:
            self.fail("--source has at most 200 characters, --note 500.")
        try:
            nano = usd_to_nano(amount)
            outcome = ledger.grant(
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
