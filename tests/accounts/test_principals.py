"""Who an API key's digest stands for."""

import datetime as dt

import pytest
from django.conf import settings as configured
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import PolicyAcceptance
from accounts.roles import Role
from accounts.selectors.principals import PrincipalRow, principal_row
from accounts.services.apikeys import create_api_key, revoke_api_key
from accounts.services.policies import accept_policy
from accounts.services.users import deactivate_user
from accounts.services.workspaces import remove_member, set_member, suspend_workspace
from lumyx.lib import clock
from lumyx.lib.crypto import api_key_digest
from tests.factories import Cast, make_api_key, make_user, make_workspace

pytestmark = pytest.mark.django_db


def principal_of(secret: str) -> PrincipalRow:
    """Return the principal of a secret that exists."""
    row = principal_row(api_key_digest(secret, pepper=configured.LUMYX_API_KEY_PEPPER))
    assert row is not None
    return row


def test_a_key_is_resolved_in_one_query(cast: Cast, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    new = create_api_key(
        workspace=cast.workspace, name="k", created_by=cast.bob, allowed_models=["b", "a"], is_test=True
    )
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by="alice@example.com")
    with django_assert_num_queries(1):
        row = principal_of(new.secret)
    assert row == PrincipalRow(
        api_key_id=new.row.pk,
        workspace_id=cast.workspace.pk,
        owner_id=cast.alice.pk,
        maker_id=cast.bob.pk,
        version=1,
        is_test=True,
        allowed_models=frozenset({"a", "b"}),
        allowed_addresses=(),
        requests_per_minute=0,
        has_budget=False,
        expires_at=None,
        secret_ends_at=None,
        revoked=False,
        disabled=False,
        orphaned=False,
        suspended=False,
        closing=False,
        email_verified=True,
        policies=frozenset({"uncensored"}),
    )


def test_an_unknown_digest_is_nobody(cast: Cast) -> None:
    make_api_key(cast.workspace)
    assert principal_row(b"\x00" * 32) is None


def test_a_revoked_key_is_resolved_as_revoked(cast: Cast) -> None:
    new = make_api_key(cast.workspace)
    revoke_api_key(workspace_id=cast.workspace.pk, prefix=new.row.prefix)
    assert principal_of(new.secret).revoked


def test_the_expiry_is_passed_on(cast: Cast) -> None:
    expires_at = clock.now() + dt.timedelta(days=1)
    new = create_api_key(workspace=cast.workspace, name="k", expires_at=expires_at)
    assert principal_of(new.secret).expires_at == expires_at


def test_a_suspended_workspace_is_resolved_as_suspended(cast: Cast) -> None:
    new = make_api_key(cast.workspace)
    suspend_workspace(cast.workspace.pk)
    assert principal_of(new.secret).suspended


def test_another_workspaces_acceptance_does_not_count(cast: Cast) -> None:
    new = make_api_key(cast.workspace)
    accept_policy(cast.other_workspace.pk, policy="uncensored", accepted_by="charlie@example.com")
    assert principal_of(new.secret).policies == frozenset()


def test_an_acceptance_of_an_older_version_does_not_count(cast: Cast) -> None:
    new = make_api_key(cast.workspace)
    PolicyAcceptance.objects.create(workspace=cast.workspace, policy="uncensored", version=0, accepted_by="a")
    assert principal_of(new.secret).policies == frozenset()


def test_a_key_stops_when_its_maker_leaves(cast: Cast) -> None:
    new = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
    other = make_api_key(cast.workspace)
    remove_member(cast.workspace, user=cast.bob)
    assert principal_of(new.secret).orphaned
    assert not principal_of(other.secret).revoked


def test_a_key_stops_when_its_makers_membership_row_vanishes_in_any_other_way(cast: Cast) -> None:
    new = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
    cast.bob.memberships.all().delete()
    assert principal_of(new.secret).orphaned


@pytest.mark.parametrize("role", list(Role))
def test_a_key_works_only_while_its_makers_role_may_manage_keys(cast: Cast, role: Role) -> None:
    new = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
    if role == Role.OWNER:
        assert not principal_of(new.secret).orphaned
        return
    set_member(cast.workspace, user=cast.bob, role=role)
    assert principal_of(new.secret).orphaned == (role in {Role.BILLING, Role.VIEWER})


def test_a_key_stays_revoked_when_its_maker_is_promoted_again(cast: Cast) -> None:
    new = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
    set_member(cast.workspace, user=cast.bob, role=Role.VIEWER)
    set_member(cast.workspace, user=cast.bob, role=Role.ADMIN)
    assert principal_of(new.secret).revoked


def test_a_key_stops_when_its_maker_is_shut_out(cast: Cast) -> None:
    new = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
    deactivate_user(cast.bob)
    assert principal_of(new.secret).orphaned


def test_the_owners_unproved_address_is_told_unless_the_installation_asks_for_no_proof(
    settings: Settings,
) -> None:
    new = make_api_key(make_workspace(owner=make_user(verified=False)))
    assert not principal_of(new.secret).email_verified
    settings.LUMYX_EMAIL_VERIFICATION = False
    assert principal_of(new.secret).email_verified
