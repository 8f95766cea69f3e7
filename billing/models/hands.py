"""What operators did to money by hand, and why. Amounts are nano-USD. Rows are added, never edited, never deleted."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.models import Workspace
from billing.models.payments import Payment


class Adjustment(models.Model):
    """A correction of a balance. Written with its entries in the books, by the ledger alone."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    #: Signed: above zero it gave credit, below zero it took some.
    amount = models.BigIntegerField()
    #: For operators; the workspace does not see it.
    reason = models.CharField(max_length=500)
    #: What the workspace sees beside credit that was given.
    note = models.CharField(max_length=500, blank=True, default="")
    #: NULL: the command line.
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    #: The idempotency key. Its entries carry "adjustment:<source>".
    source = models.CharField(max_length=180, unique=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(fields=["workspace", "-id"], name="adjustment_by_workspace"),)
        constraints = (
            models.CheckConstraint(condition=~models.Q(amount=0), name="adjustment_amount_not_zero"),
            models.CheckConstraint(condition=~models.Q(reason=""), name="adjustment_has_reason"),
        )

    def __str__(self) -> str:
        return f"adjustment {self.source}"


class RefundRequest(models.Model):
    """An operator's wish that money of a payment goes back, written before Stripe is asked. Its answer is added once."""

    #: Of the form that it came from: what makes a second press harmless, at Stripe too.
    id = models.UUIDField(primary_key=True)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refund_requests")
    amount = models.BigIntegerField()
    reason = models.CharField(max_length=500)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())
    #: re_…, once Stripe said yes.
    refund_id = models.CharField(max_length=100, blank=True, default="")
    #: Why Stripe said no. Empty like ``refund_id``: there was no answer yet.
    error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        indexes = (models.Index(fields=["payment", "-at"], name="refund_request_by_payment"),)
        constraints = (
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="refund_request_positive"),
            models.CheckConstraint(condition=~models.Q(reason=""), name="refund_request_has_reason"),
        )

    def __str__(self) -> str:
        return self.refund_id or f"refund request {self.pk}"
