"""manage.py operator: make the people who run the installation, and help those who lost their second factor."""

from accounts.services.second_factors import reset_second_factors
from accounts.services.users import create_user
from dashboard.management.refusals import password, refusals_as_messages
from lumyx.lib.commands import JsonCommand, Subcommands


class Command(JsonCommand):
    """Operators: staff superusers, for the admin."""

    help = "Create operators: staff superusers, who may do everything in the admin."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare create and reset-second-factor."""
        create = subcommands.add("create", self.create, help="Make an operator.")
        create.add_argument("email", metavar="EMAIL")
        create.add_argument("--password", type=password, metavar="P", help="without it none works until one is set")
        reset = subcommands.add(
            "reset-second-factor",
            self.reset_second_factor,
            help="Remove somebody's authenticator app, passkeys and recovery codes, and end their sessions.",
        )
        reset.add_argument("email", metavar="EMAIL", help="an operator's, or anybody's: make sure who asks for it")

    def create(self, *, email: str, password: str | None) -> None:
        """Make a staff superuser. An existing user is never promoted: their address may not be proved."""
        with refusals_as_messages():
            user = create_user(email, password=password, verified=True, is_operator=True)
        if not user.has_usable_password():
            self.note(f"{user.email} has no password yet. Set one: manage.py changepassword {user.email}")
        payload = {"email": user.email, "is_superuser": True, "has_password": user.has_usable_password()}
        self.answer(payload, f"{user.email} is an operator. The admin is at /admin/.")

    def reset_second_factor(self, *, email: str) -> None:
        """Let somebody in by their password again; an operator is led to set a new factor up at their next visit to the admin."""
        with refusals_as_messages():
            done = reset_second_factors(email)
        payload = {
            "email": done.user.email,
            "apps": done.apps,
            "passkeys": done.passkeys,
            "recovery_codes": done.recovery_codes,
            "sessions_ended": done.sessions,
        }
        if not done.apps and not done.passkeys:
            self.note(f"{done.user.email} had no second factor.")
        self.answer(payload, f"{done.user.email} signs in without a second factor until they set up a new one.")
