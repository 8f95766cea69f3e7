"""Fixtures for tests of the upstreams: a fake one on loopback, and the client that calls it."""

from collections.abc import AsyncIterator

import pytest

from gateway.upstreams import UpstreamClient
from tests.fakes.upstream import FakeUpstream


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    """A scriptable upstream."""
    async with FakeUpstream() as fake:
        yield fake


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    """An open client."""
    async with UpstreamClient() as client:
        yield client
