"""`manage.py stripe`: what Stripe needs to sell tiers, events applied again, and the comparison with the books."""

import datetime as dt

from billing.payments import inbox, sync
from billing.payments.errors import PaymentsError
from billing.payments.reconcile import compare_with_stripe
from lumyx.lib import clock
from lumyx.lib.commands import JsonCommand, Subcommands

#: Events may be asked for anew at Stripe for so long; older payments are found all the same.
_MOST_DAYS = 3650


class Command(JsonCommand):
    """Payments' side of an installation with Stripe keys. Everything here can be run twice."""

    help = "Set Stripe up, apply its events again, and compare it with the books."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare sync, replay and reconcile."""
        subcommands.add(
            "sync",
            self.sync,
            help="Make what is missing: products, prices (by lookup key), the portal's configuration.",
        )
        replay = subcommands.add(
            "replay", self.replay, help="Apply an event of the inbox again, or fetch it from Stripe."
        )
        replay.add_argument("event", metavar="EVENT", help="evt_…")
        reconcile = subcommands.add(
            "reconcile",
            self.reconcile,
            help="Bring in what Stripe has and the books do not; exit 1 if something is wrong.",
        )
        reconcile.add_argument(
            "--days",
            type=int,
            default=2,
            metavar="N",
            help="how far back to look; after an outage, its length (default 2)",
        )

    def sync(self) -> None:
        """Answer with everything that is at Stripe now, and whether it was made just now."""
        try:
            done = sync.sync()
        except PaymentsError as error:
            self.fail(str(error))
        rows = [{"what": each.what, "id": each.stripe_id, "created": each.is_new} for each in done]
        lines = [f"{'made' if each.is_new else 'there'}  {each.what}  {each.stripe_id}" for each in done]
        self.answer({"objects": rows}, "\n".join(lines))

    def replay(self, *, event: str) -> None:
        """Answer with what became of the event; exit 1 unless it is done or needs nothing."""
        try:
            inbox.fetch(event)
            row = inbox.retry(event)
        except PaymentsError as error:
            self.fail(str(error))
        if row.state not in {"done", "ignored"}:
            self.fail(f"{event} ({row.type}) was not applied: {row.error}")
        why = f": {row.error}" if row.error else ""
        self.answer(
            {"event": event, "type": row.type, "state": row.state}, f"{event} ({row.type}) is {row.state}{why}."
        )

    def reconcile(self, *, days: int) -> None:
        """Answer with each check: how much it looked at, what it put right, what is wrong."""
        if not 1 <= days <= _MOST_DAYS:
            self.fail(f"--days is from 1 to {_MOST_DAYS}.")
        try:
            found = compare_with_stripe(clock.now() - dt.timedelta(days=days))
        except PaymentsError as error:
            self.fail(str(error))
        rows = [
            {"check": each.name, "looked_at": each.looked_at, "put_right": each.put_right, "wrong": each.wrong}
            for each in found
        ]
        lines = []
        for each in found:
            lines.append(
                f"{each.name}: {each.looked_at} looked at, {len(each.put_right)} put right, {len(each.wrong)} wrong"
            )
            lines += [f"  put right: {text}" for text in each.put_right] + [f"  wrong: {text}" for text in each.wrong]
        self.answer({"checks": rows, "ok": not any(each.wrong for each in found)}, "\n".join(lines))
        wrong = sum(len(each.wrong) for each in found)
        if wrong:
            self.fail(f"{wrong} wrong: an operator has to look at them.")
