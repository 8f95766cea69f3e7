"""/keys: a workspace's API keys. What a key may be is said by accounts.services.apikeys; a secret is in one answer alone."""

from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from accounts.selectors.apikeys import api_keys_of
from accounts.services.apikeys import (
    ApiKeyNotFoundError,
    ApiKeyStateError,
    InvalidApiKeyOptionError,
    KeyPermissionError,
    create_api_key,
    revoke_api_key,
)
from accounts.services.key_changes import change_api_key
from dashboard.api.base import Answer, ManagementView
from dashboard.api.cursors import decode_cursor, row_id
from dashboard.api.fields import LimitQuery, StrictSerializer, page_of
from dashboard.api.problems import conflict, invalid, not_found
from gateway.errors import ApiError

if TYPE_CHECKING:
    from accounts.models import ApiKey

CURSOR = "keys"
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key with the same body gets the first answer again within 24 hours, without its secret.",
)


class NewKeyBody(StrictSerializer):
    """An API key to be made."""

    name = serializers.CharField(max_length=80, help_text="What people call it.")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="When it ends; null: never.")
    allowed_models = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        max_length=100,
        help_text="Ids of the only models that it may call; empty: all.",
    )
    is_test = serializers.BooleanField(required=False, help_text="It reaches sandbox models only.")


class KeyPatchBody(StrictSerializer):
    """What to change of an API key; what is left out stays."""

    name = serializers.CharField(required=False, max_length=80)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    allowed_models = serializers.ListField(child=serializers.CharField(max_length=200), required=False, max_length=100)


class KeySerializer(serializers.Serializer[Any]):
    """An API key without its secret."""

    prefix = serializers.CharField(help_text="Names the key: the public beginning of its secret.")
    last_four = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(["active", "expired", "revoked"])
    is_test = serializers.BooleanField()
    allowed_models = serializers.ListField(child=serializers.CharField())
    created_by = serializers.IntegerField(source="created_by_id", allow_null=True, help_text="A member's user_id.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class NewKeySerializer(KeySerializer):
    """An API key that was just made."""

    secret = serializers.CharField(allow_null=True, help_text="Seen this once; null in a repeated answer.")


class KeysView(ManagementView):
    """All API keys."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW, "POST": Permission.MANAGE_KEYS}

    @extend_schema(
        operation_id="list_keys", tags=["Keys"], parameters=[LimitQuery], responses=page_of(KeySerializer, "KeyPage")
    )
    def get(self, request: Request) -> Response:
        """The workspace's API keys, newest first."""
        query = self.query(LimitQuery)
        limit = query["limit"]
        rows = api_keys_of(self.workspace_id).order_by("-pk")
        after = decode_cursor(query.get("cursor"), kind=CURSOR, readers=[row_id])
        if after is not None:
            rows = rows.filter(pk__lt=after[0])
        return self.listed(
            rows[: limit + 1],
            limit=limit,
            kind=CURSOR,
            place=lambda key: [key.pk],
            show=lambda keys: [KeySerializer(key).data for key in keys],
        )

    @extend_schema(
        operation_id="create_key",
        tags=["Keys"],
        parameters=[IDEMPOTENCY_KEY],
        request=NewKeyBody,
        responses={201: NewKeySerializer},
    )
    def post(self, request: Request) -> Response:
        """Make an API key. Its secret is in this answer, and in no other."""
        wanted = self.body(NewKeyBody)

        def act() -> Answer:
            try:
                new = create_api_key(
                    workspace=self.bearer.key.workspace, created_by=self.bearer.key.created_by, **wanted
                )
            except InvalidApiKeyOptionError as error:
                raise invalid(str(error)) from error
            except KeyPermissionError as error:  # the maker's role changed since the key was let in
                raise ApiError(403, "scope_missing", str(error)) from error
            return 201, {**KeySerializer(new.row).data, "secret": new.secret}

        return self.change_once(act)


class KeyView(ManagementView):
    """One API key."""

    needs: ClassVar[dict[str, Permission]] = {
        "GET": Permission.VIEW,
        "PATCH": Permission.MANAGE_KEYS,
        "DELETE": Permission.MANAGE_KEYS,
    }

    @extend_schema(operation_id="get_key", tags=["Keys"], responses=KeySerializer)
    def get(self, request: Request, prefix: str) -> Response:
        """One API key."""
        return Response(KeySerializer(self._key(prefix)).data)

    @extend_schema(operation_id="change_key", tags=["Keys"], request=KeyPatchBody, responses=KeySerializer)
    def patch(self, request: Request, prefix: str) -> Response:
        """Change an API key; what the body leaves out stays."""
        wanted = self.body(KeyPatchBody)

        def act() -> Answer:
            try:
                key = change_api_key(workspace_id=self.workspace_id, prefix=prefix, **wanted)
            except ApiKeyNotFoundError as error:
                raise not_found("such API key") from error
            except ApiKeyStateError as error:
                raise conflict(str(error)) from error
            except InvalidApiKeyOptionError as error:
                raise invalid(str(error)) from error
            return 200, KeySerializer(key).data

        return self.change(act)

    @extend_schema(operation_id="revoke_key", tags=["Keys"], responses=KeySerializer)
    def delete(self, request: Request, prefix: str) -> Response:
        """Revoke an API key for good; the answer is the key. Twice is fine."""

        def act() -> Answer:
            try:
                key = revoke_api_key(workspace_id=self.workspace_id, prefix=prefix)
            except ApiKeyNotFoundError as error:
                raise not_found("such API key") from error
            return 200, KeySerializer(key).data

        return self.change(act)

    def _key(self, prefix: str) -> "ApiKey":
        key = api_keys_of(self.workspace_id).filter(prefix=prefix).first()
        if key is None:
            raise not_found("such API key")
        return key
