"""manage.py workspace: the operators' contract, and that a refusal leaves nothing behind."""

import re

import pytest
from allauth.account.models import EmailAddress

from accounts.models import User, Workspace
from accounts.roles import Role
from accounts.services.policies import accept_policy
from billing.models import CreditGrant, LimitOverride
from billing.selectors.ledger import balance_of
from billing.selectors.tiers import entitlements_of
from tests.dashboard.commands.shell import Ran, run
from tests.factories import PASSWORD, fund, make_api_key, make_member, make_user, make_workspace

pytestmark = pytest.mark.django_db


def create(*options: str, name: str = "Lab", owner: str = "dana@example.com") -> Ran:
    """Run ``workspace create``."""
    return run("workspace", "create", "--name", name, "--owner", owner, *options)


def test_a_workspace_is_set_up_with_its_owner_tier_and_credit() -> None:
    ran = create("--password", PASSWORD, "--tier", "vip2", "--credits", "12.5")
    workspace = Workspace.objects.get()
    owner = User.objects.get()
    assert ran.answer["slug"] == workspace.slug == "lab"
    assert (ran.answer["owner"], ran.answer["tier"]) == ("dana@example.com", "vip2")
    assert ran.answer["balance"] == {"posted": "12500000000", "held": "0", "available": "12500000000"}
    assert ran.err == ""
    assert workspace.owner == owner
    assert owner.check_password(PASSWORD)
    assert owner.email_is_verified
    assert EmailAddress.objects.get(user=owner).verified
    grant = CreditGrant.objects.exclude(kind="overdraft").get()
    assert (grant.kind, grant.source, grant.expires_at) == ("paid", "operator:workspace-create:lab", None)


def test_a_workspace_alone_is_on_free_without_credit() -> None:
    answer = create().answer
    assert (answer["tier"], answer["balance"]["posted"]) == ("free", "0")
    assert answer["limits"]["daily"] == 25


def test_without_a_password_it_says_how_to_set_one() -> None:
    ran = create()
    assert "manage.py changepassword dana@example.com" in ran.err
    assert not User.objects.get().has_usable_password()


def test_an_existing_user_becomes_the_owner_unchanged() -> None:
    user = make_user("dana@example.com", verified=False)
    ran = create(owner="Dana@Example.com")
    assert ran.err == ""
    assert Workspace.objects.get().owner == user
    assert not User.objects.get().email_is_verified


def test_an_existing_users_own_password_is_accepted_and_another_is_not_set() -> None:
    user = make_user("dana@example.com")
    assert create("--password", PASSWORD).answer["owner"] == user.email
    ran = create("--password", "something else", name="Second")
    assert "exists already, with another password" in ran.refusal
    assert User.objects.get().check_password(PASSWORD)
    assert Workspace.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tier", "gold"], "There is no tier 'gold'. There are: free, vip1, vip2, vip3, vip4"),
        (["--credits", "ten"], "'ten' is not an amount in US dollars."),
        (["--credits", "0"], "must be more than 0 US dollars, not 0"),
        (["--credits", "-1"], "must be more than 0 US dollars, not -1"),
        (["--credits", "0.0000000001"], "has more than nine decimals"),
        (["--credits", "1e30"], "is not an amount that can be stored"),
        (["--owner", "nobody"], "'nobody' is not an e-mail address."),
        (["--name", " "], "A workspace's name has 1 to 120 characters"),
    ],
)
def test_a_refusal_is_one_clear_sentence_and_leaves_nothing(options: list[str], message: str) -> None:
    assert message in create(*options).refusal
    assert not User.objects.exists()
    assert not Workspace.objects.exists()
    assert not CreditGrant.objects.exists()


def test_a_name_whose_slug_is_taken_is_refused_and_nothing_is_granted() -> None:
    first = create("--credits", "5").answer["slug"]
    assert create("--credits", "5", name="LAB").refusal == "A workspace with the slug 'lab' exists already."
    assert balance_of(Workspace.objects.get(slug=first).pk).posted == 5_000_000_000
    assert Workspace.objects.count() == 1


@pytest.mark.parametrize("options", [["--password", ""], ["--credits"], ["--nonsense"]])
def test_wrong_usage_is_told_apart(options: list[str]) -> None:
    ran = create(*options)
    assert ran.message.startswith("Error:")
    assert not Workspace.objects.exists()


def test_show_tells_everything_an_operator_asks() -> None:
    workspace = make_workspace("Lab", owner=make_user("dana@example.com"))
    make_member(workspace, Role.VIEWER, email="vera@example.com")
    key = make_api_key(workspace, name="CI").row
    accept_policy(workspace.pk, policy="uncensored", accepted_by="dana@example.com")
    fund(workspace, "1.25")
    answer = run("workspace", "show", "lab").answer
    created_at = answer.pop("created_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", created_at)
    assert answer == {
        "slug": "lab",
        "name": "Lab",
        "owner": "dana@example.com",
        "owner_verified": True,
        "suspended": False,
        "suspended_at": None,
        "time_zone": "UTC",
        "deletion_due_at": None,
        "suspension_reason": "",
        "tier": "free",
        "limits": {"rpm": 60, "daily": 25},
        "balance": {"posted": "1250000000", "held": "0", "available": "1250000000"},
        "members": [
            {"email": "dana@example.com", "role": "owner"},
            {"email": "vera@example.com", "role": "viewer"},
        ],
        "api_keys": [{"prefix": key.prefix, "name": "CI", "state": "active"}],
        "policies": ["uncensored"],
    }


def test_suspending_and_resuming() -> None:
    workspace = make_workspace("Lab")
    answer = run("workspace", "suspend", "lab", "--reason", "abuse").answer
    assert (answer["suspended"], answer["suspension_reason"]) == (True, "abuse")
    workspace.refresh_from_db()
    assert workspace.is_suspended
    assert run("workspace", "resume", "lab").answer["suspended"] is False


def test_a_tier_is_set_and_taken_back() -> None:
    make_workspace("Lab")
    assert run("workspace", "tier", "lab", "vip4").answer["limits"]["daily"] == 1000
    assert run("workspace", "tier", "lab", "free").answer["tier"] == "free"
    assert "There is no tier 'gold'" in run("workspace", "tier", "lab", "gold").refusal


def test_limits_override_the_tier_and_inherit_clears_them() -> None:
    workspace = make_workspace("Lab")
    assert run("workspace", "limits", "lab", "--rpm", "7").answer["limits"] == {"rpm": 7, "daily": 25}
    assert run("workspace", "limits", "lab", "--daily", "0").answer["limits"] == {"rpm": 7, "daily": 0}
    assert entitlements_of(workspace.pk, owner_id=workspace.owner_id).requests_per_minute == 7
    assert run("workspace", "limits", "lab", "--inherit", "--rpm", "9").answer["limits"] == {"rpm": 9, "daily": 25}
    assert run("workspace", "limits", "lab", "--inherit").answer["limits"] == {"rpm": 60, "daily": 25}
    assert not LimitOverride.objects.exists()


@pytest.mark.parametrize("option", ["--tpm", "--concurrency"])
def test_a_limit_that_nothing_enforces_is_refused_not_stored(option: str) -> None:
    make_workspace("Lab")
    ran = run("workspace", "limits", "lab", "--rpm", "7", option, "5")
    assert ran.refusal.startswith(f"{option} is not enforced by anything yet")
    assert not LimitOverride.objects.exists()


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "", "99999999999", "٣"])
def test_a_limit_that_is_no_whole_number_is_wrong_usage(value: str) -> None:
    make_workspace("Lab")
    assert run("workspace", "limits", "lab", f"--rpm={value}").message.startswith("Error:")
    assert not LimitOverride.objects.exists()


def test_limits_without_an_option_say_what_to_give() -> None:
    make_workspace("Lab")
    assert run("workspace", "limits", "lab").refusal == "Say what to change: --rpm N, --daily N or --inherit."


@pytest.mark.parametrize(
    "arguments",
    [["show", "lab"], ["suspend", "lab"], ["resume", "lab"], ["tier", "lab", "vip1"], ["limits", "lab", "--rpm", "1"]],
)
def test_an_unknown_slug_is_a_clear_error(arguments: list[str]) -> None:
    assert run("workspace", *arguments).refusal == "There is no workspace 'lab'."
