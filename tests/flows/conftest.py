"""One installation and one gateway for all flow tests of a process; each test brings its own workspace."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant, installed


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """A migrated database with the demo catalog. After all that was done to it, every invariant of the ledger holds."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    with installed(number=int(worker)) as made:
        yield made
        assert made.try_manage("ledger", "audit") == (0, {"broken": []})


@pytest.fixture(scope="session")
def gateway(installation: Installation) -> Iterator[Gateway]:
    """A running gateway."""
    started = installation.start_gateway()
    yield started
    started.stop()


@pytest.fixture
def books(installation: Installation) -> Books:
    """What the books say."""
    return Books(installation)


@pytest.fixture
def tenant(installation: Installation) -> Tenant:
    """A fresh workspace with credit for 5 dollars, no limit a minute, and a key."""
    return installation.new_tenant()


@pytest.fixture
def new_tenant(installation: Installation) -> Callable[..., Tenant]:
    """Make more workspaces."""
    return installation.new_tenant
