"""manage.py apikey: the secret once, options that are enforced, and those that are refused."""

import datetime as dt

import pytest
from django.conf import settings

from accounts.models import ApiKey
from accounts.selectors.principals import principal_row
from lumyx.lib import clock
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


@pytest.mark.parametrize("period", ["day", "week", "month", "total"])
def test_a_budget_is_stored_and_told(period: str) -> None:
    make_workspace("Lab")
    answer = create("--budget", "2.5", "--period", period).answer
    row = ApiKey.objects.get()
    assert (row.budget_nano, row.budget_period) == (2_500_000_000, period)
    assert (answer["budget"], answer["period"]) == ("2.5", period)


@pytest.mark.parametrize("options", [["--budget", "5"], ["--period", "day"]])
def test_half_a_budget_is_refused(options: list[str]) -> None:
    make_workspace("Lab")
    assert "give --budget and --period together" in create(*options).refusal
    assert not ApiKey.objects.exists()


def test_networks_and_a_pace_are_stored() -> None:
    make_workspace("Lab")
    answer = create("--addresses", "203.0.113.0/24, 2001:db8::1", "--rpm", "7").answer
    assert answer["addresses"] == ["203.0.113.0/24", "2001:db8::1/128"]
    assert answer["requests_per_minute"] == ApiKey.objects.get().requests_per_minute == 7


def test_all_of_a_providers_models_are_pointed_out_when_there_are_none() -> None:
    make_workspace("Lab")
    assert "The catalog has no model 'nobody/*' now." in create("--models", "nobody/*").err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--expires", "2001-01-01"], "is in the past"),
        (["--models", "a b"], "'a b' cannot be a model's id."),
        (["--budget", "0", "--period", "day"], "A budget is more than $0."),
        (["--addresses", "10.0.0.1/8"], "'10.0.0.1/8' is no address or network"),
        (["--rpm", "-1"], "The pace of a key is 0"),
        (["--name", ""], "A key's name has 1 to 80 characters"),
        (["--workspace", "nowhere"], "There is no workspace 'nowhere'."),
    ],
)
def test_a_refusal_is_one_clear_sentence_and_leaves_nothing(options: list[str], message: str) -> None:
    make_workspace("Lab")
    assert message in create(*options).refusal
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--expires", "tomorrow"],
        ["--models", " , "],
        ["--workspace"],
        ["--budget", "much", "--period", "day"],
        ["--budget", "5", "--period", "year"],
    ],
)
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
    assert "There is no API key with the prefix 'lx-00000000'" in run("apikey", "rotate", "lx-00000000").refusal
    assert "There is no API key with the prefix 'lx-00000000'" in run("apikey", "disable", "lx-00000000").refusal


def test_rotating_shows_the_new_secret_once_and_says_when_the_old_one_ends() -> None:
    made = make_api_key(make_workspace("Lab"))
    answer = run("apikey", "rotate", made.row.prefix, "--overlap", "24h").answer
    old, new = (
        principal_row(api_key_digest(one, pepper=settings.LUMYX_API_KEY_PEPPER))
        for one in (made.secret, answer["secret"])
    )
    assert old is not None
    assert new is not None
    assert old.api_key_id == new.api_key_id == made.row.pk
    assert old.secret_ends_at is not None
    assert old.secret_ends_at.isoformat()[:23] == answer["old_secret_ends_at"][:23]
    assert abs(old.secret_ends_at - clock.now() - dt.timedelta(days=1)) < dt.timedelta(minutes=1)
    assert (answer["old_prefix"], answer["prefix"]) == (made.row.prefix, answer["secret"][:11])
    assert answer["prefix"] != made.row.prefix


@pytest.mark.parametrize("overlap", ["31d", "1000000m"])
def test_an_overlap_that_is_too_long_is_refused(overlap: str) -> None:
    prefix = make_api_key(make_workspace("Lab")).row.prefix
    ran = run("apikey", "rotate", prefix, "--overlap", overlap)
    assert "0 minutes to 30 days" in ran.message or "no length of time" in ran.message


def test_a_revoked_key_is_not_rotated() -> None:
    prefix = make_api_key(make_workspace("Lab")).row.prefix
    run("apikey", "revoke", prefix)
    assert "revoked for good" in run("apikey", "rotate", prefix).refusal


def test_switching_off_and_on_and_each_twice() -> None:
    prefix = make_api_key(make_workspace("Lab")).row.prefix
    off = run("apikey", "disable", prefix).answer
    assert (off["state"], off["prefix"], off["workspace"]) == ("disabled", prefix, "lab")
    assert run("apikey", "disable", prefix).answer == off
    assert run("apikey", "enable", prefix).answer["state"] == "active"
    assert run("apikey", "enable", prefix).answer["disabled_at"] is None


def test_the_list_says_what_is_left_and_no_secret() -> None:
    make_workspace("Lab")
    secret = create("--budget", "5", "--period", "week").answer["secret"]
    ran = run("apikey", "list", "--workspace", "lab")
    (key,) = ran.answer["keys"]
    assert (key["state"], key["budget"], key["period"]) == ("active", "5", "week")
    assert (key["budget_left"]["left"], key["budget_left"]["spent"]) == ("5", "0")
    assert secret not in ran.out
