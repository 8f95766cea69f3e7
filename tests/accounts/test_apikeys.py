"""Making, listing and revoking API keys."""

import datetime as dt

import pytest
from django.conf import settings
from django.db import connection
from django.db.utils import IntegrityError
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from accounts.models import ApiKey
from accounts.roles import Role
from accounts.selectors.apikeys import api_key_by_prefix, api_key_names_of, api_keys_of
from accounts.services.apikeys import (
    MODELS_MAX,
    ApiKeyNotFoundError,
    InvalidApiKeyOptionError,
    KeyPermissionError,
    create_api_key,
    revoke_api_key,
)
from accounts.services.users import deactivate_user
from accounts.services.workspaces import set_member
from lumyx.lib import clock, crypto
from lumyx.lib.ids import ALPHABET
from tests.factories import Cast, make_api_key, make_member


def test_a_secret_has_its_form_and_its_checksum() -> None:
    secret = crypto.new_api_key()
    assert secret.startswith("lx-")
    assert len(secret) == crypto.API_KEY_LENGTH == 52
    assert set(secret[3:]) <= set(ALPHABET)
    assert crypto.api_key_is_well_formed(secret)


@given(position=st.integers(3, 51), character=st.sampled_from(ALPHABET))
def test_any_changed_character_is_noticed_without_a_look_up(position: int, character: str) -> None:
    secret = crypto.new_api_key()
    changed = secret[:position] + character + secret[position + 1 :]
    assert crypto.api_key_is_well_formed(changed) == (changed == secret)


@given(st.text(max_size=80))
def test_no_other_text_is_well_formed(text: str) -> None:
    assert not crypto.api_key_is_well_formed(text)
    assert not crypto.api_key_is_well_formed("lx-" + text)


def test_only_the_digest_and_the_two_ends_are_stored(cast: Cast) -> None:
    new = make_api_key(cast.workspace)
    assert new.row.digest == crypto.api_key_digest(new.secret, pepper=settings.LUMYX_API_KEY_PEPPER)
    assert new.row.prefix == new.secret[:11]
    assert new.row.last_four == new.secret[-4:]
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM accounts_apikey k WHERE id = %s", [new.row.pk])
        assert new.secret[11:-4] not in cursor.fetchone()[0]


def test_the_secret_is_not_in_the_answers_repr(cast: Cast) -> None:
    new = make_api_key(cast.workspace)
    assert new.secret not in repr(new)
    assert new.secret not in f"{new.row} {new.row!r}"


def test_a_keys_options_are_stored(cast: Cast) -> None:
    expires_at = clock.now() + dt.timedelta(hours=1)
    row = create_api_key(
        workspace=cast.workspace,
        name="  CI  ",
        created_by=cast.bob,
        expires_at=expires_at,
        allowed_models=[" sandbox/echo", "lumyx-plus_v1", "sandbox/echo"],
        is_test=True,
    ).row
    row = ApiKey.objects.get(pk=row.pk)
    assert (row.name, row.created_by, row.expires_at, row.is_test) == ("CI", cast.bob, expires_at, True)
    assert row.allowed_models == ["sandbox/echo", "lumyx-plus_v1"]


@pytest.mark.parametrize("role", [Role.ADMIN, Role.DEVELOPER])
def test_who_may_manage_keys_makes_one(cast: Cast, role: Role) -> None:
    maker = make_member(cast.workspace, role)
    assert create_api_key(workspace=cast.workspace, name="k", created_by=maker).row.created_by == maker


@pytest.mark.parametrize("role", [Role.BILLING, Role.VIEWER])
def test_who_may_not_manage_keys_makes_none(cast: Cast, role: Role) -> None:
    maker = make_member(cast.workspace, role)
    with pytest.raises(KeyPermissionError, match=f"The role {role} may not manage API keys"):
        create_api_key(workspace=cast.workspace, name="k", created_by=maker)
    assert not ApiKey.objects.exists()


def test_a_stranger_makes_none_even_as_an_owner_elsewhere(cast: Cast) -> None:
    with pytest.raises(KeyPermissionError, match="is not a member"):
        create_api_key(workspace=cast.workspace, name="k", created_by=cast.charlie)


def test_somebody_shut_out_makes_none(cast: Cast) -> None:
    deactivate_user(cast.bob)
    with pytest.raises(KeyPermissionError):
        create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\x00", "two\nlines"])
def test_a_name_that_cannot_be_shown_is_refused(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidApiKeyOptionError, match="1 to 80"):
        create_api_key(workspace=cast.workspace, name=name)


def test_an_expiry_must_lie_in_the_future_and_say_its_zone(cast: Cast) -> None:
    with pytest.raises(InvalidApiKeyOptionError, match="is in the past"):
        create_api_key(workspace=cast.workspace, name="k", expires_at=clock.now() - dt.timedelta(seconds=1))
    with pytest.raises(InvalidApiKeyOptionError, match="needs a time zone"):
        create_api_key(workspace=cast.workspace, name="k", expires_at=dt.datetime(2999, 1, 1))  # noqa: DTZ001  the point
    beyond = dt.datetime.fromisoformat("9999-12-31T23:59:59-12:00")
    with pytest.raises(InvalidApiKeyOptionError, match="not within the years 1 to 9999"):
        create_api_key(workspace=cast.workspace, name="k", expires_at=beyond)


def test_an_expiry_in_any_zone_is_kept_in_utc(cast: Cast) -> None:
    expiry = dt.datetime.fromisoformat("2999-01-01T00:00:00+23:59")
    row = create_api_key(workspace=cast.workspace, name="k", expires_at=expiry).row
    row.refresh_from_db()
    assert row.expires_at == expiry


@pytest.mark.parametrize("models", [[""], ["a b"], ["-x"], ["x" * 201], ["a\x00"], ["m"] * 1 + ["é"]])
def test_what_cannot_be_a_models_id_is_refused(cast: Cast, models: list[str]) -> None:
    with pytest.raises(InvalidApiKeyOptionError, match="cannot be a model's id"):
        create_api_key(workspace=cast.workspace, name="k", allowed_models=models)


def test_a_list_of_models_has_an_end(cast: Cast) -> None:
    with pytest.raises(InvalidApiKeyOptionError, match=f"at most {MODELS_MAX}"):
        create_api_key(workspace=cast.workspace, name="k", allowed_models=[f"m{n}" for n in range(MODELS_MAX + 1)])


def test_a_prefix_that_is_taken_is_drawn_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = make_api_key(cast.workspace).secret
    fresh = crypto.new_api_key()
    draws = iter([taken[:11] + fresh[11:], fresh])
    monkeypatch.setattr(crypto, "new_api_key", lambda **_: next(draws))
    assert make_api_key(cast.workspace).secret == fresh


def test_a_broken_random_source_is_an_error_not_a_loop(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = make_api_key(cast.workspace).secret
    monkeypatch.setattr(crypto, "new_api_key", lambda **_: taken)
    with pytest.raises(RuntimeError, match="random source is broken"):
        make_api_key(cast.workspace)
    assert ApiKey.objects.count() == 1


def test_another_broken_constraint_is_not_taken_for_a_collision(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = make_api_key(cast.workspace).row.digest
    monkeypatch.setattr(crypto, "api_key_digest", lambda _secret, *, pepper: digest)
    with pytest.raises(IntegrityError, match="digest"):
        make_api_key(cast.workspace)


def test_revoking_twice_keeps_the_first_time(cast: Cast) -> None:
    prefix = make_api_key(cast.workspace).row.prefix
    first = revoke_api_key(workspace_id=cast.workspace.pk, prefix=prefix).revoked_at
    assert first is not None
    assert revoke_api_key(workspace_id=cast.workspace.pk, prefix=prefix).revoked_at == first


def test_another_workspaces_key_cannot_be_revoked(cast: Cast) -> None:
    row = make_api_key(cast.workspace).row
    with pytest.raises(ApiKeyNotFoundError, match="There is no API key"):
        revoke_api_key(workspace_id=cast.other_workspace.pk, prefix=row.prefix)
    row.refresh_from_db()
    assert row.state == "active"


def test_the_state_says_revoked_expired_or_active(cast: Cast) -> None:
    row = make_api_key(cast.workspace).row
    assert row.state == "active"
    row.expires_at = clock.now() + dt.timedelta(minutes=1)
    assert row.state == "active"
    row.expires_at = clock.now()
    assert row.state == "expired"
    row.revoked_at = clock.now()
    assert row.state == "revoked"


def test_a_workspaces_keys_are_listed_newest_first_in_one_query(
    cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    names = ["first", "second", "third"]
    for name in names:
        create_api_key(workspace=cast.workspace, name=name, created_by=cast.bob)
    make_api_key(cast.other_workspace, name="another's")
    with django_assert_num_queries(1):
        listed = [(key.name, str(key.created_by)) for key in api_keys_of(cast.workspace.pk)]
    assert listed == [(name, "bob@example.com") for name in reversed(names)]
    assert sorted(api_key_names_of(cast.workspace.pk).values()) == sorted(names)


def test_an_operator_finds_a_key_by_its_prefix(cast: Cast) -> None:
    row = make_api_key(cast.workspace).row
    assert api_key_by_prefix(row.prefix) == row
    assert api_key_by_prefix("lx-00000000") is None


def test_a_demoted_makers_new_key_is_refused(cast: Cast) -> None:
    set_member(cast.workspace, user=cast.bob, role=Role.VIEWER)
    with pytest.raises(KeyPermissionError):
        create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob)
