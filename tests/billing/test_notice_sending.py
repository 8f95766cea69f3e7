"""Sending what is owed: to whom, once, with two senders at once, and through a mail server that fails."""

import datetime as dt
import threading
from collections.abc import Callable
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import Workspace
from accounts.roles import Role
from accounts.services.users import deactivate_user
from accounts.services.workspaces import set_member
from billing.models import Notice
from billing.services import notice_sending
from billing.services.mutes import Wish, mute
from billing.services.notice_mail import NoticeMessage
from billing.services.notice_sending import ATTEMPTS, LONGEST_WAIT, send_again, send_notices, wait_after
from billing.services.notices import owe
from billing.tasks import send_notices as task
from lumyx.lib import clock
from tests.billing.builders import database_now
from tests.billing.notice_facts import FACTS
from tests.factories import make_member, make_user, make_workspace

Sender = Callable[[NoticeMessage], int]


def owe_one(workspace: Workspace, kind: str = "refund", *, key: str = "k") -> Notice:
    """Owe a workspace's people a notice."""
    assert owe(kind, workspace_id=workspace.pk, key=key, facts=FACTS[kind])
    return Notice.objects.get(key=key)


def addresses() -> list[str]:
    """Return who was sent a message, sorted."""
    return sorted(address for message in mail.outbox for address in message.recipients())


def make_due(notice: Notice) -> None:
    """Let the time of the next attempt come."""
    Notice.objects.filter(pk=notice.pk).update(next_attempt_at=Now())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sender], None]:
    """Return a function that puts something in the mail server's place."""

    def replace(sender: Sender) -> None:
        monkeypatch.setattr(NoticeMessage, "send", sender)

    return replace


def refuse(error: Exception) -> Sender:
    """Return a mail server that fails."""

    def send(_message: NoticeMessage) -> int:
        raise error

    return send


@pytest.mark.django_db
def test_who_may_see_billing_gets_one_message_each() -> None:
    workspace = make_workspace(owner=make_user("owner@example.com"))
    for role in (Role.ADMIN, Role.BILLING, Role.DEVELOPER, Role.VIEWER):
        make_member(workspace, role, email=f"{role}@example.com")
    unproved = make_user("unproved@example.com", verified=False)
    set_member(workspace, user=unproved, role=Role.ADMIN)
    deactivate_user(make_member(workspace, Role.ADMIN, email="gone@example.com"))
    make_workspace(owner=make_user("stranger@example.com"))
    notice = owe_one(workspace)
    assert task() == 1
    assert addresses() == ["admin@example.com", "billing@example.com", "owner@example.com"]
    assert all(len(message.recipients()) == 1 for message in mail.outbox)
    notice.refresh_from_db()
    assert notice.sent_at is not None
    assert (notice.attempts, notice.error, len(notice.delivered_to)) == (1, "", 3)


@pytest.mark.django_db
def test_what_was_sent_is_not_sent_again() -> None:
    notice = owe_one(make_workspace())
    assert [send_notices(), send_notices()] == [1, 0]
    make_due(notice)
    assert send_notices() == 0
    assert send_again(Notice.objects.all()) == 0
    assert len(mail.outbox) == 1


@pytest.mark.django_db
def test_where_addresses_need_no_proof_none_is_asked_for(settings: Settings) -> None:
    settings.LUMYX_EMAIL_VERIFICATION = False
    owe_one(make_workspace(owner=make_user("unproved@example.com", verified=False)))
    send_notices()
    assert addresses() == ["unproved@example.com"]


@pytest.mark.django_db
def test_a_notice_for_nobody_is_given_up_and_says_so() -> None:
    owner = make_user(verified=False)
    notice = owe_one(make_workspace(owner=owner))
    send_notices()
    notice.refresh_from_db()
    assert (notice.sent_at, mail.outbox) == (None, [])
    assert notice.gave_up_at is not None
    assert "Nobody could be told" in notice.error


@pytest.mark.django_db
def test_who_muted_a_kind_gets_it_no_more_and_the_others_do() -> None:
    workspace = make_workspace()
    member = make_member(workspace, Role.BILLING, email="calm@example.com")
    mute(Wish(member.pk, "low_balance"))
    owe_one(workspace, "low_balance", key="low")
    owe_one(workspace, "receipt", key="receipt")
    assert send_notices() == 2
    assert addresses() == sorted(["calm@example.com", workspace.owner.email, workspace.owner.email])
    assert [message.to for message in mail.outbox if "below" in message.subject] == [[workspace.owner.email]]


@pytest.mark.django_db
def test_a_notice_that_everybody_muted_is_done_with() -> None:
    workspace = make_workspace()
    mute(Wish(workspace.owner_id, "low_balance"))
    notice = owe_one(workspace, "low_balance")
    assert send_notices() == 1
    notice.refresh_from_db()
    assert (notice.sent_at is not None, mail.outbox) == (True, [])


def test_waits_grow_to_six_hours() -> None:
    waits = [wait_after(attempts) for attempts in range(1, ATTEMPTS + 1)]
    assert waits[:4] == [dt.timedelta(minutes=minutes) for minutes in (1, 2, 4, 8)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT


@pytest.mark.django_db
def test_a_mail_server_that_is_away_is_tried_later_and_the_run_ends(server: Callable[[Sender], None]) -> None:
    workspace = make_workspace()
    first, second = owe_one(workspace, key="1"), owe_one(workspace, key="2")
    server(refuse(ConnectionRefusedError(111, "Connection refused")))
    assert send_notices() == 0
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.attempts, second.attempts) == (1, 0)
    assert "Connection refused" in first.error
    assert dt.timedelta(seconds=30) < first.next_attempt_at - database_now() <= dt.timedelta(minutes=1)


@pytest.mark.django_db
def test_each_failure_waits_longer_and_the_last_is_left_to_an_operator(
    server: Callable[[Sender], None], caplog: pytest.LogCaptureFixture
) -> None:
    server(refuse(SMTPServerDisconnected("Connection unexpectedly closed")))
    notice = owe_one(make_workspace())
    for attempt in range(1, ATTEMPTS + 1):
        make_due(notice)
        assert send_notices() == 0
        notice.refresh_from_db()
        assert notice.attempts == attempt
        assert (notice.gave_up_at is not None) == (attempt == ATTEMPTS)
        if attempt < ATTEMPTS:
            wait = notice.next_attempt_at - database_now()
            assert wait_after(attempt) - dt.timedelta(seconds=30) < wait <= wait_after(attempt)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    make_due(notice)
    send_notices()
    notice.refresh_from_db()
    assert notice.attempts == ATTEMPTS


@pytest.mark.django_db
def test_what_was_given_up_can_be_sent_again() -> None:
    notice = owe_one(make_workspace())
    waiting = owe_one(make_workspace(), key="waiting")
    Notice.objects.filter(pk=notice.pk).update(attempts=ATTEMPTS, gave_up_at=Now(), error="SMTPDataError: no")
    assert send_again(Notice.objects.all()) == 1
    waiting.refresh_from_db()
    assert waiting.attempts == 0
    assert send_notices() == 2
    notice.refresh_from_db()
    assert (notice.sent_at is not None, notice.gave_up_at, notice.error) == (True, None, "")


@pytest.mark.django_db
def test_an_address_that_is_refused_keeps_nobody_else_from_the_message(server: Callable[[Sender], None]) -> None:
    workspace = make_workspace(owner=make_user("refused@example.com"))
    make_member(workspace, Role.BILLING, email="fine@example.com")
    other = owe_one(make_workspace(owner=make_user("other@example.com")), key="other")
    sent: list[str] = []

    def send(message: NoticeMessage) -> int:
        if message.to == ["refused@example.com"]:
            raise SMTPRecipientsRefused({"refused@example.com": (550, b"no such user")})
        sent.extend(message.to)
        return 1

    server(send)
    notice = owe_one(workspace)
    send_notices()
    notice.refresh_from_db()
    other.refresh_from_db()
    assert (notice.sent_at, other.sent_at is not None) == (None, True)
    make_due(notice)
    send_notices()
    assert sorted(sent) == ["fine@example.com", "other@example.com"], "who has it does not get it twice"


@pytest.mark.django_db
def test_a_message_that_is_refused_or_cannot_be_written_does_not_keep_the_others(
    server: Callable[[Sender], None],
) -> None:
    workspace = make_workspace()
    broken = owe_one(workspace, key="broken")
    Notice.objects.filter(pk=broken.pk).update(facts={"amount": "a lot"})
    refused = owe_one(workspace, key="refused")
    fine = owe_one(workspace, "receipt", key="fine")

    def send(message: NoticeMessage) -> int:
        if message.subject.startswith("Refund"):
            raise SMTPDataError(554, b"looks like spam\0")
        return 1

    server(send)
    assert send_notices() == 1
    for notice in (broken, refused, fine):
        notice.refresh_from_db()
    assert fine.sent_at is not None
    assert "credit_taken" in broken.error or "amount" in broken.error
    assert "looks like spam" in refused.error


@pytest.mark.django_db
def test_a_slow_mail_server_does_not_outlast_the_lease(
    server: Callable[[Sender], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace()
    make_member(workspace, Role.BILLING)
    now = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    sent: list[str] = []

    def send(message: NoticeMessage) -> int:
        now[0] += 301
        sent.extend(message.to)
        return 1

    server(send)
    notice = owe_one(workspace)
    send_notices()
    assert len(sent) == 1
    make_due(notice)
    assert send_notices() == 1
    assert len(set(sent)) == len(sent) == 2


@pytest.mark.django_db(transaction=True)
def test_two_senders_at_once_send_each_notice_once(server: Callable[[Sender], None]) -> None:
    workspace = make_workspace()
    for number in range(30):
        owe_one(workspace, key=f"k{number}")
    gate, sent, lock = threading.Barrier(4), list[Any](), threading.Lock()

    def send(message: NoticeMessage) -> int:
        with lock:
            sent.append(message)
        return 1

    def run() -> None:
        try:
            connection.ensure_connection()
            gate.wait(timeout=30)
            send_notices()
        finally:
            connection.close()

    server(send)
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(sent) == 30
    assert Notice.objects.filter(sent_at__isnull=False, attempts=1).count() == 30


@pytest.mark.django_db
def test_a_sender_that_died_is_followed_by_another() -> None:
    notice = owe_one(make_workspace())
    assert notice_sending._take_next() is not None
    assert send_notices() == 0, "a sender has it"
    notice.refresh_from_db()
    assert notice.next_attempt_at - database_now() > dt.timedelta(minutes=9)
    make_due(notice)
    assert send_notices() == 1
    notice.refresh_from_db()
    assert notice.attempts == 2
