"""What the database itself writes to keys' rows: a version that goes up, and how their makers stand, whoever changes what."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import ApiKey, Membership, User
from accounts.roles import GRANTS, Permission, Role
from accounts.services.apikeys import create_api_key
from accounts.services.member_budgets import set_member_budget
from accounts.services.workspaces import set_member
from lumyx.lib import clock
from tests.factories import Cast, make_api_key, make_cast

pytestmark = pytest.mark.django_db


def standing(key: ApiKey) -> tuple[int, bool, bool]:
    """Return a key's version, whether its maker is barred, and whether they have a budget."""
    return ApiKey.objects.values_list("version", "maker_is_barred", "maker_has_budget").get(pk=key.pk)


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    """A key that Bob made."""
    return create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob).row


@pytest.mark.parametrize("role", list(Role))
def test_the_database_knows_the_same_roles_as_we_do(role: Role) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_makes_keys(%s, true), accounts_makes_keys(%s, false)", [role, role])
        assert cursor.fetchone() == (Permission.MANAGE_KEYS in GRANTS[role], False)


def test_what_a_key_may_do_moves_its_version_and_nothing_else_does(key: ApiKey) -> None:
    rows = ApiKey.objects.filter(pk=key.pk)
    rows.update(last_used_at=clock.now())
    rows.update(name="another")
    assert standing(key) == (1, False, False)
    rows.update(requests_per_minute=5)
    rows.update(requests_per_minute=5)
    assert standing(key) == (2, False, False)


def test_saving_all_of_an_old_row_cannot_set_its_standing_back(cast: Cast, key: ApiKey) -> None:
    Membership.objects.filter(user=cast.bob).update(role="viewer", budget_nano=5, budget_period="day")
    assert standing(key) == (2, True, True)
    key.save()
    assert standing(key) == (2, True, True)


def test_a_demotion_bars_keys_and_a_promotion_lets_them_in_again(cast: Cast, key: ApiKey) -> None:
    members = Membership.objects.filter(user=cast.bob)
    members.update(role="billing")
    assert standing(key)[1]
    members.update(role="admin")
    assert not standing(key)[1]
    members.delete()
    assert standing(key)[1]


def test_only_the_keys_of_this_workspace_and_person_are_judged(cast: Cast, key: ApiKey) -> None:
    set_member(cast.other_workspace, user=cast.bob, role=Role.ADMIN)
    elsewhere = create_api_key(workspace=cast.other_workspace, name="k", created_by=cast.bob).row
    alices = create_api_key(workspace=cast.workspace, name="k", created_by=cast.alice).row
    operators = make_api_key(cast.workspace).row
    Membership.objects.filter(user=cast.bob, workspace=cast.workspace).delete()
    assert standing(key)[1]
    assert [standing(one)[1] for one in (elsewhere, alices, operators)] == [False] * 3
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    assert standing(elsewhere)[1]
    User.objects.filter(pk=cast.bob.pk).update(is_active=True)
    assert [standing(one)[1] for one in (key, elsewhere)] == [True, False]


def test_the_key_of_a_deleted_account_does_not_become_the_operators(cast: Cast, key: ApiKey) -> None:
    cast.bob.delete()
    key.refresh_from_db()
    assert (key.created_by, key.maker_is_barred, key.state) == (None, True, "orphaned")


def test_a_members_budget_is_known_to_their_keys(cast: Cast, key: ApiKey) -> None:
    set_member_budget(workspace_id=cast.workspace.pk, user_id=cast.bob.pk, budget=Budget(10**9, BudgetPeriod.MONTH))
    later = create_api_key(workspace=cast.workspace, name="later", created_by=cast.bob).row
    assert (standing(key), standing(later)) == ((2, False, True), (1, False, True))
    set_member_budget(workspace_id=cast.workspace.pk, user_id=cast.bob.pk, budget=None)
    assert (standing(key), standing(later)) == ((3, False, False), (2, False, False))


def elsewhere(work: Callable[[], object]) -> threading.Thread:
    """Begin to work on a connection of one's own."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_a_key_made_while_its_maker_is_demoted_is_barred_all_the_same() -> None:
    cast = make_cast()
    made: list[ApiKey] = []
    with transaction.atomic():
        Membership.objects.filter(user=cast.bob).update(role="viewer")
        # Elsewhere Bob is still a developer: the service lets him, and the row waits for us.
        maker = elsewhere(
            lambda: made.append(create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob).row)
        )
        maker.join(0.5)
        assert maker.is_alive()
    maker.join(10)
    assert standing(made[0])[1]


@pytest.mark.django_db(transaction=True)
def test_a_demotion_waits_for_a_key_that_is_being_made_and_bars_it() -> None:
    cast = make_cast()
    with transaction.atomic():
        key = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob).row
        demotion = elsewhere(lambda: set_member(cast.workspace, user=cast.bob, role=Role.VIEWER))
        demotion.join(0.5)
        assert demotion.is_alive()
    demotion.join(10)
    key.refresh_from_db()
    assert key.maker_is_barred
