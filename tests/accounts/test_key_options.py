"""Options of keys, in one form; changes that are written down; rotation and its two secrets."""

import datetime as dt
from typing import Any

import pytest
from django.conf import settings

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import ApiKey, AuditEntry, Membership
from accounts.roles import Role
from accounts.selectors.principals import principal_row
from accounts.services.apikeys import (
    ApiKeyNotFoundError,
    ApiKeyStateError,
    InvalidApiKeyOptionError,
    KeyPermissionError,
    NewApiKey,
    create_api_key,
    disable_api_key,
    enable_api_key,
    revoke_api_key,
)
from accounts.services.key_options import ADDRESSES_MAX, clean_addresses, clean_models
from accounts.services.member_budgets import MemberNotFoundError, set_member_budget
from accounts.services.rotation import end_old_secret, rotate_api_key
from accounts.services.workspaces import remove_member
from lumyx.lib import clock, crypto
from lumyx.lib.redaction import redact
from tests.factories import Cast, make_api_key, make_member

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)


def who(secret: str) -> int | None:
    row = principal_row(crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER))
    return None if row is None else row.api_key_id


def rotate(made: NewApiKey, overlap: dt.timedelta = DAY) -> NewApiKey:
    made.row.refresh_from_db()
    return rotate_api_key(workspace_id=made.row.workspace_id, prefix=made.row.prefix, overlap=overlap)


def test_addresses_take_one_form() -> None:
    given = ["203.0.113.7", " 10.0.0.0/8 ", "", "2001:DB8::/32", "10.0.0.0/8"]
    assert clean_addresses(given) == ["203.0.113.7/32", "10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize("address", ["10.0.0.1/8", "10.0.0.0/33", "example.com", "fe80::1%eth0", "10.0.0", "\0"])
def test_what_is_no_network_is_refused(address: str) -> None:
    with pytest.raises(InvalidApiKeyOptionError):
        clean_addresses([address])


def test_a_list_of_networks_has_an_end() -> None:
    with pytest.raises(InvalidApiKeyOptionError, match=f"at most {ADDRESSES_MAX}"):
        clean_addresses([f"10.0.0.{n}" for n in range(ADDRESSES_MAX + 1)])


@pytest.mark.parametrize("model", ["/*", "*", "a/*/b*", "-x/*", "x" * 200 + "/*"])
def test_only_a_providers_name_may_stand_before_the_star(model: str) -> None:
    assert clean_models(["openai/*", "a/b/*"]) == ["openai/*", "a/b/*"]
    with pytest.raises(InvalidApiKeyOptionError, match="cannot be a model's id"):
        clean_models([model])


@pytest.mark.parametrize("amount", [0, -1, 2**63])
def test_a_budget_is_above_zero(cast: Cast, amount: int) -> None:
    with pytest.raises(InvalidApiKeyOptionError, match="more than"):
        create_api_key(workspace=cast.workspace, name="k", budget=Budget(amount, BudgetPeriod.DAY))
    assert not ApiKey.objects.exists()


def test_a_test_keys_secret_says_so_and_is_redacted_like_any_other(cast: Cast) -> None:
    made = make_api_key(cast.workspace, is_test=True)
    assert made.secret.startswith("lx-test-")
    assert len(made.row.prefix) == 16
    assert crypto.api_key_is_well_formed(made.secret)
    assert redact(f"key {made.secret}!") == f"key {made.row.prefix}…!"
    assert rotate(made).secret.startswith("lx-test-")


def test_two_secrets_are_one_key_and_a_third_ends_the_first(cast: Cast) -> None:
    first = make_api_key(cast.workspace)
    second = rotate(first)
    assert who(first.secret) == who(second.secret) == first.row.pk
    third = rotate(second)
    assert who(first.secret) is None
    assert who(second.secret) == who(third.secret) == first.row.pk
    assert second.secret not in repr(second)


def test_a_rotation_that_meets_a_taken_prefix_draws_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, made = make_api_key(cast.workspace).secret, make_api_key(cast.workspace)
    fresh = crypto.new_api_key()
    draws = iter([taken[:11] + fresh[11:], fresh])
    monkeypatch.setattr(crypto, "new_api_key", lambda **_: next(draws))
    assert rotate(made).secret == fresh
    assert who(made.secret) == who(fresh) == made.row.pk


@pytest.mark.parametrize("overlap", [dt.timedelta(seconds=-1), dt.timedelta(days=30, seconds=1)])
def test_an_overlap_has_bounds(cast: Cast, overlap: dt.timedelta) -> None:
    with pytest.raises(InvalidApiKeyOptionError, match="0 minutes to 30 days"):
        rotate(make_api_key(cast.workspace), overlap)


def test_what_cannot_work_is_not_rotated(cast: Cast) -> None:
    made = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
    Membership.objects.filter(user=cast.bob).update(role="viewer")
    with pytest.raises(ApiKeyStateError, match="Make a new one"):
        rotate(made)


def test_every_change_is_written_down_once_and_never_with_a_secret(cast: Cast) -> None:
    made = make_api_key(cast.workspace)
    key: dict[str, Any] = {"workspace_id": cast.workspace.pk, "prefix": made.row.prefix}
    for change in (disable_api_key, disable_api_key, enable_api_key, enable_api_key):
        change(**key)
    again = rotate(made)
    key["prefix"] = again.row.prefix
    end_old_secret(**key)
    end_old_secret(**key)
    revoke_api_key(**key)
    revoke_api_key(**key)
    entries = list(AuditEntry.objects.filter(target_kind="api_key").order_by("id"))
    assert [entry.action.removeprefix("api_key.") for entry in entries] == [
        *("created", "disabled", "enabled", "rotated", "changed", "revoked")
    ]
    assert {(entry.workspace_id, entry.target_id) for entry in entries} == {(cast.workspace.pk, str(made.row.pk))}
    texts = str([(entry.details, entry.target_name) for entry in entries])
    assert made.secret[11:-4] not in texts
    assert again.secret[11:-4] not in texts


def test_another_workspaces_key_is_not_there(cast: Cast) -> None:
    row = make_api_key(cast.workspace).row
    other: dict[str, Any] = {"workspace_id": cast.other_workspace.pk, "prefix": row.prefix}
    for change in (disable_api_key, enable_api_key, end_old_secret):
        with pytest.raises(ApiKeyNotFoundError):
            change(**other)
    with pytest.raises(ApiKeyNotFoundError):
        rotate_api_key(**other, overlap=DAY)


def test_a_members_budget_is_set_changed_and_taken_away(cast: Cast) -> None:
    ids = {"workspace_id": cast.workspace.pk, "user_id": cast.bob.pk}
    member = set_member_budget(**ids, budget=Budget(5, BudgetPeriod.WEEK))
    assert member.budget == Budget(5, BudgetPeriod.WEEK)
    set_member_budget(**ids, budget=Budget(5, BudgetPeriod.WEEK))
    assert set_member_budget(**ids, budget=None).budget is None
    assert AuditEntry.objects.filter(action="member.budget_changed").count() == 2
    with pytest.raises(MemberNotFoundError):
        set_member_budget(workspace_id=cast.workspace.pk, user_id=cast.charlie.pk, budget=None)


def test_the_state_names_the_final_reason_first(cast: Cast) -> None:
    row = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob).row
    row.disabled_at = clock.now()
    assert row.state == "disabled"
    row.expires_at = clock.now()
    assert row.state == "expired"
    row.maker_is_barred = True
    assert row.state == "orphaned"
    row.revoked_at = clock.now()
    assert row.state == "revoked"


def test_whoever_rotates_a_key_sees_its_secret_so_it_is_theirs_from_then_on(cast: Cast) -> None:
    made = create_api_key(workspace=cast.workspace, name="k", created_by=cast.alice)
    set_member_budget(
        workspace_id=cast.workspace.pk, user_id=cast.bob.pk, budget=Budget(1_000_000_000, BudgetPeriod.DAY)
    )
    rotate_api_key(workspace_id=cast.workspace.pk, prefix=made.row.prefix, overlap=DAY, by=cast.bob)
    row = ApiKey.objects.get(pk=made.row.pk)
    assert (row.created_by, row.maker_has_budget) == (cast.bob, True)
    remove_member(cast.workspace, user=cast.bob)
    assert ApiKey.objects.get(pk=made.row.pk).state == "revoked"


def test_who_may_not_manage_keys_rotates_none(cast: Cast) -> None:
    made = make_api_key(cast.workspace)
    for stranger in (cast.charlie, make_member(cast.workspace, Role.VIEWER)):
        with pytest.raises(KeyPermissionError):
            rotate_api_key(workspace_id=cast.workspace.pk, prefix=made.row.prefix, overlap=DAY, by=stranger)
