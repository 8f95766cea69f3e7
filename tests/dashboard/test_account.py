"""A person's own page: name, sessions, security log, and who may see it."""

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.models import AuditEntry
from accounts.selectors.signin import device_of
from tests.accounts.signing import acts_of, is_signed_in, proved, signed_in
from tests.factories import PASSWORD, Cast, make_cast, make_user

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def cast() -> Cast:
    """Return Alice, Bob, Charlie and their workspaces."""
    return make_cast()


def test_the_page_is_for_whoever_is_signed_in_with_or_without_a_workspace(cast: Cast) -> None:
    assert Client().get("/dashboard/account")["Location"] == "/login?next=/dashboard/account"
    for user in (cast.alice, make_user("loner@example.com")):
        page = signed_in(user).get("/dashboard/account")
        assert page.status_code == 200
        assert user.email in page.text
        assert page["Cache-Control"] == "no-store, private"


def test_a_name_is_changed_and_a_bad_one_stays_to_be_corrected(cast: Cast) -> None:
    client = signed_in(cast.alice)
    assert client.post("/dashboard/account/name", {"name": "  Alice Liddell "}).status_code == 302
    cast.alice.refresh_from_db()
    assert cast.alice.name == "Alice Liddell"
    bad = client.post("/dashboard/account/name", {"name": "a\u0007b"})
    assert bad.status_code == 422
    assert "all of them printable" in bad.text
    cast.alice.refresh_from_db()
    assert cast.alice.name == "Alice Liddell"
    assert acts_of(cast.alice)[-1] == "account.renamed"


def test_sessions_are_listed_and_one_is_ended_from_another(cast: Cast) -> None:
    here, there = signed_in(cast.alice), Client(headers={"user-agent": FIREFOX}, REMOTE_ADDR="198.51.100.7")
    there.post("/login", {"login": cast.alice.email, "password": PASSWORD})
    page = here.get("/dashboard/account")
    assert "Firefox on Linux" in page.text
    assert "198.51.100.7" in page.text
    sessions = page.context["sessions"]
    assert [seen.is_current for seen in sessions] == [True, False]
    assert here.post(f"/accounts/sessions/{sessions[1].id}/end").status_code == 302
    assert not is_signed_in(there)
    assert is_signed_in(here)
    assert "account.session_ended" in acts_of(cast.alice)


def test_another_persons_session_is_not_there(cast: Cast) -> None:
    bob = signed_in(cast.bob)
    session = bob.get("/dashboard/account").context["sessions"][0]
    assert signed_in(cast.alice).post(f"/accounts/sessions/{session.id}/end").status_code == 404
    assert is_signed_in(bob)
    assert signed_in(cast.alice).post("/accounts/sessions/999999/end").status_code == 404


def test_signing_out_everywhere_else_leaves_this_session_alone(cast: Cast) -> None:
    here, others = signed_in(cast.alice), [signed_in(cast.alice) for _ in range(2)]
    stranger = signed_in(cast.bob)
    assert here.post("/accounts/sessions/").status_code == 302
    assert not any(is_signed_in(other) for other in others)
    assert is_signed_in(here)
    assert is_signed_in(stranger)


def test_another_password_ends_the_other_sessions(cast: Cast) -> None:
    here, other = proved(cast.alice), signed_in(cast.alice)
    new = "another long password"
    here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert is_signed_in(here)
    assert not is_signed_in(other)
    assert acts_of(cast.alice)[-1] == "account.password_changed"


def test_a_session_in_use_is_marked_as_seen_and_not_at_every_request(
    cast: Cast, django_assert_max_num_queries: object
) -> None:
    client = signed_in(cast.alice)
    before = client.get("/dashboard/account").context["sessions"][0].seen_at
    cache.clear()
    assert client.get("/dashboard/account").context["sessions"][0].seen_at > before
    after = client.get("/dashboard/account").context["sessions"][0].seen_at
    assert client.get("/dashboard/account").context["sessions"][0].seen_at == after


def test_the_log_has_ones_own_lines_newest_first_a_page_at_a_time(cast: Cast) -> None:
    client = signed_in(cast.alice)
    Client().post("/login", {"login": cast.alice.email, "password": "wrong"})
    Client().post("/login", {"login": cast.bob.email, "password": "wrong"})
    lines = client.get("/dashboard/account").context["lines"]
    assert [(line.text, line.how, line.is_failure) for line in lines] == [
        ("Failed to sign in", "password", True),
        ("Signed in", "password", False),
    ]
    for _ in range(60):
        AuditEntry.objects.create(actor_kind="user", actor_id=cast.alice.pk, action="account.signed_out")
    first = client.get("/dashboard/account/log")
    assert len(first.context["lines"]) == 50
    second = client.get(f"/dashboard/account/log?before={first.context['more']}")
    assert len(second.context["lines"]) == 12
    assert second.context["more"] is None
    assert client.get("/dashboard/account/log?before=x").status_code == 200
    assert client.get(f"/dashboard/account/log?before={'9' * 30}").status_code == 200


@pytest.mark.parametrize(
    ("described", "called"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1", "Safari on iPhone"),
        ("curl/8.9", "curl/8.9"),
        ("", "Unknown device"),
    ],
)
def test_browsers_are_called_what_people_call_them(described: str, called: str) -> None:
    assert device_of(described) == called
