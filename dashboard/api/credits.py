"""GET /credits and /credits/ledger: what the workspace has left, by kind, and every line of its books."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from billing.selectors.grants import credit_left_of
from billing.selectors.ledger import EntryLine, balance_of, entries_of
from dashboard.api.base import ManagementView
from dashboard.api.cursors import decode_cursor, row_id
from dashboard.api.fields import LimitQuery, NanoField, UsdField, page_of
from dashboard.views.credits import ENTRIES

CURSOR = "ledger"


class CreditSerializer(serializers.Serializer[Any]):
    """Credit of one kind with one expiry."""

    kind = serializers.CharField(help_text="`vip`, `promo`, `paid`; a debt is `overdraft`, and below zero.")
    amount = UsdField(source="remaining")
    amount_nano = NanoField(source="remaining")
    expires_at = serializers.DateTimeField(allow_null=True)


class CreditsSerializer(serializers.Serializer[Any]):
    """A balance."""

    posted = UsdField()
    posted_nano = NanoField(source="posted")
    held = UsdField()
    held_nano = NanoField(source="held")
    available = UsdField()
    available_nano = NanoField(source="available")
    is_frozen = serializers.BooleanField(source="frozen")
    next_expiry = serializers.DateTimeField(allow_null=True)
    credits = CreditSerializer(many=True, help_text="In the order in which they will be spent.")


class CreditsView(ManagementView):
    """The balance."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW_BILLING}

    @extend_schema(operation_id="get_credits", tags=["Credits"], responses=CreditsSerializer)
    def get(self, request: Request) -> Response:
        """What the workspace has: posted, held by running requests, available for new ones; and by kind."""
        balance = balance_of(self.workspace_id)
        names = ("posted", "held", "available", "frozen", "next_expiry")
        view = {name: getattr(balance, name) for name in names} | {"credits": credit_left_of(self.workspace_id)}
        return Response(CreditsSerializer(view).data)


class LedgerQuery(LimitQuery):
    """Which lines."""

    kind = serializers.ChoiceField(list(ENTRIES), required=False, help_text="Of this kind only.")


class EntrySerializer(serializers.Serializer[Any]):
    """A line of the books, which is never changed."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField(list(ENTRIES))
    amount = UsdField()
    amount_nano = NanoField(source="amount")
    balance = UsdField(help_text="What was posted after it.")
    balance_nano = NanoField(source="balance")
    credit_kind = serializers.CharField(source="grant_kind")
    credit_expires_at = serializers.DateTimeField(source="expires_at", allow_null=True)
    generation = serializers.SerializerMethodField(help_text="The id of the request that was charged, or null.")

    def get_generation(self, line: EntryLine) -> str | None:
        """Return a request's id as the data plane writes it."""
        return line.ref.replace("-", "") if line.kind == "usage" else None


class LedgerView(ManagementView):
    """The books."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW_BILLING}

    @extend_schema(
        operation_id="list_ledger",
        tags=["Credits"],
        parameters=[LedgerQuery],
        responses=page_of(EntrySerializer, "LedgerPage"),
    )
    def get(self, request: Request) -> Response:
        """The lines of the workspace's ledger, newest first."""
        query = self.query(LedgerQuery)
        limit = query["limit"]
        before = decode_cursor(query.get("cursor"), kind=CURSOR, readers=[row_id])
        lines = entries_of(
            self.workspace_id,
            limit=limit + 1,
            before=before[0] if before else None,
            kinds=[query["kind"]] if "kind" in query else None,
        )
        return self.listed(
            lines,
            limit=limit,
            kind=CURSOR,
            place=lambda line: [line.id],
            show=lambda shown: [dict(EntrySerializer(line).data) for line in shown],
        )
