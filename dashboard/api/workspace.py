"""GET /workspace: the workspace that the key manages, its tier and its limits."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import entitlements_of
from dashboard.api.base import ManagementView


class OwnerSerializer(serializers.Serializer[Any]):
    """The one owner."""

    user_id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()


class LimitsSerializer(serializers.Serializer[Any]):
    """What the tier allows; null is no limit."""

    requests_per_minute = serializers.IntegerField(allow_null=True)
    free_requests_per_day = serializers.IntegerField(allow_null=True)
    free_requests_left_today = serializers.IntegerField(allow_null=True)


class WorkspaceSerializer(serializers.Serializer[Any]):
    """A workspace."""

    slug = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    owner = OwnerSerializer()
    tier = serializers.CharField(help_text="The tier's slug; `free` without a subscription.")
    limits = LimitsSerializer()


class WorkspaceView(ManagementView):
    """The workspace of the key."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW}

    @extend_schema(operation_id="get_workspace", tags=["Workspace"], responses=WorkspaceSerializer)
    def get(self, request: Request) -> Response:
        """The workspace that this key manages, with its tier and its limits."""
        workspace = self.bearer.key.workspace
        rights = entitlements_of(workspace.pk, owner_id=workspace.owner_id)
        view = {
            "slug": workspace.slug,
            "name": workspace.name,
            "created_at": workspace.created_at,
            "owner": workspace.owner,
            "tier": rights.tier_slug,
            "limits": {
                "requests_per_minute": rights.requests_per_minute or None,
                "free_requests_per_day": rights.daily_requests or None,
                "free_requests_left_today": daily_allowance_of(rights).remaining,
            },
        }
        return Response(WorkspaceSerializer(view).data)
