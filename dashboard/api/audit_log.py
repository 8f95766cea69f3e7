"""GET /audit-log: who did what in the workspace, newest first."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.audit_actions import ACTIONS
from accounts.roles import Permission
from accounts.selectors.audit import AuditFilter, audit_entries_of
from dashboard.api.base import ManagementView
from dashboard.api.cursors import decode_cursor, row_id
from dashboard.api.fields import LimitQuery, page_of

CURSOR = "audit"
ACTORS = ["user", "operator", "key", "command", "system"]
NAMES = frozenset(ACTIONS) | {action.partition(".")[0] for action in ACTIONS}


class AuditQuery(LimitQuery):
    """Which lines."""

    action = serializers.CharField(
        required=False, max_length=50, help_text="One action (`api_key.created`) or a group (`api_key`) only."
    )
    actor_kind = serializers.ChoiceField(ACTORS, required=False, help_text="By such an actor only.")
    actor_id = serializers.IntegerField(
        required=False, min_value=1, max_value=2**63 - 1, help_text="By this user or management key only."
    )
    since = serializers.DateTimeField(required=False, help_text="At this time or later only.")
    until = serializers.DateTimeField(required=False, help_text="Before this time only.")

    def validate_action(self, value: str) -> str:
        """Refuse what can never be in the log."""
        if value not in NAMES:
            raise serializers.ValidationError(
                "There is no such action. /docs/management-api says where they are listed."
            )
        return value


class AuditSerializer(serializers.Serializer[Any]):
    """One act."""

    id = serializers.IntegerField(source="pk")
    at = serializers.DateTimeField()
    action = serializers.CharField()
    summary = serializers.SerializerMethodField(help_text="The action in words.")
    actor_kind = serializers.ChoiceField(ACTORS)
    actor_id = serializers.IntegerField(allow_null=True, help_text="A user_id, or a management key's id.")
    target_kind = serializers.CharField()
    target_id = serializers.CharField()
    target_name = serializers.CharField()
    details = serializers.DictField(help_text="What changed.")
    address = serializers.CharField(allow_null=True)

    def get_summary(self, entry: Any) -> str:
        """Return the action in words."""
        return ACTIONS.get(entry.action, str(entry.action))


class AuditLogView(ManagementView):
    """The audit log."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW_AUDIT}

    @extend_schema(
        operation_id="list_audit_log",
        tags=["Audit log"],
        parameters=[AuditQuery],
        responses=page_of(AuditSerializer, "AuditPage"),
    )
    def get(self, request: Request) -> Response:
        """Who did what in the workspace, newest first."""
        query = self.query(AuditQuery)
        limit = query.pop("limit")
        before = decode_cursor(query.pop("cursor", None), kind=CURSOR, readers=[row_id])
        rows = audit_entries_of(self.workspace_id, AuditFilter(**query), before=before[0] if before else None)
        return self.listed(
            rows[: limit + 1],
            limit=limit,
            kind=CURSOR,
            place=lambda entry: [entry.pk],
            show=lambda shown: [dict(AuditSerializer(entry).data) for entry in shown],
        )
