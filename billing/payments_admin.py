"""The admin's pages of what was ordered and paid: to look at, but that an operator may refund a payment."""

from django.contrib import admin
from django.db.models import F, Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from billing.models import AutoTopUp, CreditOrder, Invoice, Payment, RefundRequest, Reversal
from billing.money_pages import MoneyPages
from billing.payments.refunds import left_of, refusal_of
from billing.read_only import (
    ReadOnlyAdmin,
    ReadOnlyInline,
    WorkspaceRows,
    link_to,
    outside_link,
    stripe_link,
    usd,
)
from billing.refund_page import RefundPage
from lumyx.lib.money import nano_to_usd


class RefundedFilter(admin.SimpleListFilter):
    """How much of a payment went back."""

    title, parameter_name = "refunded", "refunded"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("no", "nothing"), ("part", "a part"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        """Return the payments of the chosen kind."""
        match self.value():
            case "no":
                return queryset.filter(refunded=0)
            case "part":
                return queryset.filter(refunded__gt=0, refunded__lt=F("amount"))
            case "all":
                return queryset.filter(refunded__gte=F("amount"), amount__gt=0)
        return queryset


class ReversalInline(ReadOnlyInline):
    """What went back, as Stripe said it."""

    model = Reversal
    verbose_name_plural = "refunds and disputes"
    amount_usd = usd("amount")
    fields = readonly_fields = ("happened_at", "ref", "amount_usd", "is_undone")
    ordering = ("-happened_at",)


class RefundRequestInline(ReadOnlyInline):
    """What operators asked for."""

    model = RefundRequest
    verbose_name_plural = "refunds that operators asked for"
    amount_usd = usd("amount")
    fields = readonly_fields = ("at", "amount_usd", "reason", "by", "answer")
    ordering = ("-at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """Read who asked in the same query."""
        return super().get_queryset(request).select_related("actor")

    @admin.display(description="by")
    def by(self, request: RefundRequest) -> str:
        """Return who asked."""
        return request.actor.email

    @admin.display(description="answer")
    def answer(self, request: RefundRequest) -> str:
        """Return what Stripe said."""
        return answer_of(request)


def answer_of(request: RefundRequest) -> str:
    """Return what Stripe said to a refund that was asked for."""
    return request.refund_id or (f"refused: {request.error}" if request.error else "no answer yet")


@admin.register(Payment)
class PaymentAdmin(MoneyPages, WorkspaceRows):
    """What Stripe took, and what went back of it."""

    amount_usd, refunded_usd = usd("amount"), usd("refunded")
    list_display = ("paid_at", "workspace", "amount_usd", "refunded_usd", "dispute", "paid_for", "stripe_id")
    list_filter = (RefundedFilter, "dispute")
    list_select_related = ("workspace", "order")
    search_fields = ("workspace__slug", "=stripe_id", "=charge_id", "=invoice_id")
    date_hierarchy = "paid_at"
    fields = (
        "paid_at", "workspace_link", "wallet_link", "amount_usd", "refunded_usd", "left_to_refund", "dispute", "paid_for_link",
        "at_stripe", "charge_id", "receipt",
    )  # fmt: skip
    readonly_fields = (
        "workspace_link", "wallet_link", "amount_usd", "refunded_usd", "left_to_refund", "paid_for_link", "at_stripe", "receipt",
    )  # fmt: skip
    ordering = ("-paid_at", "-pk")
    inlines = (ReversalInline, RefundRequestInline)
    money_pages = (RefundPage,)

    @admin.display(description="for")
    def paid_for(self, payment: Payment) -> str:
        """Return what it paid for."""
        if payment.order is None:
            return "subscription"
        return "automatic top-up" if payment.order.kind == "top_up" else "credit"

    @admin.display(description="for")
    def paid_for_link(self, payment: Payment) -> str:
        """Return a link to what it paid for."""
        if payment.order is not None:
            return link_to(payment.order, self.paid_for(payment))
        invoice = Invoice.objects.filter(pk=payment.invoice_id).first()
        return link_to(invoice, f"invoice {invoice}") if invoice else f"invoice {payment.invoice_id}"

    @admin.display(description="wallet")
    def wallet_link(self, payment: Payment) -> str:
        """Return a link to the wallet that its credit went to."""
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:billing_wallet_change", args=[payment.workspace_id]), "wallet"
        )

    @admin.display(description="left to refund, USD")
    def left_to_refund(self, payment: Payment) -> str:
        """Return what can still be given back, or why nothing can."""
        refusal = refusal_of(payment)
        return f"{nano_to_usd(left_of(payment))}{'. ' if refusal else ''}{refusal}"

    @admin.display(description="at Stripe")
    def at_stripe(self, payment: Payment) -> str:
        """Return a link to it."""
        return stripe_link("payments", payment.stripe_id)

    @admin.display(description="receipt")
    def receipt(self, payment: Payment) -> str:
        """Return a link to what Stripe sent the customer."""
        return outside_link(payment.receipt_url, "Open the receipt")


@admin.register(RefundRequest)
class RefundRequestAdmin(ReadOnlyAdmin):
    """Refunds that operators asked for, with who and why."""

    amount_usd = usd("amount")
    list_display = ("at", "workspace", "amount_usd", "reason", "actor", "answer")
    list_select_related = ("payment__workspace", "actor")
    search_fields = ("=payment__stripe_id", "=refund_id", "payment__workspace__slug", "actor__email", "reason")
    fields = ("at", "payment_link", "amount_usd", "reason", "actor", "answer", "id")
    readonly_fields = ("payment_link", "amount_usd", "answer")
    ordering = ("-at", "-pk")

    @admin.display(description="workspace")
    def workspace(self, request: RefundRequest) -> str:
        """Return whose payment it is."""
        return request.payment.workspace.slug

    @admin.display(description="payment")
    def payment_link(self, request: RefundRequest) -> str:
        """Return a link to the payment."""
        return link_to(request.payment)

    @admin.display(description="answer")
    def answer(self, request: RefundRequest) -> str:
        """Return what Stripe said."""
        return answer_of(request)


@admin.register(CreditOrder)
class CreditOrderAdmin(WorkspaceRows):
    """Credit that somebody set out to buy."""

    amount_usd = usd("amount")
    list_display = ("created_at", "workspace", "kind", "amount_usd", "state", "error", "finished_at")
    list_filter = ("state", "kind")
    search_fields = ("workspace__slug", "=id", "=session_id")
    fields = (
        "id", "workspace_link", "kind", "amount_usd", "state", "error", "created_by", "created_at", "finished_at", "session_id",
        "payment_link",
    )  # fmt: skip
    readonly_fields = ("workspace_link", "amount_usd", "payment_link")
    ordering = ("-created_at", "-pk")

    @admin.display(description="payment")
    def payment_link(self, order: CreditOrder) -> str:
        """Return a link to what paid it."""
        payment = Payment.objects.filter(order=order).first()
        return link_to(payment) if payment else ""


@admin.register(Invoice)
class InvoiceAdmin(WorkspaceRows):
    """Invoices of subscriptions."""

    total_usd = usd("total")
    list_display = ("created_at", "workspace", "number", "status", "total_usd", "paid_at", "stripe_id")
    list_filter = ("status",)
    search_fields = ("workspace__slug", "=stripe_id", "=subscription_id", "=number")
    fields = (
        "at_stripe", "workspace_link", "number", "status", "total_usd", "subscription_id", "created_at", "paid_at", "hosted",
        "pdf", "payment_links",
    )  # fmt: skip
    readonly_fields = ("at_stripe", "workspace_link", "total_usd", "hosted", "pdf", "payment_links")
    ordering = ("-created_at", "-pk")

    @admin.display(description="at Stripe")
    def at_stripe(self, invoice: Invoice) -> str:
        """Return a link to it."""
        return stripe_link("invoices", invoice.stripe_id)

    @admin.display(description="page for the customer")
    def hosted(self, invoice: Invoice) -> str:
        """Return a link to it."""
        return outside_link(invoice.hosted_url, "Open the invoice")

    @admin.display(description="PDF")
    def pdf(self, invoice: Invoice) -> str:
        """Return a link to it."""
        return outside_link(invoice.pdf_url, "Download")

    @admin.display(description="payments")
    def payment_links(self, invoice: Invoice) -> str:
        """Return links to what paid it."""
        payments = Payment.objects.filter(invoice_id=invoice.pk).order_by("paid_at")
        return format_html_join(", ", "{}", ((link_to(payment),) for payment in payments))


@admin.register(AutoTopUp)
class AutoTopUpAdmin(WorkspaceRows):
    """Who buys credit by itself, and why it was stopped."""

    threshold_usd, amount_usd, ceiling_usd = usd("threshold"), usd("amount"), usd("monthly_ceiling")
    list_display = ("workspace", "is_on", "threshold_usd", "amount_usd", "ceiling_usd", "declines", "stopped_by")
    list_filter = ("is_on", "stopped_by")
    fields = (
        "workspace_link", "is_on", "threshold_usd", "amount_usd", "ceiling_usd", "declines", "stopped_by", "changed_by",
        "changed_at",
    )  # fmt: skip
    readonly_fields = ("workspace_link", "threshold_usd", "amount_usd", "ceiling_usd")
    ordering = ("workspace__slug",)
