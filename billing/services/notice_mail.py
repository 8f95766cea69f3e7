"""A notice as an e-mail: subject, text and HTML from the templates of its kind, with links at the site's own address."""

import datetime as dt
from collections.abc import Mapping
from email.policy import default
from typing import Any

import msgspec
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template import Context
from django.template.loader import get_template
from django.urls import reverse

from accounts.models import User
from billing.models import Notice
from billing.services.mutes import unsubscribe_url
from billing.services.notice_kinds import MUTABLE, facts_of, time_of
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD, format_usd

SUBJECT_LENGTH = 59
#: RFC 5322 allows lines of 998 characters. Python would write a link that is longer than 78 as encoded words, which is no link.
_LINE_LENGTH = 990
_CENT = NANO_PER_USD // 100
_AMOUNTS = ("amount", "credit", "threshold", "credit_taken")
_TIMES = ("paid_at", "period_end", "deletes_at")
_PEOPLE = ("by", "member", "giver", "taker")
#: Codes of the payment provider that people are told in words; a sentence stays as it is.
_REASONS = {
    "authentication_required": "Your bank asks you to confirm payments.",
    "card_declined": "The card was declined.",
    "expired_card": "The card has expired.",
    "insufficient_funds": "The card has not enough funds.",
    "no_payment_method": "There is no card or other way to pay on file.",
}


class NoticeMessage(EmailMultiAlternatives):
    """A message whose headers keep long links in one piece."""

    def message(self, *, policy: Any = default) -> Any:
        """Return the message as it is sent."""
        return super().message(policy=policy.clone(max_line_length=_LINE_LENGTH))


def message_of(notice: Notice, *, person: User) -> NoticeMessage:
    """Return a notice as a message to one person. Raises FactsError for facts that the kind's text cannot do with."""
    facts = facts_of(notice.kind, notice.facts)
    context = {
        "workspace": notice.workspace.name,
        "site_url": settings.LUMYX_SITE_URL,
        "credits_url": settings.LUMYX_SITE_URL + reverse("dashboard:credits"),
        "pricing_url": settings.LUMYX_SITE_URL + reverse("site:pricing"),
        "dashboard_url": settings.LUMYX_SITE_URL + reverse("dashboard:overview"),
        "members_url": settings.LUMYX_SITE_URL + reverse("dashboard:members"),
        "settings_url": settings.LUMYX_SITE_URL + reverse("dashboard:workspace"),
        **shown(msgspec.structs.asdict(facts), zone=clock.zone(notice.workspace.time_zone)),
    }
    if "person" in context:
        context.update(_people(context, reader=person))
    headers = {}
    if notice.kind in MUTABLE:
        context["unsubscribe_url"] = link = unsubscribe_url(person.pk, kind=notice.kind)
        headers = {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    return compose(notice.kind, to=person.email, context=context, headers=headers)


def compose(kind: str, *, to: str, context: dict[str, Any], headers: Mapping[str, str] | None = None) -> NoticeMessage:
    """Return the message that the templates of a kind make of a context, to one address."""
    subject = " ".join(_render(f"emails/{kind}_subject.txt", context).split())
    context = {"site_url": settings.LUMYX_SITE_URL, **context, "subject": subject}
    message = NoticeMessage(
        subject=subject if len(subject) <= SUBJECT_LENGTH else subject[: SUBJECT_LENGTH - 1].rstrip() + "…",
        body=_render(f"emails/{kind}_message.txt", context),
        to=[to],
        headers={**(headers or {}), "Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(_render(f"emails/{kind}_message.html", context, escapes=True), "text/html")
    return message


def _people(facts: Mapping[str, Any], *, reader: User) -> dict[str, Any]:
    """Return the people of a notice as they are called now, and whether the reader is the new owner."""
    ids = {name: facts[name] for name in _PEOPLE if name in facts}
    names = {user.pk: user.name or user.email for user in User.objects.filter(pk__in=ids.values())}
    words = {name: names.get(id, "somebody who is gone") if id else "An operator" for name, id in ids.items()}
    return {**words, "is_taker": ids.get("taker") == reader.pk}


def shown(facts: dict[str, Any], *, zone: dt.tzinfo = dt.UTC) -> dict[str, Any]:
    """Return facts for people: amounts as dollars, times in words, in the workspace's time zone."""
    words = dict(facts)
    words.update({name: dollars(facts[name]) for name in _AMOUNTS if facts.get(name) is not None})
    words.update({name: _day(time_of(facts[name]).astimezone(zone)) for name in _TIMES if facts.get(name)})
    if "reason" in facts:
        words["reason"] = _REASONS.get(facts["reason"], facts["reason"].replace("_", " "))
    if "balance" in facts:
        # Rounded down: what is below $5 must not be called $5.00.
        words["balance"] = dollars(facts["balance"] // _CENT * _CENT)
    return words


def dollars(nano: int) -> str:
    """Return nano-USD exactly, with two decimals or as many as it needs ("$5.00", "$0.0042")."""
    places = next(places for places in range(2, 10) if nano % 10 ** (9 - places) == 0)
    return format_usd(nano, places=places)


def _day(at: dt.datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def _render(name: str, context: dict[str, Any], *, escapes: bool = False) -> str:
    template: Any = get_template(name)
    return str(template.template.render(Context(context, autoescape=escapes)))
