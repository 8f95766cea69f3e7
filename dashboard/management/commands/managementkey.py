"""manage.py managementkey: make and revoke management keys."""

import datetime as dt

from dashboard.flows import management_keys
from dashboard.management.commands.apikey import moment
from dashboard.management.refusals import refusals_as_messages
from lumyx.lib.commands import JsonCommand, Subcommands


class Command(JsonCommand):
    """Management keys, for operators."""

    help = "Create and revoke management keys."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare create and revoke."""
        create = subcommands.add("create", self.create, help="Make a key. Its secret is shown this once.")
        create.add_argument("--workspace", required=True, metavar="SLUG")
        create.add_argument("--name", required=True)
        create.add_argument("--maker", metavar="EMAIL", help="whose rights bound it: an owner or admin (the owner)")
        create.add_argument("--write", action="store_true", help="it may change things, too")
        create.add_argument("--expires", type=moment, metavar="ISO", help="when it ends, like 2030-01-31T12:00:00Z")
        revoke = subcommands.add("revoke", self.revoke, help="Revoke a key for good; twice is fine.")
        revoke.add_argument("prefix", metavar="PREFIX", help="lm- and 8 characters")

    def create(self, *, workspace: str, name: str, maker: str | None, write: bool, expires: dt.datetime | None) -> None:
        """Make a key and show its secret."""
        with refusals_as_messages():
            new = management_keys.issue_management_key(
                workspace, name=name, maker_email=maker, is_read_only=not write, expires_at=expires
            )
        payload = {
            "secret": new.secret,
            "prefix": new.row.prefix,
            "name": new.row.name,
            "workspace": workspace,
            "maker": new.row.created_by.email if new.row.created_by else None,
            "read_only": new.row.is_read_only,
            "expires_at": new.row.expires_at,
        }
        self.answer(payload, f"{new.secret}\nThis is the only time it is shown. It is called {new.row.prefix}.")

    def revoke(self, *, prefix: str) -> None:
        """Revoke a key."""
        with refusals_as_messages():
            key = management_keys.revoke_by_prefix(prefix)
        payload = {"prefix": key.prefix, "workspace": key.workspace.slug, "revoked_at": key.revoked_at}
        self.answer(payload, f"{key.prefix} of {key.workspace.slug} is revoked.")
