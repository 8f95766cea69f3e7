"""Taking PostgreSQL or Valkey away from a running installation, and watching what each web process says meanwhile."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import redis

from lumyx.devservices import Postgres, Valkey
from proofs.doors import Door, ask_all
from proofs.site import WHOLE
from rig import processes
from rig.installation import Installation, Tenant

#: Seconds after which a process must have noticed that PostgreSQL is away, and in which it must be well after its return.
NOTICED, RECOVERED = 0.3, 15.0
#: Seconds in which the processes must count paces together again after Valkey's return.
COUNTED = 5.0

type Role = Literal["postgres", "valkey"]


@dataclass(slots=True)
class Round:
    """One fault. Monotonic seconds; ``recovered``: when every web process was ready and had answered."""

    fault: str
    away: float
    back: float
    recovered: float = float("inf")
    #: What /readyz and /healthz said while the service was away.
    readiness: Counter[int] = field(default_factory=Counter)
    health: Counter[int] = field(default_factory=Counter)

    @property
    def is_postgres(self) -> bool:
        """Whether requests may be refused."""
        return self.fault.startswith("postgres")

    @property
    def seconds(self) -> float:
        """How long the service was away."""
        return self.back - self.away

    def excuses(self, at: float, seconds: float) -> bool:
        """Tell whether a request that was sent at ``at`` and took ``seconds`` may have been refused because of this."""
        return self.is_postgres and at <= self.recovered and at + seconds >= self.away


class Watch:
    """Asks each web process by itself, with a key of its own."""

    def __init__(self, installation: Installation, probe: Tenant) -> None:
        self.installation = installation
        self._probe = probe
        self._doors = [Door(installation, pid) for pid in installation.gateway_pids]

    def look(self, seconds: float) -> tuple[Counter[int], Counter[int]]:
        """Ask every process for its readiness and its health, again and again for so long; return the statuses."""
        readiness, health, until = Counter[int](), Counter[int](), time.monotonic() + seconds
        time.sleep(min(NOTICED, seconds))
        while time.monotonic() < until:
            readiness.update(ask_all(self._doors, "/readyz"))
            health.update(ask_all(self._doors, "/healthz"))
            time.sleep(0.1)
        return readiness, health

    def wait_until_well(self) -> float:
        """Return when every process is ready and has answered; infinity when one does not get there in time."""
        deadline = time.monotonic() + RECOVERED
        for door in self._doors:
            while door.get("/readyz") != 200 or door.chat(WHOLE, key=self._probe.key) != 200:
                if time.monotonic() > deadline:
                    return float("inf")
                time.sleep(0.05)
        return time.monotonic()

    def paces_are_counted(self) -> bool:
        """Tell whether the web processes count requests a minute in Valkey; there must be traffic."""
        with redis.Redis.from_url(self.installation.valkey.url) as valkey:
            before, deadline = _paces(valkey), time.monotonic() + COUNTED
            while time.monotonic() < deadline:
                time.sleep(0.2)
                now = _paces(valkey)
                if now > before:
                    return True
                before = now
        return False

    def close(self) -> None:
        """Close the connections."""
        for door in self._doors:
            door.close()


def _paces(valkey: redis.Redis) -> int:
    keys = list(valkey.scan_iter("lumyx:rpm:*"))
    return sum(int(count) for count in valkey.mget(keys) if count) if keys else 0


def _service(watch: Watch, role: Role) -> Postgres | Valkey:
    return watch.installation.postgres if role == "postgres" else watch.installation.valkey


def pause(watch: Watch, role: Role, seconds: float) -> Round:
    """Stop a service where it stands: connections stay open and silent."""
    service, away = _service(watch, role), time.monotonic()
    processes.pause(service)
    try:
        readiness, health = watch.look(seconds)
    finally:
        processes.resume(service)
    return Round(f"{role} paused", away, time.monotonic(), readiness=readiness, health=health)


def kill(watch: Watch, role: Role, seconds: float) -> Round:
    """kill -9 the whole service, and start it again after so long."""
    service, away = _service(watch, role), time.monotonic()
    processes.kill(service)
    try:
        readiness, health = watch.look(seconds)
    finally:
        service.start()
    return Round(f"{role} killed", away, time.monotonic(), readiness=readiness, health=health)


def restart(watch: Watch, role: Role, _seconds: float) -> Round:
    """Restart a service as an operator does."""
    service, away = _service(watch, role), time.monotonic()
    service.stop()
    service.start()
    return Round(f"{role} restarted", away, time.monotonic())


def flush(watch: Watch, role: Role, _seconds: float) -> Round:
    """Empty Valkey."""
    away = time.monotonic()
    with redis.Redis.from_url(watch.installation.valkey.url) as valkey:
        valkey.flushall()
    return Round(f"{role} flushed", away, time.monotonic())


#: Every fault: what happens, and to whom.
FAULTS: Mapping[str, tuple[Callable[[Watch, Role, float], Round], Role]] = {
    "postgres paused": (pause, "postgres"),
    "postgres killed": (kill, "postgres"),
    "postgres restarted": (restart, "postgres"),
    "valkey paused": (pause, "valkey"),
    "valkey killed": (kill, "valkey"),
    "valkey flushed": (flush, "valkey"),
}
