"""`manage.py ledger`: look at the books and check them."""

from accounts.selectors.workspaces import workspace_by_slug
from billing.selectors.ledger import balance_of, broken_invariants, open_holds, verify_wallet
from gateway.selectors.charge_audit import audit_charges
from lumyx.lib.commands import JsonCommand, Subcommands
from lumyx.lib.money import format_usd


class Command(JsonCommand):
    """Reads only."""

    help = "Look at the books and check them."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare `balance`, `audit`, `holds` and `verify`."""
        balance = subcommands.add("balance", self.balance, help="A workspace's balance, in nano-USD with --json.")
        balance.add_argument("--workspace", required=True, metavar="SLUG")
        subcommands.add("audit", self.audit, help="Check every rule of the books; exit 1 if one is broken.")
        holds = subcommands.add("holds", self.holds, help="Open holds and their age.")
        holds.add_argument("--workspace", metavar="SLUG", help="of one workspace only")
        verify = subcommands.add(
            "verify",
            self.verify,
            help="Check one workspace's books and compute all its charges anew; exit 1 if something is wrong.",
        )
        verify.add_argument("--workspace", required=True, metavar="SLUG")

    def balance(self, *, workspace: str) -> None:
        """Answer with posted, held and available."""
        balance = balance_of(self._workspace_id(workspace))
        kinds = {kind: str(amount) for kind, amount in (balance.by_kind or {}).items()}
        payload = {
            "workspace": workspace,
            "posted": str(balance.posted),
            "held": str(balance.held),
            "available": str(balance.available),
            "by_kind": kinds,
            "next_expiry": balance.next_expiry,
            "frozen": balance.frozen,
        }
        words = f"{format_usd(balance.available, places=6)} available: {format_usd(balance.posted, places=6)} posted"
        frozen = ", frozen" if balance.frozen else ""
        self.answer(payload, f"{workspace}: {words}, {format_usd(balance.held, places=6)} held{frozen}.")

    def audit(self) -> None:
        """Answer with the broken invariants of all books."""
        broken = broken_invariants()
        self.answer({"broken": [self._in_strings(row) for row in broken]}, self._in_words(broken, "The books add up."))
        if broken:
            self.fail(f"{len(broken)} broken in the books.")

    def holds(self, *, workspace: str | None) -> None:
        """Answer with open holds, oldest first."""
        rows = open_holds(None if workspace is None else self._workspace_id(workspace))
        payload = [
            {
                "id": str(row.id),
                "workspace": row.workspace_slug,
                "model": row.model,
                "amount": str(row.amount),
                "created_at": row.created_at,
                "expires_at": row.expires_at,
                "age": round(row.age, 3),
                "overdue": row.ttl < 0,
            }
            for row in rows
        ]
        lines = [
            f"{row.id}  {row.workspace_slug}  {row.model}  {format_usd(row.amount, places=6)}  {row.age:.0f} s old"
            f"{', overdue' if row.ttl < 0 else ''}"
            for row in rows
        ]
        self.answer({"holds": payload}, "\n".join(lines) or "No open holds.")

    def verify(self, *, workspace: str) -> None:
        """Answer with how many rows and charges were checked, and which are wrong."""
        workspace_id = self._workspace_id(workspace)
        checked, wrong = verify_wallet(workspace_id)
        charges = audit_charges(workspace_id)
        checked, wrong = checked + charges.checked, wrong + charges.wrong
        if charges.unpriced:
            self.note(f"{charges.unpriced} charges were not computed anew: their price was deleted with its model.")
        payload = {"checked": checked, "wrong": [self._in_strings(row) for row in wrong]}
        self.answer(payload, self._in_words(wrong, f"{checked} rows and charges checked, all right."))
        if wrong:
            self.fail(f"{len(wrong)} wrong in the books of {workspace}.")

    def _workspace_id(self, slug: str) -> int:
        workspace = workspace_by_slug(slug)
        if workspace is None:
            self.fail(f"There is no workspace {slug!r}.")
        return workspace.pk

    def _in_strings(self, row: dict[str, object]) -> dict[str, object]:
        return {**row, "actual": str(row["actual"]), "expected": str(row["expected"])}

    def _in_words(self, broken: list[dict[str, object]], sound: str) -> str:
        lines = [
            f"{row['invariant']}: wallet {row['wallet_id']}, {row['subject']}: is {row['actual']}, should be {row['expected']}"
            for row in broken
        ]
        return "\n".join(lines) or sound
