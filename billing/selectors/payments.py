"""Reads what was paid and is to be paid: payments, invoices, an order, automatic top-ups, the plan. Amounts are nano-USD."""

import datetime as dt
from dataclasses import dataclass

from django.db import connection
from django.db.models import Q

from billing.models import AutoTopUp, CreditOrder, CreditPlan, Interval, Subscription, SubscriptionStatus
from billing.periods import months_between
from lumyx.lib import clock

#: A plan whose payment failed keeps its limits for so long.
LIMITS_STAY = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class PaymentLine:
    """Money that a workspace paid or was asked for: a purchase, a top-up, or an invoice of its plan.

    ``kind`` is purchase, top_up or plan; ``status`` is paid, failed, or an invoice's (open, void, uncollectible). ``dispute`` is
    Stripe's word, empty without one; ``error`` says in Stripe's code why an order failed.
    """

    at: dt.datetime
    kind: str
    amount: int
    refunded: int
    status: str
    dispute: str
    error: str
    number: str
    receipt_url: str
    invoice_url: str
    pdf_url: str


# What was paid; what was asked for and is not paid; what could not be paid. A draft may still change, so it is not shown.
_LINES = """
SELECT p.paid_at, CASE WHEN o.kind = 'top_up' THEN 'top_up' WHEN o.kind IS NULL THEN 'plan' ELSE 'purchase' END,
       p.amount, p.refunded, 'paid', p.dispute, '', coalesce(i.number, ''), p.receipt_url,
       coalesce(i.hosted_url, ''), coalesce(i.pdf_url, '')
FROM billing_payment p
LEFT JOIN billing_creditorder o ON o.id = p.order_id
LEFT JOIN billing_invoice i ON i.stripe_id = p.invoice_id AND i.workspace_id = p.workspace_id
WHERE p.workspace_id = %(workspace)s
UNION ALL
SELECT i.created_at, 'plan', i.total, 0, i.status, '', '', i.number, '', i.hosted_url, i.pdf_url
FROM billing_invoice i
WHERE i.workspace_id = %(workspace)s AND i.status <> 'draft'
  AND NOT EXISTS (SELECT FROM billing_payment p WHERE p.invoice_id = i.stripe_id AND p.workspace_id = i.workspace_id)
UNION ALL
SELECT coalesce(o.finished_at, o.created_at), CASE WHEN o.kind = 'top_up' THEN 'top_up' ELSE 'purchase' END,
       o.amount, 0, 'failed', '', o.error, '', '', '', ''
FROM billing_creditorder o
WHERE o.workspace_id = %(workspace)s AND o.state = 'failed'
  AND NOT EXISTS (SELECT FROM billing_payment p WHERE p.order_id = o.id)
ORDER BY 1 DESC, 8 DESC, 3 DESC LIMIT %(limit)s OFFSET %(offset)s
"""


def payment_lines_of(workspace_id: int, *, limit: int, offset: int = 0) -> list[PaymentLine]:
    """Return a workspace's payments and invoices, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(_LINES, {"workspace": workspace_id, "limit": limit, "offset": offset})
        return [PaymentLine(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order of credit, and what became of it: open, paid, failed or expired."""

    amount: int
    state: str
    created_at: dt.datetime


def order_seen(workspace_id: int, *, session_id: str) -> OrderSeen | None:
    """Return the order of a checkout at Stripe (``cs_…``); None if this workspace has none of it."""
    row = (
        CreditOrder.objects.filter(workspace_id=workspace_id, session_id=session_id)
        .values_list("amount", "state", "created_at")
        .first()
    )
    return None if row is None else OrderSeen(*row)


@dataclass(frozen=True, slots=True)
class TopUpSeen:
    """A workspace's automatic top-up, and what it bought or is buying in this calendar month (UTC)."""

    is_on: bool
    threshold: int
    amount: int
    monthly_ceiling: int
    #: Why it was turned off by itself; empty where a person did.
    stopped_by: str
    declines: int
    spent: int

    @property
    def room(self) -> int:
        """What may still be bought this month."""
        return max(self.monthly_ceiling - self.spent, 0)

    @property
    def spent_share(self) -> int:
        """How much of the ceiling is used, in percent."""
        return min(100 * self.spent // self.monthly_ceiling, 100) if self.monthly_ceiling else 100

    @property
    def is_at_ceiling(self) -> bool:
        """Whether the next top-up must wait for the next month."""
        return self.room < self.amount


def top_up_of(workspace_id: int, *, spent: int) -> TopUpSeen | None:
    """Return a workspace's automatic top-up, None if it never had one; ``spent`` is what ``top_up.spent_this_month`` says."""
    row = AutoTopUp.objects.filter(workspace_id=workspace_id).first()
    if row is None:
        return None
    return TopUpSeen(
        is_on=row.is_on,
        threshold=row.threshold,
        amount=row.amount,
        monthly_ceiling=row.monthly_ceiling,
        stopped_by=row.stopped_by,
        declines=row.declines,
        spent=spent,
    )


@dataclass(frozen=True, slots=True)
class PlanSeen:
    """The subscription that a workspace has now. ``interval`` and ``next_interval`` are month or year."""

    tier_slug: str
    #: An operator gave it, and nobody pays for it.
    is_comped: bool
    status: str
    interval: str
    started_at: dt.datetime
    period_ends_at: dt.datetime | None
    #: When VIP credit comes next; None: no more of it comes as things are.
    next_credits_at: dt.datetime | None
    past_due_since: dt.datetime | None
    cancels_at: dt.datetime | None
    next_tier_slug: str
    next_interval: str
    #: VIP credit a month, as it was sold: a tier's newer version may bring another amount. None: nothing was paid for yet.
    monthly_credits: int | None = None

    @property
    def limits_stay_until(self) -> dt.datetime | None:
        """Until when its limits stay although its payment failed."""
        return self.past_due_since + LIMITS_STAY if self.past_due_since else None


def plan_of(workspace_id: int) -> PlanSeen | None:
    """Return a workspace's present subscription; None: it is on Free."""
    now = clock.now()
    row = (
        Subscription.objects.filter(workspace_id=workspace_id, started_at__lte=now)
        .filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now))
        .order_by("-started_at", "-id")
        .first()
    )
    if row is None:
        return None
    return PlanSeen(
        tier_slug=row.tier_slug,
        is_comped=row.stripe_id is None,
        status=row.status,
        interval=row.interval,
        started_at=row.started_at,
        period_ends_at=row.period_ends_at,
        next_credits_at=_next_credits_at(row, now),
        past_due_since=row.past_due_since,
        cancels_at=row.cancels_at or row.ends_at,
        next_tier_slug=row.next_tier_slug,
        next_interval=row.next_interval,
        monthly_credits=_sold_credits(row),
    )


def _sold_credits(row: Subscription) -> int | None:
    if row.stripe_id is None:
        return None
    sold = CreditPlan.objects.filter(workspace_id=row.workspace_id, subscription_id=row.stripe_id)
    return sold.order_by("-starts_at", "-created_at").values_list("monthly_credits", flat=True).first()


def _next_credits_at(row: Subscription, now: dt.datetime) -> dt.datetime | None:
    if row.status != SubscriptionStatus.ACTIVE:
        return None
    if row.interval == Interval.MONTH and row.period_ends_at is not None:
        comes_at = row.period_ends_at
    else:
        moment = now + dt.timedelta(microseconds=1)
        ((_number, _opens, comes_at),) = months_between(row.anchor_at or row.started_at, now, moment)
    ends_at = row.cancels_at or row.ends_at
    return None if ends_at is not None and comes_at >= ends_at else comes_at
