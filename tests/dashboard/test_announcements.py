"""Announcements: written in the admin, seen in the dashboard for their time, put away by each person for themselves."""

import datetime as dt
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Announcement, AuditEntry, Dismissal
from accounts.services.users import create_user
from lumyx.lib import clock
from tests.accounts.admin_pages import staff
from tests.factories import PASSWORD, Cast, make_cast

pytestmark = pytest.mark.django_db

TEXT = "We are moving on Sunday."


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


@pytest.fixture
def operator() -> Client:
    """Return a superuser's browser."""
    browser = Client()
    browser.force_login(create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True))
    return browser


def announce(text: str = TEXT, **fields: Any) -> Announcement:
    """Make an announcement."""
    return Announcement.objects.create(text=text, **fields)


def dismiss(client: Client, announcement: Announcement, **data: str) -> Any:
    """Put an announcement away, as its form does."""
    return client.post(f"/dashboard/announcements/{announcement.pk}/dismiss", data)


def sent(**fields: str) -> dict[str, str]:
    """Return the admin's form as a browser sends it."""
    form = {"text": TEXT, "level": "info", "is_active": "on", "starts_at_0": "2026-01-01", "starts_at_1": "00:00:00"}
    return form | {"ends_at_0": "", "ends_at_1": ""} | fields


def test_it_is_on_every_page_of_the_dashboard_and_not_on_the_site(alice: Client) -> None:
    announce(level="critical")
    for page in ("/dashboard", "/dashboard/usage", "/dashboard/account", "/dashboard/members"):
        answer = alice.get(page)
        assert TEXT in answer.text, page
        assert 'class="banner told critical"' in answer.text
    for page in ("/", "/pricing", "/login"):
        assert TEXT not in Client().get(page).text


@pytest.mark.parametrize(
    ("fields", "is_shown"),
    [
        ({}, True),
        ({"is_active": False}, False),
        ({"starts_at": dt.timedelta(minutes=1)}, False),
        ({"starts_at": -dt.timedelta(hours=2), "ends_at": -dt.timedelta(seconds=1)}, False),
        ({"ends_at": dt.timedelta(minutes=1)}, True),
    ],
)
def test_it_is_shown_for_its_time(alice: Client, fields: dict[str, Any], is_shown: bool) -> None:
    now = clock.now()
    at: dict[str, Any] = {n: now + value if isinstance(value, dt.timedelta) else value for n, value in fields.items()}
    announce(**at)
    assert (TEXT in alice.get("/dashboard").text) is is_shown


def test_text_is_text(alice: Client) -> None:
    announce("<script>alert(1)</script> & <b>more</b>")
    text = alice.get("/dashboard").text
    assert "<script>alert(1)" not in text
    assert "&lt;b&gt;more&lt;/b&gt;" in text


def test_putting_it_away_is_for_one_person_everywhere_and_leads_back(alice: Client, cast: Cast) -> None:
    announcement = announce()
    assert 'value="/dashboard/usage?days=7"' in alice.get("/dashboard/usage?days=7").text
    answer = dismiss(alice, announcement, next="/dashboard/usage?days=7")
    assert answer["Location"] == "/dashboard/usage?days=7"
    assert TEXT not in alice.get("/dashboard").text
    elsewhere = Client()
    elsewhere.force_login(cast.alice)
    assert TEXT not in elsewhere.get("/dashboard").text
    elsewhere.force_login(cast.bob)
    assert TEXT in elsewhere.get("/dashboard").text
    dismiss(alice, announcement)
    assert Dismissal.objects.count() == 1


@pytest.mark.parametrize("back", ["", "https://evil.example/", "//evil.example", "/\\evil.example", "dashboard"])
def test_it_leads_to_pages_of_this_site_only(alice: Client, back: str) -> None:
    assert dismiss(alice, announce(), next=back)["Location"] == "/dashboard"


def test_one_that_is_over_or_was_never_there_leads_back_all_the_same(alice: Client) -> None:
    over = announce(is_active=False)
    assert dismiss(alice, over).status_code == 302
    assert alice.post("/dashboard/announcements/999/dismiss").status_code == 302
    assert not Dismissal.objects.exists()


def test_strangers_are_asked_to_sign_in_and_a_link_puts_nothing_away(alice: Client) -> None:
    announcement = announce()
    assert dismiss(Client(), announcement)["Location"].startswith("/login?next=/")
    assert alice.get(f"/dashboard/announcements/{announcement.pk}/dismiss").status_code == 405


def test_the_newest_three_are_shown_in_one_query(alice: Client) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            alice.get("/dashboard")
        return len(queries)

    alice.get("/dashboard")
    before = asked()
    for number in range(5):
        announce(f"News {number}.", starts_at=clock.now() - dt.timedelta(hours=9 - number))
    assert asked() == before
    text = alice.get("/dashboard").text
    assert [number for number in range(5) if f"News {number}." in text] == [2, 3, 4]
    assert text.index("News 4.") < text.index("News 2.")


def test_operators_write_them_and_every_change_is_written_down(operator: Client, alice: Client) -> None:
    add = reverse("admin:accounts_announcement_add")
    assert operator.post(add, sent(text="  We are\r\nmoving on Sunday. ")).status_code == 302
    row = Announcement.objects.get()
    assert (row.text, row.revision) == (TEXT, 1)
    assert TEXT in alice.get("/dashboard").text
    change = reverse("admin:accounts_announcement_change", args=[row.pk])
    operator.post(change, sent(is_active=""))
    assert TEXT not in alice.get("/dashboard").text
    operator.post(reverse("admin:accounts_announcement_delete", args=[row.pk]), {"post": "yes"})
    told = AuditEntry.objects.filter(target_kind="announcement").order_by("pk").values_list("details__what", flat=True)
    assert list(told) == ["added announcement", "changed announcement", "deleted announcement"]


def test_what_says_something_else_is_shown_again_to_who_put_it_away(operator: Client, alice: Client) -> None:
    row = announce()
    dismiss(alice, row)
    change = reverse("admin:accounts_announcement_change", args=[row.pk])
    operator.post(change, sent(ends_at_0="2099-01-01", ends_at_1="00:00:00"))
    assert TEXT not in alice.get("/dashboard").text, "only its end changed"
    operator.post(change, sent(level="critical"))
    assert TEXT in alice.get("/dashboard").text
    row.refresh_from_db()
    dismiss(alice, row)
    assert TEXT not in alice.get("/dashboard").text


def test_it_has_to_end_after_it_starts(operator: Client) -> None:
    page = operator.post(reverse("admin:accounts_announcement_add"), sent(ends_at_0="2026-01-01", ends_at_1="00:00:00"))
    assert "It has to end after it starts." in page.text
    now = clock.now()
    with pytest.raises(IntegrityError), transaction.atomic():
        announce(starts_at=now, ends_at=now)
    assert not Announcement.objects.exists()


def test_the_list_says_which_are_shown_now(operator: Client) -> None:
    announce("On now.")
    announce("Switched off.", is_active=False)
    page = operator.get(reverse("admin:accounts_announcement_changelist")).text
    assert page.count("icon-yes.svg") == 1
    assert page.count("icon-no.svg") == 1


def test_only_who_may_write_them_does() -> None:
    announcement = announce()
    browser = staff("accounts.view_announcement")
    assert browser.post(reverse("admin:accounts_announcement_add"), sent()).status_code == 403
    change = reverse("admin:accounts_announcement_change", args=[announcement.pk])
    assert browser.post(change, sent(text="x")).status_code == 403
