"""The operators' overview: the installation's figures, and what waits for somebody; each part for those who may see its page.

A constant number of queries, whatever there is: sums, counts, and one short list.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.urls import reverse

from billing.selectors import troubles
from gateway.selectors.below_cost import sold_below_cost
from gateway.selectors.standing import Standing, counted_until, last_day, last_week, troubled_upstreams


@dataclass(frozen=True, slots=True)
class Care:
    """Something that waits for an operator, or is in order: "ok", "warn" or "bad", in words, and the page about it."""

    level: str
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What the front page of the admin shows. ``periods`` are (heading, sums); empty for who may not see usage."""

    periods: list[tuple[str, Standing]]
    counted_until: dt.datetime | None
    cares: list[Care]


def overview_for(may: Callable[[str], bool]) -> Overview | None:
    """Return the overview of somebody with these rights ("gateway.view_upstream"); None: there is nothing they may see."""
    sees_usage = may("gateway.view_upstreamusage")
    cares = [care for permission, look in _LOOKS if may(permission) for care in look()]
    if not sees_usage and not cares:
        return None
    periods = [("Last 24 hours", last_day()), ("Last 7 days", last_week())] if sees_usage else []
    return Overview(periods, counted_until() if sees_usage else None, cares)


def _inbox() -> Iterator[Care]:
    page = reverse("admin:billing_stripeevent_changelist")
    failed, late = troubles.failed_events(), troubles.late_events()
    if failed:
        yield Care("bad", f"{_count(failed, 'event')} of Stripe could not be applied.", f"{page}?state__exact=failed")
    if late:
        yield Care("bad", f"{_count(late, 'event')} of Stripe waited for over ten minutes.", f"{page}?state__exact=new")
    if not failed and not late:
        yield Care("ok", "Every event of Stripe is applied.", page)


def _books() -> Iterator[Care]:
    newest = troubles.newest_comparison()
    if newest is None:
        yield Care("warn", "The books were never compared yet.", reverse("admin:billing_reconciliation_changelist"))
        return
    page = reverse("admin:billing_reconciliation_change", args=[newest.id])
    if newest.is_clean is False:
        yield Care("bad", "The last comparison of the books found something wrong.", page)
    elif newest.is_late:
        yield Care("warn", "The books were not compared last night.", page)
    elif newest.is_clean is None:
        yield Care("warn", "The last comparison of the books has not come to its end.", page)
    else:
        yield Care("ok", f"The books agree, as of {newest.started_at:%-d %B, %H:%M} UTC.", page)


def _mail() -> Iterator[Care]:
    given_up = troubles.notices_given_up()
    if given_up:
        told = f"{_count(given_up, 'e-mail')} could not be sent, and {'is' if given_up == 1 else 'are'} tried no more."
        yield Care("warn", told, reverse("admin:billing_notice_changelist"))


def _wallets() -> Iterator[Care]:
    frozen = troubles.frozen_wallets()
    if frozen:
        page = reverse("admin:billing_wallet_changelist")
        yield Care("warn", f"{_count(frozen, 'wallet')} {'is' if frozen == 1 else 'are'} frozen.", page)


def _upstreams() -> Iterator[Care]:
    troubled = troubled_upstreams()
    for pk, name, state in troubled:
        level = "bad" if state == "failing" else "warn"
        yield Care(level, f"Upstream {name} is {state}.", reverse("admin:gateway_upstream_change", args=[pk]))
    if not troubled:
        yield Care("ok", "No upstream is paused or failing.", reverse("admin:gateway_upstream_changelist"))


def _prices() -> Iterator[Care]:
    below = {gap.model for gap in sold_below_cost()}
    if below:
        told = f"{_count(len(below), 'model')} {'is' if len(below) == 1 else 'are'} sold below cost."
        yield Care("warn", told, reverse("admin:gateway_upstreamusage_changelist"))


#: Who may see it, and how it is looked at; in the order in which they are shown.
_LOOKS: tuple[tuple[str, Callable[[], Iterator[Care]]], ...] = (
    ("gateway.view_upstream", _upstreams),
    ("billing.view_stripeevent", _inbox),
    ("billing.view_reconciliation", _books),
    ("billing.view_notice", _mail),
    ("billing.view_wallet", _wallets),
    ("gateway.view_upstreamusage", _prices),
)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
