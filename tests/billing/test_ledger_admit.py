"""Admission: who is let in, on what, and why not."""

import pytest

from billing.selectors.ledger import balance_of
from billing.services import ledger
from tests.billing.builders import admit_one, make_account, settle_one

pytestmark = pytest.mark.django_db


def test_a_hold_is_set_aside() -> None:
    account = make_account()
    account.fund(1000)
    answer = admit_one(account.request(300))
    assert (answer.refusal, answer.held, answer.available, answer.quota_remaining) == (None, 300, 1000, None)
    balance = balance_of(account.id)
    assert (balance.posted, balance.held, balance.available) == (1000, 300, 700)


def test_it_settles() -> None:
    account = make_account()
    account.fund(1000)
    request = account.request(300)
    admit_one(request)
    assert settle_one(request, 120).charge == 120
    balance = balance_of(account.id)
    assert (balance.posted, balance.held, balance.available) == (880, 0, 880)
    assert ledger.settle([]) == []
