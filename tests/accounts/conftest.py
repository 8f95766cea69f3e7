"""The fixed cast, for tests of the accounts app."""

import pytest

from tests.factories import Cast, make_cast


@pytest.fixture
def cast(db: None) -> Cast:
    """Return Alice, Bob, Charlie and their workspaces."""
    return make_cast()
