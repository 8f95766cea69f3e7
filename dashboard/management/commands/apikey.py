"""manage.py apikey: make, list, rotate, switch off and revoke API keys."""

import argparse
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from accounts.budgets import Budget, BudgetPeriod
from billing.selectors.budgets import budgets_of_keys
from dashboard.flows import apikeys
from dashboard.management.refusals import refusals_as_messages
from gateway.protocols.key_view import budget_view
from lumyx.lib.commands import JsonCommand, Subcommands
from lumyx.lib.money import MoneyError, nano_to_usd, usd_to_nano

if TYPE_CHECKING:
    from accounts.models import ApiKey

#: The last letter of a length of time, and what it stands for.
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
ONCE = "This is the only time it is shown. It is called {}."
PREFIX = "lx- (of a test key lx-test-) and 8 characters"


def moment(text: str) -> dt.datetime:
    """Return a moment in ISO 8601; without a zone it is UTC, without a time it is 00:00."""
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in ISO 8601, like 2030-01-31T12:00:00Z") from error
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=dt.UTC)


def model_list(text: str) -> list[str]:
    """Return the ids in a comma-separated list."""
    return _parts(text, "the list of models is empty; leave --models out to allow all")


def address_list(text: str) -> list[str]:
    """Return the networks in a comma-separated list."""
    return _parts(text, "the list of addresses is empty; leave --addresses out to allow all")


def _parts(text: str, empty: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise argparse.ArgumentTypeError(empty)
    return parts


def length_of_time(text: str) -> dt.timedelta:
    """Return "0", "30m", "24h" or "7d" as a length of time."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if text == "0":
        return dt.timedelta()
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time, like 30m, 24h, 7d or 0")
    return dt.timedelta(**{UNITS[found[2]]: int(found[1])})


def dollars(text: str) -> int:
    """Return US dollars as nano-USD."""
    try:
        return usd_to_nano(text)
    except MoneyError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class Command(JsonCommand):
    """API keys, for operators."""

    help = "Create, list, rotate, switch off and revoke API keys."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare the subcommands."""
        create = subcommands.add("create", self.create, help="Make a key. Its secret is shown this once.")
        create.add_argument("--workspace", required=True, metavar="SLUG")
        create.add_argument("--name", required=True)
        create.add_argument(
            "--models",
            type=model_list,
            default=[],
            metavar="a,b",
            help="the only models it may call; provider/* is all of one",
        )
        create.add_argument(
            "--addresses", type=address_list, default=[], metavar="CIDR,…", help="the only networks it may be used from"
        )
        create.add_argument("--rpm", type=int, default=0, metavar="N", help="requests a minute of its own; 0: none")
        create.add_argument("--expires", type=moment, metavar="ISO", help="when it ends, like 2030-01-31T12:00:00Z")
        create.add_argument("--test", action="store_true", help="a test key: it reaches sandbox models only")
        create.add_argument("--budget", type=dollars, metavar="USD", help="what it may spend in each period")
        create.add_argument(
            "--period",
            choices=[period.value for period in BudgetPeriod],
            help="of the budget; periods are UTC, weeks ISO",
        )
        listing = subcommands.add("list", self.list, help="List a workspace's keys, newest first.")
        listing.add_argument("--workspace", required=True, metavar="SLUG")
        rotate = subcommands.add("rotate", self.rotate, help="Give a key a new secret, which is shown this once.")
        rotate.add_argument("prefix", metavar="PREFIX", help=PREFIX)
        rotate.add_argument(
            "--overlap",
            type=length_of_time,
            default=dt.timedelta(),
            metavar="TIME",
            help="how long the old secret works on, up to 30d",
        )
        for name, run, what in (
            ("revoke", self.revoke, "Revoke a key for good; twice is fine."),
            ("disable", self.disable, "Switch a key off until it is enabled; twice is fine."),
            ("enable", self.enable, "Switch a key on again; twice is fine."),
        ):
            subcommands.add(name, run, help=what).add_argument("prefix", metavar="PREFIX", help=PREFIX)

    def create(
        self,
        *,
        workspace: str,
        name: str,
        models: list[str],
        addresses: list[str],
        rpm: int,
        expires: dt.datetime | None,
        test: bool,
        budget: int | None,
        period: str | None,
    ) -> None:
        """Make a key and show its secret."""
        if (budget is None) != (period is None):
            self.fail("A budget has an amount and a period: give --budget and --period together.")
        with refusals_as_messages():
            new = apikeys.issue_key(
                workspace,
                name=name,
                allowed_models=models,
                allowed_addresses=addresses,
                requests_per_minute=rpm,
                budget=Budget(budget, BudgetPeriod(period)) if budget is not None and period is not None else None,
                expires_at=expires,
                is_test=test,
            )
        for missing in apikeys.models_not_in_catalog(new.row.allowed_models):
            self.note(f"The catalog has no model {missing!r} now.")
        payload = {"secret": new.secret, "workspace": workspace, **_facts(new.row)}
        self.answer(payload, f"{new.secret}\n{ONCE.format(new.row.prefix)}")

    def list(self, *, workspace: str) -> None:
        """Show a workspace's keys."""
        with refusals_as_messages():
            keys = apikeys.keys_of(workspace)
        budgets = budgets_of_keys([key.pk for key in keys])
        rows = []
        for key in keys:
            left = {budget.kind: budget_view(budget) for budget in budgets.get(key.pk, [])}
            rows.append({**_facts(key), "budget_left": left.get("key"), "member_budget": left.get("member")})
        lines = [f"{key.prefix}  {key.state:9} {key.name}" for key in keys]
        self.answer({"workspace": workspace, "keys": rows}, "\n".join(lines) or "There are no keys.")

    def rotate(self, *, prefix: str, overlap: dt.timedelta) -> None:
        """Give a key a new secret, and show it."""
        with refusals_as_messages():
            new = apikeys.rotate_by_prefix(prefix, overlap=overlap)
        payload = {
            "secret": new.secret,
            "workspace": new.row.workspace.slug,
            **_facts(new.row),
            "old_prefix": new.row.previous_prefix,
            "old_secret_ends_at": new.row.previous_ends_at,
        }
        self.answer(payload, f"{new.secret}\n{ONCE.format(new.row.prefix)} The old secret works {_until(new.row)}.")

    def revoke(self, *, prefix: str) -> None:
        """Revoke a key."""
        with refusals_as_messages():
            key = apikeys.revoke_by_prefix(prefix)
        payload = {"prefix": key.prefix, "workspace": key.workspace.slug, "revoked_at": key.revoked_at}
        self.answer(payload, f"{key.prefix} of {key.workspace.slug} is revoked.")

    def disable(self, *, prefix: str) -> None:
        """Switch a key off."""
        self._switch(prefix, on=False)

    def enable(self, *, prefix: str) -> None:
        """Switch a key on."""
        self._switch(prefix, on=True)

    def _switch(self, prefix: str, *, on: bool) -> None:
        with refusals_as_messages():
            key = apikeys.switch_by_prefix(prefix, on=on)
        payload = {
            "prefix": key.prefix,
            "workspace": key.workspace.slug,
            "state": key.state,
            "disabled_at": key.disabled_at,
        }
        self.answer(payload, f"{key.prefix} of {key.workspace.slug} is {'on' if on else 'off'}: {key.state}.")


def _facts(key: "ApiKey") -> dict[str, Any]:
    """Return what operators see of a key."""
    return {
        "prefix": key.prefix,
        "name": key.name,
        "state": key.state,
        "test": key.is_test,
        "models": key.allowed_models,
        "addresses": key.allowed_addresses,
        "requests_per_minute": key.requests_per_minute,
        "budget": None if key.budget_nano is None else nano_to_usd(key.budget_nano),
        "period": key.budget_period or None,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
    }


def _until(key: "ApiKey") -> str:
    ends_at = key.overlap_ends_at
    return "no more" if ends_at is None else f"until {ends_at:%Y-%m-%d %H:%M} UTC"
