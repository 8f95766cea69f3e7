"""/members: who belongs to the workspace, and with which role. Nobody gives or takes a role that may do more than theirs."""

from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import GRANTS, Permission, Role
from accounts.selectors.workspaces import members_of
from accounts.services.audit import record
from accounts.services.workspaces import OwnerIsFixedError, remove_member, set_member
from dashboard.api.base import Answer, ManagementView
from dashboard.api.cursors import decode_cursor, row_id
from dashboard.api.fields import LimitQuery, StrictSerializer, page_of
from dashboard.api.problems import conflict, not_found
from gateway.errors import ApiError

if TYPE_CHECKING:
    from accounts.models import Membership

CURSOR = "members"
MAX_ID = 2**63 - 1
ROLES = [role.value for role in Role]


class RoleBody(StrictSerializer):
    """A member's new role."""

    role = serializers.ChoiceField([role for role in ROLES if role != Role.OWNER])


class MemberSerializer(serializers.Serializer[Any]):
    """A person in the workspace."""

    user_id = serializers.IntegerField()
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(ROLES)
    joined_at = serializers.DateTimeField(source="created_at")


class MembersView(ManagementView):
    """All members."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW}

    @extend_schema(
        operation_id="list_members",
        tags=["Members"],
        parameters=[LimitQuery],
        responses=page_of(MemberSerializer, "MemberPage"),
    )
    def get(self, request: Request) -> Response:
        """The workspace's members, in the order in which they joined."""
        query = self.query(LimitQuery)
        limit = query["limit"]
        rows = members_of(self.workspace_id).order_by("pk")
        after = decode_cursor(query.get("cursor"), kind=CURSOR, readers=[row_id])
        if after is not None:
            rows = rows.filter(pk__gt=after[0])
        return self.listed(
            rows[: limit + 1],
            limit=limit,
            kind=CURSOR,
            place=lambda member: [member.pk],
            show=lambda members: [MemberSerializer(member).data for member in members],
        )


class MemberView(ManagementView):
    """One member."""

    needs: ClassVar[dict[str, Permission]] = {
        "GET": Permission.VIEW,
        "PATCH": Permission.MANAGE_MEMBERS,
        "DELETE": Permission.MANAGE_MEMBERS,
    }

    @extend_schema(operation_id="get_member", tags=["Members"], responses=MemberSerializer)
    def get(self, request: Request, user_id: int) -> Response:
        """One member."""
        return Response(MemberSerializer(self._member(user_id)).data)

    @extend_schema(operation_id="change_member", tags=["Members"], request=RoleBody, responses=MemberSerializer)
    def patch(self, request: Request, user_id: int) -> Response:
        """Give a member another role. The owner's role is never given or taken."""
        role = Role(self.body(RoleBody)["role"])

        def act() -> Answer:
            member = self._member(user_id)
            before = str(member.role)
            self._check_reach(before, role)
            try:
                changed = set_member(self.bearer.key.workspace, user=member.user, role=role)
            except OwnerIsFixedError as error:
                raise conflict(str(error)) from error
            if before != role:
                self._record("member.role_changed", member, {"from": before, "to": str(role)})
            return 200, MemberSerializer(changed).data

        return self.change(act)

    @extend_schema(operation_id="remove_member", tags=["Members"], responses={204: None})
    def delete(self, request: Request, user_id: int) -> Response:
        """Take a member out of the workspace, and revoke the API keys that they made here. The owner cannot be taken out."""

        def act() -> Answer:
            member = self._member(user_id)
            self._check_reach(str(member.role))
            try:
                remove_member(self.bearer.key.workspace, user=member.user)
            except OwnerIsFixedError as error:
                raise conflict(str(error)) from error
            return 204, {}

        return self.change(act)

    def _member(self, user_id: int) -> "Membership":
        member = members_of(self.workspace_id).filter(user_id=user_id).first() if user_id <= MAX_ID else None
        if member is None:
            raise not_found("such member")
        return member

    def _check_reach(self, *roles: str) -> None:
        for role in roles:
            if role != Role.OWNER and not GRANTS[Role(role)] <= GRANTS[Role(self.bearer.role)]:
                raise ApiError(
                    403,
                    "scope_missing",
                    f"The role {role} may do more than {self.bearer.role}, which is the role of whoever made this key. "
                    "Use a key of the owner.",
                )

    def _record(self, action: str, member: "Membership", details: dict[str, Any]) -> None:
        record(action, workspace_id=self.workspace_id, target=("user", member.user_id, ""), details=details)
