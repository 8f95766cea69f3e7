"""/keys: a workspace's API keys. What a key may be is said by accounts.services.apikeys; a secret is in one answer alone."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from accounts.selectors.apikeys import api_keys_of
from accounts.services.apikeys import (
    ApiKeyNotFoundError,
    ApiKeyStateError,
    InvalidApiKeyOptionError,
    KeyPermissionError,
    NewApiKey,
    create_api_key,
    disable_api_key,
    enable_api_key,
    revoke_api_key,
)
from accounts.services.key_changes import change_api_key
from accounts.services.rotation import rotate_api_key
from billing.selectors.budgets import budgets_of_keys
from dashboard.api.base import Answer, ManagementView
from dashboard.api.cursors import decode_cursor, row_id
from dashboard.api.fields import IDEMPOTENCY_KEY, LimitQuery, page_of
from dashboard.api.key_fields import KeyPatchBody, KeySerializer, NewKeyBody, NewKeySerializer, RotationBody
from dashboard.api.problems import conflict, invalid, not_found
from gateway.errors import ApiError

if TYPE_CHECKING:
    from accounts.models import ApiKey

CURSOR = "keys"


def shown(keys: Sequence["ApiKey"]) -> list[dict[str, Any]]:
    """Return keys as JSON has them, with what is left of their own budgets: one query for all of them."""
    budgets = budgets_of_keys([key.pk for key in keys if key.budget is not None])
    for key in keys:
        own = (left for left in budgets.get(key.pk, ()) if left.kind == "key")
        key.budget_left = next(own, None)  # type: ignore[attr-defined]  # for the serializer alone
    return [dict(KeySerializer(key).data) for key in keys]


def with_secret(new: NewApiKey) -> dict[str, Any]:
    """Return a key and its new secret: for the one answer that has it."""
    return {**shown([new.row])[0], "secret": new.secret}


def act_on_key[Result](act: Callable[[], Result]) -> Result:
    """Return what ``act`` returns. Raises ApiError for what the keys' services refuse."""
    try:
        return act()
    except ApiKeyNotFoundError as error:
        raise not_found("such API key") from error
    except ApiKeyStateError as error:
        raise conflict(str(error)) from error
    except InvalidApiKeyOptionError as error:
        raise invalid(str(error)) from error
    except KeyPermissionError as error:  # the maker's role changed since the key was let in
        raise ApiError(403, "scope_missing", str(error)) from error


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
        return self.listed(rows[: limit + 1], limit=limit, kind=CURSOR, place=lambda key: [key.pk], show=shown)

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
        key = self.bearer.key

        def act() -> Answer:
            return 201, with_secret(
                act_on_key(lambda: create_api_key(workspace=key.workspace, created_by=key.created_by, **wanted))
            )

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
        """One API key, with what is left of its budget."""
        key = api_keys_of(self.workspace_id).filter(prefix=prefix).first()
        if key is None:
            raise not_found("such API key")
        return Response(shown([key])[0])

    @extend_schema(operation_id="change_key", tags=["Keys"], request=KeyPatchBody, responses=KeySerializer)
    def patch(self, request: Request, prefix: str) -> Response:
        """Change an API key; what the body leaves out stays. The next request that the key sends is under the new rules."""
        wanted = self.body(KeyPatchBody)
        disabled = wanted.pop("disabled", None)

        def change() -> "ApiKey":
            key = change_api_key(workspace_id=self.workspace_id, prefix=prefix, **wanted)
            if disabled is not None:
                switch = disable_api_key if disabled else enable_api_key
                key = switch(workspace_id=self.workspace_id, prefix=prefix)
            return key

        return self.change(lambda: (200, shown([act_on_key(change)])[0]))

    @extend_schema(operation_id="revoke_key", tags=["Keys"], responses=KeySerializer)
    def delete(self, request: Request, prefix: str) -> Response:
        """Revoke an API key for good; the answer is the key. Twice is fine."""

        def revoke() -> "ApiKey":
            return revoke_api_key(workspace_id=self.workspace_id, prefix=prefix)

        return self.change(lambda: (200, shown([act_on_key(revoke)])[0]))


class KeyRotationView(ManagementView):
    """A new secret for an API key."""

    needs: ClassVar[dict[str, Permission]] = {"POST": Permission.MANAGE_KEYS}

    @extend_schema(
        operation_id="rotate_key",
        tags=["Keys"],
        parameters=[IDEMPOTENCY_KEY],
        request=RotationBody,
        responses={200: NewKeySerializer},
    )
    def post(self, request: Request, prefix: str) -> Response:
        """Give an API key a new secret, and with it a new prefix; budget, limits and history stay.

        The old secret works for `overlap_minutes`, and not after.
        """
        maker = self.bearer.key.created_by
        overlap = dt.timedelta(minutes=self.body(RotationBody)["overlap_minutes"])

        def act() -> Answer:
            return 200, with_secret(
                act_on_key(
                    lambda: rotate_api_key(workspace_id=self.workspace_id, prefix=prefix, overlap=overlap, by=maker)
                )
            )

        return self.change_once(act)
