"""Making users, and the step of ``email_verified_at`` with allauth's rows."""

import pytest
from allauth.account.models import EmailAddress
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import User
from accounts.selectors.users import needs_email_verification, user_by_email
from accounts.selectors.workspaces import workspaces_of
from accounts.services.apikeys import create_api_key
from accounts.services.users import (
    EmailTakenError,
    InvalidEmailError,
    create_user,
    deactivate_user,
    mark_email_verified,
    normalise_email,
    register_user,
    sync_email_verification,
)
from tests.factories import PASSWORD, Cast, make_user

LOCAL_PARTS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-", min_size=1, max_size=40)


@given(local=LOCAL_PARTS, before=st.sampled_from(["", " ", "\t"]), after=st.sampled_from(["", "  ", "\n"]))
def test_normalising_is_idempotent_and_ignores_case_and_space(local: str, before: str, after: str) -> None:
    address = normalise_email(f"{before}{local}@Example.COM{after}")
    assert address == f"{local.lower()}@example.com"
    assert normalise_email(address) == normalise_email(address.upper()) == address


@pytest.mark.parametrize(
    "wrong", ["", "alice", "alice@", "@example.com", "a b@example.com", "a@b\x00.com", "a@example.com\nBcc: b@x.org"]
)
def test_what_is_not_an_address_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidEmailError, match="is not an e-mail address"):
        normalise_email(wrong)


def test_an_address_that_the_column_cannot_hold_is_refused() -> None:
    domain = ".".join(["d" * 60] * 4)
    with pytest.raises(InvalidEmailError):
        normalise_email(f"{'a' * 60}@{domain}.com")


@pytest.mark.django_db
def test_a_user_is_stored_normalised_with_their_address_row() -> None:
    user = create_user(" Alice@Example.COM ", password=PASSWORD, verified=True, name="Alice Ito")
    assert (user.email, user.name) == ("alice@example.com", "Alice Ito")
    assert user.check_password(PASSWORD)
    assert user.email_verified_at is not None
    address = EmailAddress.objects.get(user=user)
    assert (address.email, address.primary, address.verified) == ("alice@example.com", True, True)
    assert user_by_email("ALICE@example.com") == user


@pytest.mark.django_db
def test_a_user_without_a_password_cannot_sign_in_with_any() -> None:
    user = create_user("a@example.com")
    assert not user.has_usable_password()
    assert not user.is_staff


@pytest.mark.django_db
def test_an_operator_is_a_staff_superuser() -> None:
    user = create_user("op@example.com", is_operator=True)
    assert user.is_staff
    assert user.is_superuser


@pytest.mark.django_db
def test_one_address_makes_one_user_whatever_its_case() -> None:
    make_user("alice@example.com")
    with pytest.raises(EmailTakenError, match=r"alice@example\.com exists already"):
        create_user("ALICE@example.com")
    assert User.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("email", "name", "workspace"), [("dana@example.com", "", "dana"), ("dana@example.com", "Dana Ito", "Dana Ito")]
)
def test_a_sign_up_gets_a_workspace_named_after_the_person(email: str, name: str, workspace: str) -> None:
    user = register_user(User(email=email, name=name))
    assert [(w.name, w.owner) for w in workspaces_of(user)] == [(workspace, user)]


@pytest.mark.django_db
def test_a_sign_up_with_a_taken_address_makes_nothing() -> None:
    make_user("dana@example.com")
    with pytest.raises(EmailTakenError):
        register_user(User(email="Dana@example.com"))
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_verification_follows_the_row_of_the_present_address_only() -> None:
    user = make_user("a@example.com", verified=False)
    EmailAddress.objects.create(user=user, email="b@example.com", verified=True)
    sync_email_verification(user)
    assert user.email_verified_at is None

    EmailAddress.objects.filter(user=user, email="a@example.com").update(verified=True)
    sync_email_verification(user)
    first = User.objects.get().email_verified_at
    assert first is not None
    sync_email_verification(user)
    assert User.objects.get().email_verified_at == first

    EmailAddress.objects.filter(user=user, email="a@example.com").delete()
    sync_email_verification(user)
    assert User.objects.get().email_verified_at is None


@pytest.mark.django_db
def test_an_operator_can_vouch_for_an_address() -> None:
    user = make_user(verified=False)
    assert needs_email_verification(user)
    mark_email_verified(user)
    assert not needs_email_verification(user)
    assert EmailAddress.objects.get(user=user).verified


@pytest.mark.django_db
def test_an_address_that_another_user_proved_cannot_be_vouched_for() -> None:
    first, second = make_user("a@example.com"), make_user("b@example.com", verified=False)
    EmailAddress.objects.filter(user=first).update(email="b@example.com")
    with pytest.raises(EmailTakenError, match="Another user"):
        mark_email_verified(second)


def test_shutting_a_person_out_revokes_their_keys_and_nobody_elses(cast: Cast) -> None:
    theirs = create_api_key(workspace=cast.workspace, name="bob's", created_by=cast.bob).row
    hers = create_api_key(workspace=cast.workspace, name="alice's", created_by=cast.alice).row
    deactivate_user(cast.bob)
    theirs.refresh_from_db()
    hers.refresh_from_db()
    assert theirs.state == "revoked"
    assert hers.state == "active"
    assert not User.objects.get(pk=cast.bob.pk).is_active
