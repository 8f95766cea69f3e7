"""Reads the books of a workspace in an installation, and waits for what the gateway finishes after its answer."""

import time
from typing import Any

from tests.flows.installation import Installation, Tenant

#: Seconds within which bookkeeping that outlives a request is done.
PATIENCE = 15.0


class Books:
    """What a workspace was charged, and what is left."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def posted(self, tenant: Tenant) -> int:
        """Return the balance in nano-USD."""
        return int(self.installation.manage("ledger", "balance", "--workspace", tenant.slug)["posted"])

    def held(self, tenant: Tenant) -> int:
        """Return what open holds set aside, in nano-USD."""
        return int(self.installation.manage("ledger", "balance", "--workspace", tenant.slug)["held"])

    def counted(self, tenant: Tenant) -> tuple[int, int]:
        """Return the number of usage events and the sum of their charges in nano-USD."""
        answer = self.installation.manage("usage", "count", "--workspace", tenant.slug)
        return answer["events"], int(answer["charge"])

    def events(self, tenant: Tenant) -> list[dict[str, Any]]:
        """Return the usage events of a workspace, oldest first."""
        return self.installation.query(
            "SELECT event.* FROM gateway_usageevent event JOIN accounts_workspace workspace ON workspace.id = event.workspace_id "
            "WHERE workspace.slug = %s ORDER BY event.id",
            tenant.slug,
        )

    def wait_for_events(self, tenant: Tenant, count: int) -> list[dict[str, Any]]:
        """Return the usage events when there are ``count`` of them and no hold is open."""
        deadline = time.monotonic() + PATIENCE
        while True:
            events = self.events(tenant)
            if len(events) >= count and self.held(tenant) == 0:
                assert len(events) == count
                return events
            assert time.monotonic() < deadline, f"{len(events)} of {count} usage events, {self.held(tenant)} held"
            time.sleep(0.05)
