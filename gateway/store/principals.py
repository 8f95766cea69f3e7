"""The cache of principals, by the key's full digest. A cache only saves work: admission asks the database again.

Entries leave when a notification names their key, workspace or user, when the notifications stop, and after a minute at the
latest. Unknown keys are not cached: a key that was just made must work at once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from gateway.types import Principal
from lumyx.lib import clock

MAX_ENTRIES = 50_000
#: Seconds that an entry may live while notifications arrive, and while they do not.
LIFETIME, LIFETIME_WITHOUT_NOTICES = 60.0, 1.0


class PrincipalCache:
    """Holds principals and makes sure that one missing digest is loaded once, however many ask. Loop thread only."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._loading: dict[bytes, asyncio.Future[Principal | None]] = {}
        self._changes = 0
        self.lifetime = LIFETIME_WITHOUT_NOTICES

    def get(self, digest: bytes) -> Principal | None:
        """Return a fresh entry, or None."""
        entry = self._entries.get(digest)
        if entry is None or entry[1] < clock.monotonic():
            return None
        return entry[0]

    async def load(
        self, digest: bytes, read: Callable[[bytes], "asyncio.Future[Principal | None]"]
    ) -> Principal | None:
        """Return the principal from ``read``, shared by all who ask for the same digest now."""
        running = self._loading.get(digest)
        if running is None:
            changes = self._changes
            running = read(digest)
            self._loading[digest] = running

            def keep(done: "asyncio.Future[Principal | None]") -> None:
                self._loading.pop(digest, None)
                # What changed while the row was read may not be in it: then it is used once, not kept.
                if not done.cancelled() and done.exception() is None and self._changes == changes:
                    self._put(digest, done.result())

            running.add_done_callback(keep)
        return await asyncio.shield(running)

    def _put(self, digest: bytes, principal: Principal | None) -> None:
        if principal is None:
            return
        self._entries[digest] = (principal, clock.monotonic() + self.lifetime)
        self._entries.move_to_end(digest)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._changes += 1
        self._entries.clear()

    def drop(self, matches: Callable[[Principal], bool]) -> None:
        """Forget the principals for which ``matches`` is true. A scan: changes are rare, requests are not."""
        self._changes += 1
        for digest in [digest for digest, (principal, _) in self._entries.items() if matches(principal)]:
            del self._entries[digest]
