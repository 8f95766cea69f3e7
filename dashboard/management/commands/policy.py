"""manage.py policy: accept a policy on a workspace's behalf."""

from accounts.services.policies import accept_policy
from dashboard.flows.workspaces import workspace_named
from dashboard.management.refusals import refusals_as_messages
from lumyx.lib.commands import JsonCommand, Subcommands


class Command(JsonCommand):
    """Policies, for operators."""

    help = "Accept policies for workspaces."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare accept."""
        accept = subcommands.add("accept", self.accept, help="Record that a workspace accepts a policy; twice is fine.")
        accept.add_argument("--workspace", required=True, metavar="SLUG")
        accept.add_argument("--policy", required=True, metavar="NAME", help='for example "uncensored"')

    def accept(self, *, workspace: str, policy: str) -> None:
        """Record the acceptance of the policy's current version."""
        with refusals_as_messages():
            row = accept_policy(workspace_named(workspace).pk, policy=policy, accepted_by="operator")
        payload = {"workspace": workspace, "policy": row.policy, "version": row.version, "accepted_at": row.accepted_at}
        self.answer(payload, f"{workspace} accepts {row.policy}, version {row.version}.")
