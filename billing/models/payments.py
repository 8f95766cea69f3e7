"""What was paid, as Stripe said it: customers, orders, payments, invoices, credit periods. Amounts are nano-USD.

None of these rows is money: credit exists only as grants in the books (billing/models/ledger.py). They say what to grant, and
for what, and keep what people and operators want to see without asking Stripe.
"""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.models import Workspace
from lumyx.lib.ids import uuid7


class StripeCustomer(models.Model):
    """The customer at Stripe that pays for a workspace."""

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.PROTECT, related_name="+")
    stripe_id = models.CharField(max_length=100, unique=True)
    #: Deleted at Stripe: the next purchase makes another.
    is_deleted = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.stripe_id


class StripePrice(models.Model):
    """The price at Stripe of a tier's version and interval, as `manage.py stripe sync` made it. It never changes."""

    stripe_id = models.CharField(max_length=100, primary_key=True)
    tier_slug = models.SlugField(max_length=20)
    tier_version = models.PositiveIntegerField()
    interval = models.CharField(max_length=5)
    #: nano-USD an interval.
    amount = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["tier_slug", "tier_version", "interval"], name="stripe_price_once"),
        )

    def __str__(self) -> str:
        return f"{self.tier_slug} v{self.tier_version} a {self.interval}"


class OrderKind(models.TextChoices):
    """How credit was ordered."""

    CHECKOUT = "checkout"
    TOP_UP = "top_up"


class OrderState(models.TextChoices):
    """Open until exactly one of the others. A payment that comes late makes an expired or failed order paid after all."""

    OPEN = "open"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


class CreditOrder(models.Model):
    """Credit that somebody set out to buy. Its amount decides what is granted; Stripe's must agree with it."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=OrderKind)
    amount = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=OrderState, default=OrderState.OPEN)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    session_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    #: Why it failed, in Stripe's code ("card_declined", "authentication_required").
    error = models.CharField(max_length=60, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=["workspace", "-created_at"], name="order_by_workspace"),)
        constraints = (
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="order_amount_positive"),
            models.UniqueConstraint(
                fields=["workspace"],
                condition=models.Q(kind="top_up", state="open"),
                name="order_one_top_up_in_flight",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} order {self.id}"


class Payment(models.Model):
    """A payment that Stripe took: for an order of credit, or for an invoice of a subscription."""

    #: pi_…
    stripe_id = models.CharField(max_length=100, primary_key=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    order = models.OneToOneField(CreditOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="payment")
    #: in_…, empty where an order was paid.
    invoice_id = models.CharField(max_length=100, blank=True, default="", db_index=True)
    charge_id = models.CharField(max_length=100, blank=True, default="", db_index=True)
    amount = models.BigIntegerField()
    refunded = models.BigIntegerField(default=0)
    #: Stripe's status of the dispute ("needs_response", "won", "lost", …), empty without one.
    dispute = models.CharField(max_length=40, blank=True, default="")
    receipt_url = models.TextField(blank=True, default="")
    paid_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["workspace", "-paid_at"], name="payment_by_workspace"),)

    def __str__(self) -> str:
        return self.stripe_id


class Invoice(models.Model):
    """An invoice of a subscription, as Stripe has it."""

    #: in_…
    stripe_id = models.CharField(max_length=100, primary_key=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    #: sub_…
    subscription_id = models.CharField(max_length=100, db_index=True)
    number = models.CharField(max_length=60, blank=True, default="")
    #: draft, open, paid, void, uncollectible.
    status = models.CharField(max_length=20)
    total = models.BigIntegerField()
    hosted_url = models.TextField(blank=True, default="")
    pdf_url = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=["workspace", "-created_at"], name="invoice_by_workspace"),)

    def __str__(self) -> str:
        return self.number or self.stripe_id


class Reversal(models.Model):
    """Money of a payment that went back, or came back after all: a refund or a dispute. Each takes its share of the credit."""

    #: "refund:re_…" or "dispute:du_…".
    ref = models.CharField(max_length=110, primary_key=True)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="reversals")
    amount = models.BigIntegerField()
    #: The refund failed, or the dispute was won: what was taken is given again.
    is_undone = models.BooleanField(default=False)
    happened_at = models.DateTimeField()

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(amount__gt=0), name="reversal_amount_positive"),)

    def __str__(self) -> str:
        return self.ref


class CreditPlan(models.Model):
    """A stretch that was paid for, and for which VIP credit comes month by month: one month, or a year of them."""

    #: The invoice and its line: "in_…:il_…".
    source = models.CharField(max_length=200, primary_key=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    #: sub_…
    subscription_id = models.CharField(max_length=100, db_index=True)
    tier_slug = models.SlugField(max_length=20)
    interval = models.CharField(max_length=5)
    #: nano-USD of credit a month.
    monthly_credits = models.BigIntegerField()
    #: What was given already for the rest of the month in which it begins, by the plan that it takes the place of.
    replaced_credits = models.BigIntegerField(default=0)
    #: Months are counted from here.
    anchor_at = models.DateTimeField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(fields=["workspace", "ends_at"], name="credit_plan_by_workspace"),)

    def __str__(self) -> str:
        return self.source


class CreditPeriod(models.Model):
    """A stretch of time for which a tier's VIP credit was granted. The next one's grant ends what is left of it."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    #: Of its grant: the idempotency key.
    source = models.CharField(max_length=200, unique=True)
    tier_slug = models.SlugField(max_length=20)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(fields=["workspace", "-starts_at"], name="period_by_workspace"),)
        constraints = (
            models.CheckConstraint(condition=models.Q(ends_at__gt=models.F("starts_at")), name="period_has_length"),
        )

    def __str__(self) -> str:
        return self.source


class AutoTopUp(models.Model):
    """A workspace's wish to buy credit by itself when little is left."""

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.CASCADE, related_name="+")
    is_on = models.BooleanField(default=False)
    #: Below this available balance it buys ``amount``, in a calendar month (UTC) at most ``monthly_ceiling`` in all.
    threshold = models.BigIntegerField()
    amount = models.BigIntegerField()
    monthly_ceiling = models.BigIntegerField()
    #: Declines in a row. At the third, and at once where the bank wants to see the person, it is turned off.
    declines = models.PositiveSmallIntegerField(default=0)
    #: Why it was turned off, empty where a person did: authentication_required, declined, no_payment_method.
    stopped_by = models.CharField(max_length=40, blank=True, default="")
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(threshold__gte=0, amount__gt=0, monthly_ceiling__gte=models.F("amount")),
                name="top_up_makes_sense",
            ),
        )

    def __str__(self) -> str:
        return f"auto top-up of workspace {self.workspace_id}"
