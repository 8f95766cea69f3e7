"""What operators do to a workspace's wallet by hand: adjust it, give credit, freeze it."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from billing.forms import AdjustForm, FreezeForm, GrantForm
from billing.money_pages import MoneyPage
from billing.read_only import dollars
from billing.selectors.ledger import Balance, balance_of
from billing.services import by_hand, ledger


def _standing(balance: Balance) -> list[tuple[str, object]]:
    """Return a balance in words."""
    debt = -(balance.by_kind or {}).get("overdraft", 0)
    return [
        ("Available now", dollars(balance.available)),
        *([("Set aside for requests that run", dollars(balance.held))] if balance.held else []),
        *([("Debt", dollars(debt))] if debt else []),
        *([("Frozen", "yes: no paid request is let in")] if balance.frozen else []),
    ]


class AdjustPage(MoneyPage):
    """Correct a balance, up or down."""

    name, title, button = "adjust", "Adjust the balance", "Adjust the balance"
    permission = "billing.add_adjustment"
    form = AdjustForm
    about = "A correction is a new line in the books; nothing that is there changes. To give a gift, grant credit."

    def facts(self, row: Any) -> list[tuple[str, object]]:
        """Return what the wallet has."""
        return _standing(balance_of(row.pk))

    def review(self, row: Any, values: Mapping[str, Any]) -> tuple[list[tuple[str, object]], str]:
        """Return the balance before and after."""
        balance, amount = balance_of(row.pk), values["amount"]
        missing = -amount - max(0, balance.available)
        if missing > 0 and not values["may_owe"]:
            raise ledger.InsufficientCreditError(
                f"Only {dollars(max(0, balance.available))} can be taken: the rest is spent, or set aside for requests that"
                " run. Take less, or allow a debt."
            )
        facts = [
            *_standing(balance),
            ("Change", f"{'+' if amount > 0 else ''}{dollars(amount)}"),
            ("Available after", dollars(balance.available + amount)),
            ("Reason", values["reason"]),
            *([("The workspace sees", values["note"])] if values["note"] and amount > 0 else []),
        ]
        warning = f"{dollars(missing)} of it is not free: the wallet will owe it." if missing > 0 else ""
        return facts, warning

    def do(self, request: HttpRequest, row: Any, values: Mapping[str, Any]) -> tuple[str, str]:
        """Adjust, once a form."""
        amount = values["amount"]
        outcome = by_hand.adjust(
            workspace_id=row.pk,
            amount=amount,
            reason=values["reason"],
            note=values["note"],
            actor_id=request.user.pk,
            source=f"admin:{values['form_id']}",
            may_owe=values["may_owe"],
        )
        if not outcome.applied:
            return "", "This form was sent before: the balance was adjusted then, and not again."
        by = f"{'+' if amount > 0 else ''}{dollars(amount)}"
        after = dollars(balance_of(row.pk).available)
        owes = f" {dollars(outcome.owed)} of it is a debt now." if outcome.owed else ""
        repaid = f" {dollars(outcome.repaid)} of it repaid a debt." if outcome.repaid else ""
        return (
            f"Adjusted by {by}: {values['reason']}",
            f"The balance was adjusted by {by}; {after} is available.{owes}{repaid}",
        )


class GrantPage(MoneyPage):
    """Give credit."""

    name, title, button = "grant", "Grant credit", "Grant the credit"
    permission = "billing.add_creditgrant"
    form = GrantForm

    def facts(self, row: Any) -> list[tuple[str, object]]:
        """Return what the wallet has."""
        return _standing(balance_of(row.pk))

    def review(self, row: Any, values: Mapping[str, Any]) -> tuple[list[tuple[str, object]], str]:
        """Return what is given, and what it will repay."""
        balance = balance_of(row.pk)
        debt = -(balance.by_kind or {}).get("overdraft", 0)
        expires_at = values["expires_on"]
        facts = [
            *_standing(balance),
            ("Grant", f"{dollars(values['amount'])} of {values['kind']} credit"),
            ("Expires", f"{expires_at:%-d %B %Y, %H:%M} UTC" if expires_at else "never"),
            ("Available after", dollars(balance.available + values["amount"])),
            *([("The workspace sees", values["note"])] if values["note"] else []),
        ]
        repays = min(debt, values["amount"])
        return facts, f"{dollars(repays)} of it repays the wallet's debt first." if repays else ""

    def do(self, request: HttpRequest, row: Any, values: Mapping[str, Any]) -> tuple[str, str]:
        """Grant, once a form."""
        outcome = by_hand.grant(
            workspace_id=row.pk,
            kind=values["kind"],
            amount=values["amount"],
            source=f"admin:{values['form_id']}",
            expires_at=values["expires_on"],
            note=values["note"],
        )
        if not outcome.created:
            return "", "This form was sent before: the credit was granted then, and not again."
        what = f"{dollars(values['amount'])} of {values['kind']} credit"
        until = f" until {values['expires_on']:%-d %B %Y}" if values["expires_on"] else ""
        note = f": {values['note']}" if values["note"] else ""
        after = dollars(balance_of(row.pk).available)
        return f"Granted {what}{until}{note}", f"{what} was granted; {after} is available."


class _FreezingPage(MoneyPage):
    """Stop a wallet, or let it go on."""

    permission = "billing.change_wallet"
    form = FreezeForm
    freezes = True

    def facts(self, row: Any) -> list[tuple[str, object]]:
        """Return what the wallet has."""
        return _standing(balance_of(row.pk))

    def review(self, row: Any, values: Mapping[str, Any]) -> tuple[list[tuple[str, object]], str]:
        """Return the reason once more."""
        return [*_standing(balance_of(row.pk)), ("Reason", values["reason"])], ""

    def do(self, request: HttpRequest, row: Any, values: Mapping[str, Any]) -> tuple[str, str]:
        """Freeze or unfreeze."""
        done = "frozen" if self.freezes else "unfrozen"
        if balance_of(row.pk).frozen == self.freezes:
            return "", f"The wallet is {done} already."
        by_hand.set_frozen(workspace_id=row.pk, frozen=self.freezes)
        return f"{done.capitalize()}: {values['reason']}", f"The wallet is {done}."


class FreezePage(_FreezingPage):
    """Stop a wallet."""

    name, title, button = "freeze", "Freeze", "Freeze the wallet"
    about = "Requests to paid models are refused until the wallet is unfrozen; those that run end as they would. Free models go on."

    def refusal(self, row: Any) -> str:
        """Return that it is frozen."""
        return "The wallet is frozen already." if row.frozen else ""


class UnfreezePage(_FreezingPage):
    """Let a wallet go on."""

    name, title, button = "unfreeze", "Unfreeze", "Unfreeze the wallet"
    about = "A wallet is frozen by an operator, or by a dispute that is open or lost: see its payments before you let it go on."
    freezes = False

    def refusal(self, row: Any) -> str:
        """Return that it is not frozen."""
        return "" if row.frozen else "The wallet is not frozen."
