"""The admin's list of notices: to look at, and to send again what was given up."""

import pytest
from django.core import mail
from django.db.models.functions import Now
from django.test import Client

from billing.models import Notice
from billing.services.notice_sending import send_notices
from billing.services.notices import owe
from tests.accounts.admin_pages import act, page_of, staff
from tests.billing.notice_facts import FACTS
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def given_up() -> Notice:
    """Return a notice that could not be sent."""
    workspace = make_workspace()
    owe("refund", workspace_id=workspace.pk, key="refund:re_1", facts=FACTS["refund"])
    Notice.objects.update(attempts=15, gave_up_at=Now(), error="SMTPDataError: looks like spam")
    return Notice.objects.get()


def operator() -> Client:
    """Return the browser of somebody who may look at notices and send them again."""
    return staff("billing.view_notice", "billing.change_notice")


def test_what_was_given_up_is_listed_with_its_error(given_up: Notice) -> None:
    pages = {
        state: operator().get(page_of(Notice, "changelist"), {"state": state}).text
        for state in ("given_up", "sent", "waiting")
    }
    assert "looks like spam" in pages["given_up"]
    assert "refund:re_1" not in pages["sent"] + pages["waiting"]


def test_it_can_be_sent_again(given_up: Notice) -> None:
    act(operator(), Notice, "send_again", given_up)
    given_up.refresh_from_db()
    assert (given_up.attempts, given_up.error, given_up.gave_up_at) == (0, "", None)
    assert send_notices() == 1
    act(operator(), Notice, "send_again", given_up)
    assert send_notices() == 0
    assert len(mail.outbox) == 1


def test_who_may_only_look_cannot_send(given_up: Notice) -> None:
    client = staff("billing.view_notice")
    assert client.get(page_of(Notice, "changelist")).status_code == 200
    client.post(page_of(Notice, "changelist"), {"action": "send_again", "_selected_action": [str(given_up.pk)]})
    given_up.refresh_from_db()
    assert given_up.gave_up_at is not None


def test_nobody_writes_or_removes_a_notice(given_up: Notice) -> None:
    client = staff("billing.view_notice", "billing.change_notice", "billing.add_notice", "billing.delete_notice")
    for path in (
        page_of(Notice, "add"),
        page_of(Notice, "change", given_up.pk),
        page_of(Notice, "delete", given_up.pk),
    ):
        assert client.post(path, {"key": "x", "post": "yes"}).status_code == 403
    assert Notice.objects.get().key == "refund:re_1"
