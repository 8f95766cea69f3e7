"""Budgets of members, on their pages: set, shown, changed and taken away by those who may."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import Membership, User
from accounts.roles import Role
from lumyx.lib.money import NANO_PER_USD as USD
from tests.dashboard.pages import text_of
from tests.factories import Cast, make_cast, make_member

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def signed_in(user: User) -> Client:
    """Return the browser of a person."""
    client = Client()
    client.force_login(user)
    return client


def member_of(cast: Cast, user: User) -> Membership:
    """Return a person's membership in Alice's workspace as it is stored."""
    return Membership.objects.get(workspace=cast.workspace, user=user)


def set_budget(client: Client, member: Membership, budget: str, period: str = "month") -> Any:
    """Send the form."""
    return client.post(
        reverse("dashboard:member_budget", args=[member.pk]), {"budget": budget, "period": period}, follow=True
    )


def test_a_budget_is_set_shown_and_taken_away(cast: Cast) -> None:
    alice, bob = signed_in(cast.alice), member_of(cast, cast.bob)
    page = set_budget(alice, bob, "$1,250.50", "week")
    assert "The budget of" in text_of(page.content.decode())
    assert member_of(cast, cast.bob).budget == Budget(1250 * USD + USD // 2, BudgetPeriod.WEEK)
    assert "of $1,250.50 a week" in " ".join(text_of(alice.get(reverse("dashboard:members")).text).split())
    shown = alice.get(reverse("dashboard:member", args=[bob.pk])).text
    assert 'value="1250.5"' in shown
    assert "It resets on" in text_of(shown)
    set_budget(alice, bob, "")
    assert member_of(cast, cast.bob).budget is None


@pytest.mark.parametrize(("text", "word"), [("a lot", "Write US dollars"), ("0", "more than 0"), ("-5", "more than 0")])
def test_what_is_no_budget_is_refused_and_kept_in_the_field(cast: Cast, text: str, word: str) -> None:
    response = set_budget(signed_in(cast.alice), member_of(cast, cast.bob), text)
    assert response.status_code == 422
    page = response.content.decode()
    assert word in page
    assert f'value="{text}"' in page
    assert member_of(cast, cast.bob).budget is None


def test_an_owner_bounds_themselves_and_an_admin_nobody_above(cast: Cast) -> None:
    set_budget(signed_in(cast.alice), member_of(cast, cast.alice), "5")
    assert member_of(cast, cast.alice).budget == Budget(5 * USD, BudgetPeriod.MONTH)
    admin = make_member(cast.workspace, Role.ADMIN)
    set_budget(signed_in(admin), member_of(cast, cast.alice), "1")
    assert member_of(cast, cast.alice).budget == Budget(5 * USD, BudgetPeriod.MONTH)
    set_budget(signed_in(admin), member_of(cast, admin), "1")
    assert member_of(cast, admin).budget is None
    set_budget(signed_in(admin), member_of(cast, cast.bob), "1")
    assert member_of(cast, cast.bob).budget == Budget(USD, BudgetPeriod.MONTH)


def test_a_developer_sees_nobodys_budget_and_sets_none(cast: Cast) -> None:
    set_budget(signed_in(cast.alice), member_of(cast, cast.bob), "77")
    bob = signed_in(cast.bob)
    assert "$77" not in bob.get(reverse("dashboard:members")).text
    assert set_budget(bob, member_of(cast, cast.bob), "99").status_code == 403
    assert member_of(cast, cast.bob).budget == Budget(77 * USD, BudgetPeriod.MONTH)
