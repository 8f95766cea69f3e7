"""The proofs that work over HTTP and read the books: the short version of each, on one installation."""

from collections.abc import Callable, Iterator

import pytest

from proofs.balance_race import race_for_balance
from proofs.cancelled import cancel_many
from proofs.disconnects import leave_at_random
from proofs.kill import kill_web_processes
from proofs.quota_race import race_for_quota
from proofs.site import site
from proofs.top_up_race import race_for_top_ups
from rig.installation import Installation
from tests.proofs.shorts import assert_books_are_right, assert_proved

#: Name, the proof, and figures that say that it did something.
SHORT = [
    ("balance-race", race_for_balance, {"asked": 500, "served": 7}),
    ("top-up-race", race_for_top_ups, {"top_ups": 40, "served_on_top_ups": 40}),
    ("quota-race", race_for_quota, {"asked": 300, "served": 75}),
    ("disconnects", leave_at_random, {"admitted": 60}),
    ("cancelled", cancel_many, {"cancelled": 500, "finished": 80}),
    ("kill", kill_web_processes, {"rounds": 2, "finished": 120, "expired": 1}),
]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Two web processes and all that they need; after everything, the books are in order."""
    with site() as made:
        yield made
        assert_books_are_right(made)


@pytest.mark.parametrize(("name", "proof", "least"), SHORT, ids=[name for name, _, _ in SHORT])
def test_the_short_version_is_proved(
    installation: Installation, name: str, proof: Callable[..., None], least: dict[str, int]
) -> None:
    assert_proved(installation, name, proof, least)
