"""Tests an upstream as it is stored, and asks it for its models, for operators: the command line and the admin call the same."""

import asyncio

from gateway.models import Route, Upstream
from gateway.models.catalog import ModelKind
from gateway.selectors.catalog import upstream_info
from gateway.upstreams import UpstreamFailure
from gateway.upstreams.model_list import ModelList
from gateway.upstreams.probe import Probe, ask_for_models, explained, probe_upstream
from lumyx.lib.crypto import SecretError

UNREADABLE = "Its credential does not open with this LUMYX_ENCRYPTION_KEY. Set it again."


class NoModelListError(Exception):
    """The upstream gave no list of models; the text says why, for operators."""


def models_of(upstream: Upstream) -> ModelList:
    """Ask an upstream for its list of models. Call it outside of an event loop and of a transaction. Raises NoModelListError."""
    try:
        info = upstream_info(upstream)
    except SecretError:
        raise NoModelListError(UNREADABLE) from None
    try:
        return asyncio.run(ask_for_models(info))
    except UpstreamFailure as failure:
        raise NoModelListError(explained(failure)) from None


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
        return Probe(False, None, 0, UNREADABLE)
    return asyncio.run(probe_upstream(info, upstream_model=route.upstream_model if route else ""))
