"""The admin's pages of the books: to look at, but that an operator may adjust a balance, grant credit and freeze a wallet."""

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

from billing.models import Adjustment, CreditGrant, Hold, LedgerEntry, Wallet
from billing.money_pages import MoneyPages
from billing.read_only import ReadOnlyAdmin, WorkspaceRows, dollars, link_to, usd
from billing.selectors.grants import credit_left_of
from billing.selectors.ledger import balance_of
from billing.services.by_hand import set_frozen
from billing.wallet_pages import AdjustPage, FreezePage, GrantPage, UnfreezePage
from lumyx.lib.money import nano_to_usd


@admin.register(Wallet)
class WalletAdmin(MoneyPages, ReadOnlyAdmin):
    """Wallets, to look at; with the pages on which an operator moves credit by hand."""

    posted_usd, held_usd = usd("posted"), usd("held")
    list_display = ("workspace", "posted_usd", "held_usd", "next_expiry", "frozen")
    list_filter = ("frozen",)
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    fields = (
        "workspace_link",
        "available",
        "credit_left",
        "posted_usd",
        "held_usd",
        "next_expiry",
        "frozen",
        "created_at",
    )
    readonly_fields = ("workspace_link", "available", "credit_left", "posted_usd", "held_usd")
    ordering = ("-created_at", "-pk")
    actions = ("freeze", "unfreeze")
    money_pages = (AdjustPage, GrantPage, FreezePage, UnfreezePage)

    @admin.display(description="workspace")
    def workspace_link(self, wallet: Wallet) -> SafeString:
        """Return a link to the workspace."""
        return link_to(wallet.workspace, wallet.workspace.slug)

    @admin.display(description="available, USD")
    def available(self, wallet: Wallet) -> str:
        """Return what new requests can be admitted on."""
        return nano_to_usd(balance_of(wallet.pk).available)

    @admin.display(description="left, by kind")
    def credit_left(self, wallet: Wallet) -> SafeString | str:
        """Return what is left of each kind of credit, in the order in which it is spent."""
        left = [
            (dollars(each.remaining), each.kind, f", expires {each.expires_at:%-d %B %Y}" if each.expires_at else "")
            for each in credit_left_of(wallet.pk)
        ]
        return format_html_join(mark_safe("<br>"), "{} {}{}", left) if left else "nothing"

    def has_freeze_permission(self, request: HttpRequest) -> bool:
        """Tell who may stop wallets: whoever has the permission to change them."""
        return request.user.has_perm("billing.change_wallet")

    @admin.action(description="Freeze (no paid request is let in)", permissions=["freeze"])
    def freeze(self, request: HttpRequest, wallets: QuerySet[Wallet]) -> None:
        """Stop wallets."""
        self._set_frozen(request, wallets.filter(frozen=False), frozen=True)

    @admin.action(description="Unfreeze", permissions=["freeze"])
    def unfreeze(self, request: HttpRequest, wallets: QuerySet[Wallet]) -> None:
        """Let wallets go on."""
        self._set_frozen(request, wallets.filter(frozen=True), frozen=False)

    def _set_frozen(self, request: HttpRequest, wallets: QuerySet[Wallet], *, frozen: bool) -> None:
        done = "frozen" if frozen else "unfrozen"
        # By id, as all locks of wallets are taken.
        chosen = list(wallets.order_by("pk"))
        for wallet in chosen:
            with transaction.atomic():
                set_frozen(workspace_id=wallet.pk, frozen=frozen)
                self.log_change(request, wallet, f"{done.capitalize()} from the list.")
        self.message_user(request, f"{len(chosen)} {done}.", messages.SUCCESS if chosen else messages.INFO)


@admin.register(Adjustment)
class AdjustmentAdmin(WorkspaceRows):
    """Corrections of balances: who, why and by how much."""

    amount_usd = usd("amount")
    list_display = ("at", "workspace", "amount_usd", "reason", "by")
    list_select_related = ("workspace", "actor")
    search_fields = ("workspace__slug", "source", "reason", "actor__email")
    fields = ("at", "workspace_link", "amount_usd", "reason", "note", "by", "source")
    readonly_fields = ("workspace_link", "amount_usd", "by")
    ordering = ("-pk",)

    @admin.display(description="by", ordering="actor__email")
    def by(self, adjustment: Adjustment) -> str:
        """Return who did it."""
        return adjustment.actor.email if adjustment.actor else "command line"


@admin.register(CreditGrant)
class CreditGrantAdmin(ReadOnlyAdmin):
    """Where credit came from, and what is left of it."""

    amount_usd, remaining_usd = usd("amount"), usd("remaining")
    list_display = ("workspace", "kind", "amount_usd", "remaining_usd", "effective_at", "expires_at", "source")
    list_filter = ("kind",)
    list_select_related = ("wallet__workspace",)
    search_fields = ("wallet__workspace__slug", "source")
    fields = (
        "workspace", "kind", "priority", "amount_usd", "remaining_usd",
        "effective_at", "expires_at", "source", "note",
    )  # fmt: skip
    readonly_fields = ("workspace", "amount_usd", "remaining_usd")
    ordering = ("-pk",)

    @admin.display(description="workspace")
    def workspace(self, grant: CreditGrant) -> str:
        """Return whose it is."""
        return grant.wallet.workspace.slug


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    """Credit set aside for requests."""

    amount_usd, actual_usd = usd("amount"), usd("actual")
    list_display = ("id", "workspace", "model", "state", "amount_usd", "actual_usd", "created_at", "expires_at")
    list_filter = ("state",)
    list_select_related = ("wallet__workspace",)
    search_fields = ("=id", "wallet__workspace__slug")
    fields = (
        "id", "workspace", "model", "state", "amount_usd", "actual_usd",
        "created_at", "expires_at", "api_key_id", "quota_subject", "quota_day",
    )  # fmt: skip
    readonly_fields = ("workspace", "amount_usd", "actual_usd")
    ordering = ("-id",)

    @admin.display(description="workspace")
    def workspace(self, hold: Hold) -> str:
        """Return whose it is."""
        return hold.wallet.workspace.slug


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """Lines in the books."""

    amount_usd = usd("amount")
    list_display = ("at", "workspace", "kind", "amount_usd", "contra", "grant_kind", "ref")
    list_filter = ("kind", "contra")
    list_select_related = ("wallet__workspace", "grant")
    search_fields = ("=ref", "wallet__workspace__slug")
    fields = ("at", "workspace", "kind", "amount_usd", "contra", "grant_kind", "ref")
    readonly_fields = ("workspace", "amount_usd", "grant_kind")
    ordering = ("-pk",)

    @admin.display(description="workspace")
    def workspace(self, entry: LedgerEntry) -> str:
        """Return whose it is."""
        return entry.wallet.workspace.slug

    @admin.display(description="grant")
    def grant_kind(self, entry: LedgerEntry) -> str:
        """Return the kind of credit that it moved."""
        return str(entry.grant.kind)
