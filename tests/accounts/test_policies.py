"""Accepting policies."""

import pytest

from accounts import policies
from accounts.models import PolicyAcceptance
from accounts.services.policies import PolicyChangedError, UnknownPolicyError, accept_policy
from tests.factories import Cast


def test_accepting_twice_keeps_the_first_record(cast: Cast) -> None:
    first = accept_policy(cast.workspace.pk, policy="uncensored", accepted_by="alice@example.com")
    again = accept_policy(cast.workspace.pk, policy="uncensored", accepted_by="bob@example.com")
    assert again == first
    row = PolicyAcceptance.objects.get()
    assert (row.policy, row.version, row.accepted_by) == ("uncensored", 1, "alice@example.com")


def test_a_new_version_is_accepted_anew(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by="alice@example.com")
    monkeypatch.setitem(policies.POLICIES, "uncensored", 2)
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by="alice@example.com")
    assert sorted(PolicyAcceptance.objects.values_list("version", flat=True)) == [1, 2]


def test_a_policy_that_does_not_exist_is_refused_with_those_that_do(cast: Cast) -> None:
    with pytest.raises(UnknownPolicyError, match="no policy 'adult'; there is: uncensored"):
        accept_policy(cast.workspace.pk, policy="adult", accepted_by="alice@example.com")
    assert not PolicyAcceptance.objects.exists()


def test_a_person_is_kept_by_their_id_and_not_by_their_address(cast: Cast) -> None:
    row = accept_policy(cast.workspace.pk, policy="uncensored", accepted_by=cast.alice)
    assert (row.accepted_by, row.accepted_by_user) == ("", cast.alice)


def test_a_version_that_is_not_the_present_one_is_not_accepted(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(policies.POLICIES, "uncensored", 2)
    with pytest.raises(PolicyChangedError, match="version 2"):
        accept_policy(cast.workspace.pk, policy="uncensored", accepted_by=cast.alice, version=1)
    assert accept_policy(cast.workspace.pk, policy="uncensored", accepted_by=cast.alice, version=2).version == 2


def test_every_policys_present_version_has_a_text() -> None:
    assert all(policies.policy_text(policy) is not None for policy in policies.POLICIES)
    assert policies.policy_text("adult") is None
