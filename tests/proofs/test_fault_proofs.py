"""The proofs that take things away, or come slowly, or send nonsense: the short version of each, on one installation."""

from collections.abc import Callable, Iterator

import pytest

from proofs.drain import DRAIN, GRACE, end_with_streams
from proofs.fuzz import throw_everything
from proofs.outages import take_services_away
from proofs.site import site
from proofs.slow_clients import SHORT_PATIENCE, try_patience
from proofs.soak import run_for_long
from rig.installation import Installation
from tests.proofs.shorts import assert_books_are_right, assert_proved

#: Name, the proof, and figures that say that it did something.
SHORT = [
    ("fuzz", throw_everything, {"structured": 150, "served": 45, "streams": 10, "damaged": 100, "heads": 150}),
    ("slow-clients", try_patience, {"clients": 40, "others": 50}),
    ("soak", run_for_long, {"requests": 150, "left": 20, "billed": 100}),
    ("outages", take_services_away, {"rounds": 6, "finished": 100, "refused": 10}),
    ("drain", end_with_streams, {"whole": 20, "billed": 22}),
]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Two web processes and all that they need; after everything, the books are in order."""
    settings = {"DRAIN_SECONDS": DRAIN, "GRACE_SECONDS": GRACE, "CLIENT_PATIENCE_SECONDS": SHORT_PATIENCE}
    with site(settings=settings) as made:
        yield made
        assert_books_are_right(made)


@pytest.mark.parametrize(("name", "proof", "least"), SHORT, ids=[name for name, _, _ in SHORT])
def test_the_short_version_is_proved(
    installation: Installation, name: str, proof: Callable[..., None], least: dict[str, int]
) -> None:
    assert_proved(installation, name, proof, least)
