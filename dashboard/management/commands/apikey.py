"""manage.py apikey: make and revoke API keys."""

import argparse
import datetime as dt

from dashboard.flows import apikeys
from dashboard.management.refusals import refusals_as_messages
from lumyx.lib.commands import JsonCommand, Subcommands

NOT_ENFORCED = (
    "{option} is not enforced by anything yet, so it is refused instead of stored. Enforced are --models and --expires."
)


def moment(text: str) -> dt.datetime:
    """Return a moment in ISO 8601; without a zone it is UTC, without a time it is 00:00."""
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in ISO 8601, like 2030-01-31T12:00:00Z") from error
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=dt.UTC)


def model_list(text: str) -> list[str]:
    """Return the ids in a comma-separated list."""
    models = [part.strip() for part in text.split(",") if part.strip()]
    if not models:
        raise argparse.ArgumentTypeError("the list of models is empty; leave --models out to allow all")
    return models


class Command(JsonCommand):
    """API keys, for operators."""

    help = "Create and revoke API keys."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare create and revoke."""
        create = subcommands.add("create", self.create, help="Make a key. Its secret is shown this once.")
        create.add_argument("--workspace", required=True, metavar="SLUG")
        create.add_argument("--name", required=True)
        create.add_argument("--models", type=model_list, default=[], metavar="a,b", help="the only models it may call")
        create.add_argument("--expires", type=moment, metavar="ISO", help="when it ends, like 2030-01-31T12:00:00Z")
        create.add_argument("--test", action="store_true", help="a test key: it reaches sandbox models only")
        create.add_argument("--budget", metavar="USD", help="money per period: not enforced yet, refused")
        create.add_argument("--period", metavar="day|week|month", help="not enforced yet, refused")
        revoke = subcommands.add("revoke", self.revoke, help="Revoke a key for good; twice is fine.")
        revoke.add_argument("prefix", metavar="PREFIX", help="lx- and 8 characters")

    def create(
        self,
        *,
        workspace: str,
        name: str,
        models: list[str],
        expires: dt.datetime | None,
        test: bool,
        budget: str | None,
        period: str | None,
    ) -> None:
        """Make a key and show its secret."""
        for option, value in (("--budget", budget), ("--period", period)):
            if value is not None:
                self.fail(NOT_ENFORCED.format(option=option))
        with refusals_as_messages():
            new = apikeys.issue_key(workspace, name=name, allowed_models=models, expires_at=expires, is_test=test)
        for missing in apikeys.models_not_in_catalog(new.row.allowed_models):
            self.note(f"The catalog has no model {missing!r} now.")
        payload = {
            "secret": new.secret,
            "prefix": new.row.prefix,
            "name": new.row.name,
            "workspace": workspace,
            "models": new.row.allowed_models,
            "expires_at": new.row.expires_at,
            "test": new.row.is_test,
        }
        self.answer(payload, f"{new.secret}\nThis is the only time it is shown. It is called {new.row.prefix}.")

    def revoke(self, *, prefix: str) -> None:
        """Revoke a key."""
        with refusals_as_messages():
            key = apikeys.revoke_by_prefix(prefix)
        payload = {"prefix": key.prefix, "workspace": key.workspace.slug, "revoked_at": key.revoked_at}
        self.answer(payload, f"{key.prefix} of {key.workspace.slug} is revoked.")
