"""/invitations: who was asked to join and has not answered. The link goes to the address alone, after the change is committed."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission, Role
from accounts.selectors.invitations import open_invitations_of
from accounts.services import invitations
from accounts.services.invitations import InvitationError, InvitationNotFoundError, SentInvitation
from accounts.services.users import InvalidEmailError
from dashboard.api.base import Answer
from dashboard.api.cursors import decode_cursor, row_id
from dashboard.api.fields import IDEMPOTENCY_KEY, LimitQuery, StrictSerializer, as_json, page_of
from dashboard.api.members import GIVEN_ROLES, MAX_ID, ROLES, PeopleView, act_on_people
from dashboard.api.problems import conflict, invalid, not_found
from dashboard.flows import teams

CURSOR = "invitations"
STATES = ["open", "expired", "revoked", "accepted"]


class InvitationBody(StrictSerializer):
    """Whom to invite, and as what."""

    email = serializers.CharField(max_length=254)
    role = serializers.ChoiceField(GIVEN_ROLES)


class InvitationSerializer(serializers.Serializer[Any]):
    """An invitation; its link is in the message alone."""

    id = serializers.IntegerField(source="pk")
    email = serializers.CharField()
    role = serializers.ChoiceField(ROLES)
    state = serializers.ChoiceField(STATES)
    invited_by = serializers.IntegerField(source="invited_by_id", allow_null=True, help_text="A user_id.")
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class InvitationsBase(PeopleView):
    """What the endpoints of invitations share."""

    def send(self, make: Callable[[], SentInvitation]) -> dict[str, Any]:
        """Return the invitation that ``make`` made; its message goes out once that is committed. Raises ApiError."""
        try:
            sent = act_on_people(make)
        except InvalidEmailError as error:
            raise invalid(f"`email`: {error}") from error
        except InvitationNotFoundError as error:
            raise not_found("such invitation") from error
        except InvitationError as error:
            raise conflict(str(error)) from error
        maker = self.maker
        transaction.on_commit(lambda: teams.send_invitation(sent, by=maker))
        return as_json(InvitationSerializer, sent.row)


class InvitationsView(InvitationsBase):
    """All that are not answered."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.MANAGE_MEMBERS, "POST": Permission.MANAGE_MEMBERS}

    @extend_schema(
        operation_id="list_invitations",
        tags=["Members"],
        parameters=[LimitQuery],
        responses=page_of(InvitationSerializer, "InvitationPage"),
    )
    def get(self, request: Request) -> Response:
        """Invitations that are open or have expired, newest first."""
        query = self.query(LimitQuery)
        limit = query["limit"]
        rows = open_invitations_of(self.workspace_id).order_by("-pk")
        after = decode_cursor(query.get("cursor"), kind=CURSOR, readers=[row_id])
        if after is not None:
            rows = rows.filter(pk__lt=after[0])
        return self.listed(
            rows[: limit + 1],
            limit=limit,
            kind=CURSOR,
            place=lambda row: [row.pk],
            show=lambda rows: [as_json(InvitationSerializer, row) for row in rows],
        )

    @extend_schema(
        operation_id="invite",
        tags=["Members"],
        parameters=[IDEMPOTENCY_KEY],
        request=InvitationBody,
        responses={201: InvitationSerializer},
    )
    def post(self, request: Request) -> Response:
        """Invite an address. An earlier invitation of it gets this role and a new link; the link before is void."""
        wanted = self.body(InvitationBody)

        def make() -> SentInvitation:
            return invitations.invite(
                self.workspace_id, email=wanted["email"], role=Role(wanted["role"]), by=self.maker
            )

        return self.change_once(lambda: (201, self.send(make)))


class InvitationView(InvitationsBase):
    """One of them."""

    needs: ClassVar[dict[str, Permission]] = {"DELETE": Permission.MANAGE_MEMBERS}

    @extend_schema(operation_id="revoke_invitation", tags=["Members"], responses={204: None})
    def delete(self, request: Request, invitation_id: int) -> Response:
        """Take an invitation back: its link is void at once."""

        def act() -> Answer:
            try:
                act_on_people(
                    lambda: invitations.revoke(
                        self.workspace_id, invitation_id=min(invitation_id, MAX_ID), by=self.maker
                    )
                )
            except InvitationNotFoundError as error:
                raise not_found("such invitation") from error
            return 204, {}

        return self.change(act)


class InvitationMessageView(InvitationsBase):
    """Its message."""

    needs: ClassVar[dict[str, Permission]] = {"POST": Permission.MANAGE_MEMBERS}

    @extend_schema(
        operation_id="resend_invitation",
        tags=["Members"],
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses=InvitationSerializer,
    )
    def post(self, request: Request, invitation_id: int) -> Response:
        """Write to the invited address once more, with a new link that is good for seven days."""

        def make() -> SentInvitation:
            return invitations.resend(self.workspace_id, invitation_id=min(invitation_id, MAX_ID), by=self.maker)

        return self.change_once(lambda: (200, self.send(make)))
