"""Tests an upstream as it is stored, for operators: the command line and the admin call the same."""

import asyncio

from gateway.models import Route, Upstream
from gateway.models.catalog import ModelKind
from gateway.selectors.catalog import upstream_info
from gateway.upstreams.probe import Probe, probe_upstream
from lumyx.lib.crypto import SecretError


def check_upstream(name: str) -> Probe:
    """Send an upstream one tiny request: a call of one token on its first route, or the list of its models without one.

    Call it outside of an event loop. Raises Upstream.DoesNotExist.
    """
    row = Upstream.objects.get(name=name)
    route = (
        Route.objects.filter(upstream=row, is_enabled=True, model__kind=ModelKind.CHAT)
        .order_by("priority", "id")
        .first()
    )
    try:
        info = upstream_info(row)
    except SecretError:
        return Probe(False, None, 0, "Its credential does not open with this LUMYX_ENCRYPTION_KEY. Set it again.")
    return asyncio.run(probe_upstream(info, upstream_model=route.upstream_model if route else ""))
