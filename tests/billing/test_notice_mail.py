"""What every notice says: subject, text and HTML, with amounts in dollars and links that lead to the site."""

import email
import email.policy
import re
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User, Workspace
from billing.models import Notice
from billing.services.mutes import unsubscribe_url
from billing.services.notice_kinds import KINDS, Facts
from billing.services.notice_mail import NoticeMessage, dollars, message_of
from tests.billing.notice_facts import FACTS, RECEIPT_URL
from tests.colours import token_colours
from tests.factories import make_user, make_workspace

pytestmark = pytest.mark.django_db

#: Kind → its subject, and what both bodies say.
SAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "receipt": ("Receipt: $21.50 for LumyxAI", ("$21.50", "$20.00", "Visa ending in 4242", "26 November 2026")),
    "low_balance": ("Your balance is below $5.00", ("$4.99", "fell below $5.00")),
    "top_up_failed": (
        "Automatic top-up stopped",
        ("$25.00", "The card was declined.", "switched the automatic top-up"),
    ),
    "payment_action_needed": ("Please confirm a payment of $30.00", ("https://pay.example.com/confirm/pi_1",)),
    "subscription_started": ("Welcome to VIP 2", ("$15.00 a month", "31 January 2027")),
    "subscription_renewed": ("VIP 2 was renewed", ("$15.00 a month", "31 January 2027")),
    "subscription_changed": ("You are on VIP 2 now", ("$15.00 a month", "31 January 2027")),
    "subscription_past_due": ("A payment for VIP 2 failed", ("$15.00 a month", "seven days")),
    "subscription_ended": ("VIP 2 has ended", ("31 January 2027", "http://testserver/pricing")),
    "refund": ("Refund of $10.00", ("$10.00", "$9.123456789")),
    "dispute_opened": ("A payment of $40.00 is disputed", ("$40.00", "frozen")),
    "member_joined": ("somebody who is gone joined", ("developer", "http://testserver/dashboard/members")),
    "role_changed": ("Your role is viewer now", ("An operator changed your role", "admin")),
    "member_removed": ("You were removed from <b>Ann & Bob's</b>", ("An operator removed you", "revoked")),
    "ownership_transferred": (
        "<b>Ann & Bob's</b> has a new owner",
        ("somebody who is gone owns", "You handed the workspace over"),
    ),
    "deletion_planned": ("<b>Ann & Bob's</b> will be deleted", ("31 January 2027", "refused from now on")),
    "deletion_undone": ("<b>Ann & Bob's</b> stays", ("An operator took the deletion back",)),
    "workspace_deleted": ("<b>Ann & Bob's</b> was deleted", ("Its owner has deleted their account", "refused")),
    "dispute_closed": ("The dispute about $40.00 is closed", ("The bank kept the payment of $40.00",)),
}


@pytest.fixture
def workspace() -> Workspace:
    """Return a workspace whose name wants to be escaped."""
    return make_workspace("<b>Ann & Bob's</b>")


def letter(kind: str, workspace: Workspace, *, person: User | None = None, facts: Facts | None = None) -> NoticeMessage:
    """Return a notice as a message."""
    notice = Notice(kind=kind, workspace=workspace, key=kind, facts=dict(facts or FACTS[kind]))
    return message_of(notice, person=person or workspace.owner)


def html_of(message: NoticeMessage) -> str:
    """Return the HTML of a message."""
    [(content, kind)] = message.alternatives
    assert kind == "text/html"
    return str(content)


def plain(html: str) -> str:
    """Return HTML's text."""
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return text.replace("&#x27;", "'").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("kind", KINDS)
def test_a_notice_says_what_happened_in_text_and_html(workspace: Workspace, kind: str) -> None:
    message = letter(kind, workspace)
    subject, words = SAYS[kind]
    assert message.subject == subject
    for body, readable in ((str(message.body), str(message.body)), (html_of(message), plain(html_of(message)))):
        missing = [word for word in words if word not in readable and word not in body]
        assert missing == []
        assert "<b>Ann & Bob's</b>" in readable
        assert not re.search(r"[{}]{2}|\bNone\b", body)
        assert not re.search(r"\d{8,}", re.sub(r"https?://\S+|\$[0-9.]+", "", body)), "an amount that is not in dollars"


@pytest.mark.parametrize("kind", KINDS)
def test_html_escapes_names_and_text_does_not(workspace: Workspace, kind: str) -> None:
    message = letter(kind, workspace)
    assert "<b>Ann" not in html_of(message)
    assert "&amp;" not in str(message.body)
    assert "&lt;" not in str(message.body)


@pytest.mark.parametrize("kind", KINDS)
def test_every_link_is_absolute_and_nothing_is_fetched(workspace: Workspace, kind: str) -> None:
    html = html_of(letter(kind, workspace))
    links = re.findall(r'href="([^"]*)"', html)
    assert links
    assert [link for link in links if not re.match(r"https?://", link)] == []
    assert re.findall(r"<img|src=|url\(|@import|<link|<script", html) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_has_a_preheader_and_a_plain_text_of_short_paragraphs(workspace: Workspace, kind: str) -> None:
    message = letter(kind, workspace)
    preheader = re.search(r'<div style="display:none[^>]*>(.*?)(?:&#847;|</div>)', html_of(message), re.DOTALL)
    assert preheader is not None
    assert len(preheader[1].strip()) > 10
    assert "\n\n\n" not in str(message.body)
    assert str(message.body).endswith("LumyxAI\nhttp://testserver\n")


def test_subjects_stay_below_sixty_characters(workspace: Workspace) -> None:
    for kind, facts in FACTS.items():
        longest: dict[str, Any] = {**facts, "amount": 2**63 - 1} if "amount" in facts else dict(facts)
        if "tier_name" in facts:
            longest["tier_name"] = "An exceedingly long name that an operator gave to a tier"
        subject = letter(kind, workspace, facts=longest).subject
        assert 0 < len(subject) < 60, subject
        assert "\n" not in subject


def test_a_receipt_without_a_link_or_a_method_leaves_them_out(workspace: Workspace) -> None:
    bare = {**FACTS["receipt"], "receipt_url": "", "is_top_up": True}
    del bare["method"]
    message = letter("receipt", workspace, facts=bare)
    for body in (str(message.body), html_of(message)):
        assert "Paid with" not in body
        assert "Open the receipt" not in body
        assert "automatic top-up of" in body
        assert "http://testserver/dashboard/credits" in body
    assert RECEIPT_URL in str(letter("receipt", workspace).body)


def test_an_ended_subscription_needs_no_amount_and_no_period(workspace: Workspace) -> None:
    facts = {"tier_name": "VIP 1", "interval": "year", "period_end": ""}
    for kind in ("subscription_changed", "subscription_past_due", "subscription_ended"):
        body = str(letter(kind, workspace, facts=facts).body)
        assert "None" not in body
        assert "a year" not in body


def test_a_dispute_that_was_won_says_so(workspace: Workspace) -> None:
    message = letter("dispute_closed", workspace, facts={**FACTS["dispute_closed"], "won": True})
    for body in (str(message.body), html_of(message)):
        assert "The payment of $40.00 stands" in body
        assert "kept" not in body


def test_a_top_up_that_goes_on_is_not_called_stopped(workspace: Workspace) -> None:
    message = letter("top_up_failed", workspace, facts={**FACTS["top_up_failed"], "stopped": False})
    assert message.subject == "Automatic top-up failed"
    assert "We will try again" in str(message.body)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("no_payment_method", "There is no card or other way to pay on file."),
        ("processing_error", "processing error"),
        ("Your bank said no.", "Your bank said no."),
    ],
)
def test_the_reason_of_a_failed_top_up_is_told_in_words(workspace: Workspace, reason: str, words: str) -> None:
    message = letter("top_up_failed", workspace, facts={**FACTS["top_up_failed"], "reason": reason})
    assert f"Reason: {words}" in str(message.body)
    assert words in plain(html_of(message))


def test_only_what_can_be_done_without_can_be_unsubscribed(workspace: Workspace) -> None:
    for kind in KINDS:
        message = letter(kind, workspace)
        assert ("List-Unsubscribe" in message.extra_headers) == (kind == "low_balance")
        assert ("/unsubscribe/" in str(message.body) + html_of(message)) == (kind == "low_balance")


def test_the_one_click_link_is_whole_in_the_message_as_it_is_sent(workspace: Workspace) -> None:
    raw = letter("low_balance", workspace).message(policy=email.policy.SMTP).as_bytes()
    head = raw.partition(b"\r\n\r\n")[0]
    link = unsubscribe_url(workspace.owner_id, kind="low_balance")
    assert len(link) > 78
    assert f"\r\nList-Unsubscribe: <{link}>\r\n".encode() in head
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in head
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    parsed = email.message_from_bytes(raw, EmailMessage, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in parsed.iter_parts()] == ["text/plain", "text/html"]


def test_a_message_names_one_person_only(workspace: Workspace) -> None:
    other = make_user("other@example.com")
    raw = letter("refund", workspace, person=other).message().as_string()
    assert "To: other@example.com" in raw
    assert workspace.owner.email not in raw


def test_links_come_from_the_settings(workspace: Workspace, settings: Any) -> None:
    settings.LUMYX_SITE_URL = "https://lumyx.example"
    message = letter("low_balance", workspace)
    assert "testserver" not in str(message.body) + html_of(message) + str(message.extra_headers)
    assert "https://lumyx.example/dashboard/credits" in str(message.body)


@pytest.mark.parametrize(
    ("nano", "shown"), [(5 * 10**9, "$5.00"), (4_200_000, "$0.0042"), (1, "$0.000000001"), (0, "$0.00")]
)
def test_dollars_are_exact(nano: int, shown: str) -> None:
    assert dollars(nano) == shown


def test_the_colours_are_those_of_the_tokens() -> None:
    known = token_colours(Path(settings.BASE_DIR) / "static" / "css" / "tokens.css")
    for path in (Path(settings.BASE_DIR) / "templates" / "emails").glob("*.html"):
        used = set(re.findall(r"#[0-9a-f]{6}\b", path.read_text()))
        assert used - known == set(), path.name
