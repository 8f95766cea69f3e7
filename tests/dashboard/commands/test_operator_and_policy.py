"""manage.py operator and policy."""

import pytest
from django.test import Client

from accounts.models import PolicyAcceptance, User
from tests.dashboard.commands.shell import run
from tests.factories import PASSWORD, make_user, make_workspace

pytestmark = pytest.mark.django_db


def test_an_operator_can_open_the_admin(client: Client) -> None:
    answer = run("operator", "create", "Op@Example.com", "--password", PASSWORD).answer
    assert answer == {"email": "op@example.com", "is_superuser": True, "has_password": True}
    signed_in = client.post("/login", {"login": "op@example.com", "password": PASSWORD, "next": "/admin/"})
    assert (signed_in.status_code, signed_in["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


def test_without_a_password_it_says_how_to_set_one() -> None:
    ran = run("operator", "create", "op@example.com")
    assert ran.answer["has_password"] is False
    assert "manage.py changepassword op@example.com" in ran.err


def test_an_existing_user_is_never_promoted() -> None:
    make_user("op@example.com")
    assert run("operator", "create", "OP@example.com", "--password", "other").refusal == (
        "A user with the e-mail address op@example.com exists already."
    )
    user = User.objects.get()
    assert not user.is_staff
    assert user.check_password(PASSWORD)


def test_a_bad_address_is_refused() -> None:
    assert run("operator", "create", "op").refusal == "'op' is not an e-mail address."
    assert not User.objects.exists()


def test_a_policy_is_accepted_and_twice_is_once() -> None:
    make_workspace("Lab")
    arguments = ("policy", "accept", "--workspace", "lab", "--policy", "uncensored")
    answer = run(*arguments).answer
    assert (answer["workspace"], answer["policy"], answer["version"]) == ("lab", "uncensored", 1)
    assert run(*arguments).answer == answer
    assert PolicyAcceptance.objects.get().accepted_by == "operator"


def test_what_does_not_exist_is_a_clear_error() -> None:
    make_workspace("Lab")
    assert "There is no policy 'adult'" in run("policy", "accept", "--workspace", "lab", "--policy", "adult").refusal
    assert "There is no workspace 'x'" in run("policy", "accept", "--workspace", "x", "--policy", "uncensored").refusal
    assert not PolicyAcceptance.objects.exists()


@pytest.mark.parametrize(
    ("command", "subcommands"),
    [
        ("workspace", ["create", "show", "suspend", "resume", "limits", "tier"]),
        ("apikey", ["create", "revoke"]),
        ("operator", ["create", "reset-second-factor"]),
        ("policy", ["accept"]),
    ],
)
def test_help_lists_every_subcommand(command: str, subcommands: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(subcommand in shown for subcommand in subcommands)
