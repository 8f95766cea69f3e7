"""/members: who belongs to the workspace, and with which role. The rules and the messages are those of dashboard.flows.teams."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.budgets import Budget
from accounts.roles import Permission, Role, role_allows
from accounts.selectors.workspaces import members_of
from accounts.services.members import MemberNotFoundError, NotAllowedError, change_budget
from accounts.services.workspaces import OwnerIsFixedError, WorkspaceIsClosingError
from billing.selectors.budgets import budgets_of_members
from dashboard.api.base import Answer, ManagementView
from dashboard.api.cursors import decode_cursor, row_id
from dashboard.api.fields import LimitQuery, StrictSerializer, as_json, page_of
from dashboard.api.key_fields import BudgetBody, BudgetSerializer
from dashboard.api.problems import conflict, not_found
from dashboard.flows import teams
from gateway.errors import ApiError

if TYPE_CHECKING:
    from accounts.models import Membership, User

CURSOR = "members"
MAX_ID = 2**63 - 1
ROLES = [role.value for role in Role]
#: The owner's is handed over on the site, and never given.
GIVEN_ROLES = [role for role in ROLES if role != Role.OWNER]


class MemberPatchBody(StrictSerializer):
    """What to change of a member; what is left out stays."""

    role = serializers.ChoiceField(GIVEN_ROLES, required=False)
    budget = BudgetBody(
        required=False, allow_null=True, help_text="For all API keys that they made here together; null: none."
    )


class MemberSerializer(serializers.Serializer[Any]):
    """A person in the workspace."""

    user_id = serializers.IntegerField()
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(ROLES)
    budget = BudgetSerializer(source="budget_left", allow_null=True)
    joined_at = serializers.DateTimeField(source="created_at")


def act_on_people[Result](act: Callable[[], Result]) -> Result:
    """Return what ``act`` returns. Raises ApiError for what the members' services refuse."""
    try:
        return act()
    except MemberNotFoundError as error:
        raise not_found("such member") from error
    except NotAllowedError as error:
        raise ApiError(403, "scope_missing", str(error)) from error
    except (OwnerIsFixedError, WorkspaceIsClosingError) as error:
        raise conflict(str(error)) from error


class PeopleView(ManagementView):
    """An endpoint about people: what it does, it does as whoever made its key, with the role that they have now."""

    @property
    def maker(self) -> "User":
        """Whoever made the key. Raises ApiError 403, though keys without one are not let in."""
        maker = self.bearer.key.created_by
        if maker is None:
            raise ApiError(
                403, "scope_missing", "Nobody stands behind this management key. Ask an owner for a new one."
            )
        return maker

    def shown(self, members: "list[Membership]") -> list[dict[str, Any]]:
        """Return members as JSON has them, with what is left of their budgets."""
        may_see = role_allows(self.bearer.role, Permission.MANAGE_MEMBERS)  # as on the page
        budgets = budgets_of_members(self.workspace_id) if may_see else {}
        for member in members:
            member.budget_left = budgets.get(member.user_id)  # type: ignore[attr-defined]  # for the serializer alone
        return [as_json(MemberSerializer, member) for member in members]

    def member(self, user_id: int) -> "Membership":
        """Return a member. Raises ApiError 404."""
        found = members_of(self.workspace_id).filter(user_id=user_id).first() if user_id <= MAX_ID else None
        if found is None:
            raise not_found("such member")
        return found


class MembersView(PeopleView):
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
            rows[: limit + 1], limit=limit, kind=CURSOR, place=lambda member: [member.pk], show=self.shown
        )


class MemberView(PeopleView):
    """One member."""

    needs: ClassVar[dict[str, Permission]] = {
        "GET": Permission.VIEW,
        "PATCH": Permission.MANAGE_MEMBERS,
        "DELETE": Permission.MANAGE_MEMBERS,
    }

    @extend_schema(operation_id="get_member", tags=["Members"], responses=MemberSerializer)
    def get(self, request: Request, user_id: int) -> Response:
        """One member."""
        return Response(self.shown([self.member(user_id)])[0])

    @extend_schema(operation_id="change_member", tags=["Members"], request=MemberPatchBody, responses=MemberSerializer)
    def patch(self, request: Request, user_id: int) -> Response:
        """Give a member another role, which they are told, or a budget. The owner's role is never given or taken."""
        wanted = self.body(MemberPatchBody)

        def act() -> Answer:
            member = self.member(user_id)
            if "role" in wanted:
                role = Role(wanted["role"])
                act_on_people(
                    lambda: teams.change_role(self.workspace_id, member_id=member.pk, role=role, by=self.maker)
                )
            if "budget" in wanted:
                self._set_budget(member.pk, wanted["budget"])
            return 200, self.shown([self.member(user_id)])[0]

        return self.change(act)

    @extend_schema(operation_id="remove_member", tags=["Members"], responses={204: None})
    def delete(self, request: Request, user_id: int) -> Response:
        """Take a member out of the workspace, and revoke the API keys that they made here. The owner cannot be taken out."""

        def act() -> Answer:
            member = self.member(user_id)
            act_on_people(lambda: teams.expel(self.workspace_id, member_id=member.pk, by=self.maker))
            return 204, {}

        return self.change(act)

    def _set_budget(self, member_id: int, budget: Budget | None) -> None:
        act_on_people(lambda: change_budget(self.workspace_id, member_id=member_id, budget=budget, by=self.maker))
