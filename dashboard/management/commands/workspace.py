"""manage.py workspace: set workspaces up, look at them, stop them, and override their limits."""

import argparse
from typing import Any

from dashboard.flows import workspaces
from dashboard.management.refusals import password, refusals_as_messages
from lumyx.lib.commands import JsonCommand, Subcommands

#: The largest limit that its column can hold.
LIMIT_MAX = 2**31 - 1
NOT_ENFORCED = (
    "{option} is not enforced by anything yet, so it is refused instead of stored. Enforced are --rpm and --daily."
)


def limit(text: str) -> int:
    """Return a limit from the command line: a whole number, 0 for unlimited."""
    if not text.isascii() or not text.isdigit() or int(text) > LIMIT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 (unlimited) to {LIMIT_MAX}")
    return int(text)


class Command(JsonCommand):
    """Workspaces, for operators."""

    help = "Create, show, suspend and resume workspaces; set their tier and limits."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare create, show, suspend, resume, restore, limits and tier."""
        create = subcommands.add("create", self.create, help="Set up a workspace with its owner: all of it or nothing.")
        create.add_argument("--name", required=True, help="what people call it; the slug is made from it")
        create.add_argument("--owner", required=True, metavar="EMAIL", help="a new owner's address counts as verified")
        create.add_argument(
            "--password", type=password, metavar="P", help="a new owner's password; without it none works yet"
        )
        create.add_argument("--tier", metavar="SLUG", help="the tier to put it on (default: free)")
        create.add_argument("--credits", metavar="USD", help="paid credit to begin with, in US dollars")
        subcommands.add("show", self.show, help="Show a workspace.").add_argument("slug", metavar="SLUG")
        suspend = subcommands.add("suspend", self.suspend, help="Refuse a workspace's keys from now on.")
        suspend.add_argument("slug", metavar="SLUG")
        suspend.add_argument("--reason", default="", help="why, for other operators")
        subcommands.add("resume", self.resume, help="Let a suspended workspace work again.").add_argument(
            "slug", metavar="SLUG"
        )
        subcommands.add("restore", self.restore, help="Take a planned deletion back.").add_argument(
            "slug", metavar="SLUG"
        )
        limits = subcommands.add("limits", self.limits, help="Override the tier's limits; 0 is unlimited.")
        limits.add_argument("slug", metavar="SLUG")
        limits.add_argument("--rpm", type=limit, metavar="N", help="requests per minute")
        limits.add_argument("--daily", type=limit, metavar="N", help="requests to free models per UTC day")
        limits.add_argument("--tpm", metavar="N", help="tokens per minute: not enforced yet, refused")
        limits.add_argument("--concurrency", metavar="N", help="requests at once: not enforced yet, refused")
        limits.add_argument("--inherit", action="store_true", help="clear the override: the tier's limits hold again")
        tier = subcommands.add("tier", self.tier, help="Put a workspace on a tier.")
        tier.add_argument("slug", metavar="SLUG")
        tier.add_argument("tier", metavar="TIER")

    def create(self, *, name: str, owner: str, password: str | None, tier: str | None, credits: str | None) -> None:
        """Set up a workspace and say what it is now."""
        with refusals_as_messages():
            made = workspaces.provision_workspace(
                name, owner_email=owner, password=password, tier=tier, credit_usd=credits
            )
        if not made.owner_has_password:
            email = made.workspace.owner.email
            self.note(f"{email} has no password yet. Set one: manage.py changepassword {email}")
        self._answer_with(made.workspace.slug, f"The workspace {made.workspace.slug} is there.")

    def show(self, *, slug: str) -> None:
        """Say what a workspace is now."""
        with refusals_as_messages():
            seen = workspaces.describe_workspace(slug)
        self.answer(seen, "\n".join(f"{key}: {value}" for key, value in seen.items()))

    def suspend(self, *, slug: str, reason: str) -> None:
        """Stop a workspace."""
        with refusals_as_messages():
            workspaces.suspend(slug, reason=reason)
        self._answer_with(slug, f"{slug} is suspended: its keys are refused.")

    def resume(self, *, slug: str) -> None:
        """Let it work again."""
        with refusals_as_messages():
            workspaces.resume(slug)
        self._answer_with(slug, f"{slug} works again.")

    def restore(self, *, slug: str) -> None:
        """Keep a workspace that was to be deleted."""
        with refusals_as_messages():
            workspaces.restore(slug)
        self._answer_with(slug, f"{slug} is not deleted.")

    def limits(
        self,
        *,
        slug: str,
        rpm: int | None,
        daily: int | None,
        tpm: str | None,
        concurrency: str | None,
        inherit: bool,
    ) -> None:
        """Override limits, or clear the override."""
        for option, value in (("--tpm", tpm), ("--concurrency", concurrency)):
            if value is not None:
                self.fail(NOT_ENFORCED.format(option=option))
        if rpm is None and daily is None and not inherit:
            self.fail("Say what to change: --rpm N, --daily N or --inherit.")
        with refusals_as_messages():
            workspaces.override_limits(slug, rpm=rpm, daily=daily, inherit=inherit)
        self._answer_with(slug, f"{slug} has its limits.")

    def tier(self, *, slug: str, tier: str) -> None:
        """Put it on a tier."""
        with refusals_as_messages():
            workspaces.put_on_tier(slug, tier=tier)
        self._answer_with(slug, f"{slug} is on {tier}.")

    def _answer_with(self, slug: str, text: str) -> None:
        seen: dict[str, Any] = workspaces.describe_workspace(slug)
        limits = ", ".join(f"{name} {value or 'unlimited'}" for name, value in seen["limits"].items())
        self.answer(seen, f"{text} (owner {seen['owner']}, tier {seen['tier']}, {limits})")
