"""What the web processes of an installation keep open: connections to the upstream, PostgreSQL and Valkey, and descriptors."""

import contextlib
from dataclasses import dataclass

import redis

from rig.accounting import count_connections, descriptors
from rig.installation import Installation

_POSTGRES = """
SELECT count(*)::int AS open FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class OpenEnds:
    """Counts over all web processes. ``descriptors`` without those of connections to clients and to the upstream."""

    clients: int
    upstream: int
    postgres: int
    valkey: int
    descriptors: int


def count_open_ends(installation: Installation) -> OpenEnds:
    """Count what is open now; ours, for counting, not included."""
    pids = installation.gateway_pids
    clients = sum(count_connections(pid, here=installation.port) for pid in pids)
    upstream = sum(count_connections(pid, there=installation.upstream_port) for pid in pids)
    with contextlib.closing(redis.Redis.from_url(installation.environment["REDIS_URL"])) as valkey:
        valkey_clients = len(valkey.client_list()) - 1
    return OpenEnds(
        clients=clients,
        upstream=upstream,
        postgres=installation.query(_POSTGRES)[0]["open"],
        valkey=valkey_clients,
        descriptors=sum(len(descriptors(pid)) for pid in pids) - clients - upstream,
    )
