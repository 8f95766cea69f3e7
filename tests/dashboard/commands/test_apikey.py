"""manage.py apikey: the secret once, options that are enforced, and those that are refused."""

import datetime as dt

import pytest
from django.conf import settings

from accounts.models import ApiKey
from accounts.selectors.principals import principal_row
from lumyx.lib.crypto import api_key_digest
from tests.dashboard.commands.shell import Ran, run
from tests.factories import make_api_key, make_workspace

pytestmark = pytest.mark.django_db


def create(*options: str, workspace: str = "lab") -> Ran:
    """Run ``apikey create``."""
    return run("apikey", "create", "--workspace", workspace, "--name", "CI", *options)


def test_the_secret_works_and_is_in_the_answer_only() -> None:
    workspace = make_workspace("Lab")
    ran = create()
    secret = ran.answer["secret"]
    row = principal_row(api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER))
    assert row is not None
    assert (row.workspace_id, row.revoked) == (workspace.pk, False)
    assert ran.answer["prefix"] == secret[:11]
    assert secret not in ran.err


def test_models_and_expiry_are_stored_and_a_model_that_is_not_there_is_pointed_out() -> None:
    make_workspace("Lab")
    ran = create("--models", "no/such-model, other", "--expires", "2199-01-31T12:00:00+02:00", "--test")
    row = ApiKey.objects.get()
    assert row.allowed_models == ["no/such-model", "other"]
    assert row.expires_at == dt.datetime(2199, 1, 31, 10, tzinfo=dt.UTC)
    assert row.is_test
    assert row.created_by is None
    assert "The catalog has no model 'no/such-model' now." in ran.err


def test_an_expiry_without_a_zone_is_utc() -> None:
    make_workspace("Lab")
    create("--expires", "2199-01-31")
    assert ApiKey.objects.get().expires_at == dt.datetime(2199, 1, 31, tzinfo=dt.UTC)


@pytest.mark.parametrize(("option", "value"), [("--budget", "5"), ("--period", "day")])
def test_a_budget_that_nothing_enforces_is_refused_not_stored(option: str, value: str) -> None:
    make_workspace("Lab")
    assert create(option, value).refusal.startswith(f"{option} is not enforced by anything yet")
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--expires", "2001-01-01"], "is in the past"),
        (["--models", "a b"], "'a b' cannot be a model's id."),
        (["--name", ""], "A key's name has 1 to 80 characters"),
        (["--workspace", "nowhere"], "There is no workspace 'nowhere'."),
    ],
)
def test_a_refusal_is_one_clear_sentence_and_leaves_nothing(options: list[str], message: str) -> None:
    make_workspace("Lab")
    assert message in create(*options).refusal
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("options", [["--expires", "tomorrow"], ["--models", " , "], ["--workspace"]])
def test_wrong_usage_is_told_apart(options: list[str]) -> None:
    make_workspace("Lab")
    assert create(*options).message.startswith("Error:")
    assert not ApiKey.objects.exists()


def test_revoking_by_prefix_and_twice() -> None:
    workspace = make_workspace("Lab")
    prefix = make_api_key(workspace).row.prefix
    first = run("apikey", "revoke", prefix).answer
    assert (first["prefix"], first["workspace"]) == (prefix, "lab")
    assert run("apikey", "revoke", prefix).answer == first
    assert ApiKey.objects.get().state == "revoked"


def test_an_unknown_prefix_is_a_clear_error() -> None:
    assert "There is no API key with the prefix 'lx-00000000'" in run("apikey", "revoke", "lx-00000000").refusal
