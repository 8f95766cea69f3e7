"""Stripe's subscriptions and invoices, as far as they are read: typed values of ours. Amounts are US cents, times Unix seconds."""

from msgspec import Struct, field

from billing.payments.errors import NotAppliedError


class Price(Struct, frozen=True):
    """price_…"""

    id: str


class Item(Struct, frozen=True):
    """si_…: what a subscription is to, and its present period."""

    id: str
    price: Price
    current_period_start: int
    current_period_end: int


class Items(Struct, frozen=True):
    """A subscription's items; ours have one."""

    data: list[Item]


class StripeSubscription(Struct, frozen=True):
    """sub_…"""

    id: str
    status: str
    customer: str
    start_date: int
    billing_cycle_anchor: int
    items: Items
    cancel_at_period_end: bool = False
    cancel_at: int | None = None
    ended_at: int | None = None
    schedule: str | None = None

    @property
    def item(self) -> Item:
        """Its one item. Raises NotAppliedError where there are others."""
        if len(self.items.data) != 1:
            raise NotAppliedError(f"The subscription {self.id} has {len(self.items.data)} items; ours have one.")
        return self.items.data[0]

    @property
    def ends_at_cancellation(self) -> int | None:
        """When it will end, because somebody cancelled it; None if nobody did."""
        if self.ended_at is not None:
            return None
        return self.cancel_at or (self.item.current_period_end if self.cancel_at_period_end else None)


class PhaseItem(Struct, frozen=True):
    """What a phase of a schedule is to."""

    price: str


class Phase(Struct, frozen=True):
    """A stretch of a schedule."""

    start_date: int
    end_date: int
    items: list[PhaseItem]


class Schedule(Struct, frozen=True):
    """sub_sched_…: what a subscription becomes, and when."""

    id: str
    status: str
    phases: list[Phase]


class Span(Struct, frozen=True):
    """A stretch of time."""

    start: int
    end: int


class PriceDetails(Struct, frozen=True):
    """Which price a line was made of."""

    price: str


class Pricing(Struct, frozen=True):
    """How a line was priced."""

    price_details: PriceDetails | None = None


class LineOrigin(Struct, frozen=True):
    """What a line was made for."""

    proration: bool = False


class LineParent(Struct, frozen=True):
    """What made a line. Prorations come in either shape, by the subscription's billing mode."""

    subscription_item_details: LineOrigin | None = None
    invoice_item_details: LineOrigin | None = None


class Line(Struct, frozen=True):
    """il_…: a line of an invoice."""

    id: str
    amount: int
    period: Span
    quantity: int | None = 1
    pricing: Pricing | None = None
    parent: LineParent | None = None

    @property
    def is_proration(self) -> bool:
        """Whether it corrects what was invoiced for a part of a period."""
        parent = self.parent or LineParent()
        origins = (parent.subscription_item_details, parent.invoice_item_details)
        return any(origin is not None and origin.proration for origin in origins)

    @property
    def price(self) -> str | None:
        """Its price's id."""
        details = self.pricing.price_details if self.pricing else None
        return details.price if details else None


class Lines(Struct, frozen=True):
    """The first lines of an invoice."""

    data: list[Line]
    has_more: bool = False


class OfSubscription(Struct, frozen=True):
    """Which subscription an invoice is of."""

    subscription: str


class InvoiceParent(Struct, frozen=True):
    """What made an invoice."""

    subscription_details: OfSubscription | None = None


class Transitions(Struct, frozen=True):
    """When an invoice became what."""

    paid_at: int | None = None


class StripeInvoice(Struct, frozen=True):
    """in_…; of a preview the id says nothing."""

    customer: str
    currency: str
    total: int
    created: int
    lines: Lines
    id: str = ""
    status: str | None = None
    number: str | None = None
    amount_due: int = 0
    billing_reason: str | None = None
    hosted_invoice_url: str | None = None
    invoice_pdf: str | None = None
    parent: InvoiceParent | None = None
    status_transitions: Transitions = field(default_factory=Transitions)

    @property
    def subscription(self) -> str | None:
        """Its subscription's id."""
        details = self.parent.subscription_details if self.parent else None
        return details.subscription if details else None


class PaidBy(Struct, frozen=True):
    """What paid a part of an invoice."""

    payment_intent: str | None = None


class InvoicePayment(Struct, frozen=True):
    """inpay_…: that a payment paid for an invoice, or is to."""

    id: str
    invoice: str
    status: str
    payment: PaidBy


class PaymentMethod(Struct, frozen=True):
    """pm_…"""

    id: str
    customer: str | None = None


class PortalPage(Struct, frozen=True):
    """bps_…: a page at Stripe where a customer changes cards, sees invoices and cancels."""

    url: str
