"""/workspace: the workspace that the key manages, its tier and its limits."""

from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from accounts.services.workspace_settings import InvalidSlugError, UnknownTimeZoneError, change_workspace
from accounts.services.workspaces import InvalidWorkspaceNameError, WorkspaceExistsError
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import entitlements_of
from dashboard.api.base import Answer, ManagementView
from dashboard.api.fields import StrictSerializer
from dashboard.api.problems import conflict, invalid

if TYPE_CHECKING:
    from accounts.models import Workspace


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
    time_zone = serializers.CharField(help_text="An IANA name, as Europe/Berlin.")
    created_at = serializers.DateTimeField()
    owner = OwnerSerializer()
    tier = serializers.CharField(help_text="The tier's slug; `free` without a subscription.")
    limits = LimitsSerializer()


class WorkspacePatchBody(StrictSerializer):
    """What to change of the workspace; what is left out stays."""

    name = serializers.CharField(required=False, max_length=80)
    slug = serializers.CharField(
        required=False, max_length=63, help_text="The slug before leads here for another 30 days."
    )
    time_zone = serializers.CharField(required=False, max_length=64)


class WorkspaceView(ManagementView):
    """The workspace of the key."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW, "PATCH": Permission.MANAGE_WORKSPACE}

    @extend_schema(operation_id="get_workspace", tags=["Workspace"], responses=WorkspaceSerializer)
    def get(self, request: Request) -> Response:
        """The workspace that this key manages, with its tier and its limits."""
        return Response(_shown(self.bearer.key.workspace))

    @extend_schema(
        operation_id="change_workspace",
        tags=["Workspace"],
        request=WorkspacePatchBody,
        responses=WorkspaceSerializer,
    )
    def patch(self, request: Request) -> Response:
        """Change the workspace's name, slug or time zone."""
        wanted = self.body(WorkspacePatchBody)

        def act() -> Answer:
            try:
                return 200, _shown(change_workspace(self.workspace_id, **wanted))
            except (InvalidWorkspaceNameError, InvalidSlugError, UnknownTimeZoneError) as error:
                raise invalid(str(error)) from error
            except WorkspaceExistsError as error:
                raise conflict(str(error)) from error

        return self.change(act)


def _shown(workspace: "Workspace") -> dict[str, Any]:
    rights = entitlements_of(workspace.pk, owner_id=workspace.owner_id)
    view = {
        "slug": workspace.slug,
        "name": workspace.name,
        "time_zone": workspace.time_zone,
        "created_at": workspace.created_at,
        "owner": workspace.owner,
        "tier": rights.tier_slug,
        "limits": {
            "requests_per_minute": rights.requests_per_minute or None,
            "free_requests_per_day": rights.daily_requests or None,
            "free_requests_left_today": daily_allowance_of(rights).remaining,
        },
    }
    return dict(WorkspaceSerializer(view).data)
