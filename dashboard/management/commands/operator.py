"""manage.py operator: make the people who run the installation."""

from accounts.services.users import create_user
from dashboard.management.refusals import password, refusals_as_messages
from lumyx.lib.commands import JsonCommand, Subcommands


class Command(JsonCommand):
    """Operators: staff superusers, for the admin."""

    help = "Create operators: staff superusers, who may do everything in the admin."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare create."""
        create = subcommands.add("create", self.create, help="Make an operator.")
        create.add_argument("email", metavar="EMAIL")
        create.add_argument("--password", type=password, metavar="P", help="without it none works until one is set")

    def create(self, *, email: str, password: str | None) -> None:
        """Make a staff superuser. An existing user is never promoted: their address may not be proved."""
        with refusals_as_messages():
            user = create_user(email, password=password, verified=True, is_operator=True)
        if not user.has_usable_password():
            self.note(f"{user.email} has no password yet. Set one: manage.py changepassword {user.email}")
        payload = {"email": user.email, "is_superuser": True, "has_password": user.has_usable_password()}
        self.answer(payload, f"{user.email} is an operator. The admin is at /admin/.")
