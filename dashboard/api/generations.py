"""GET /generations: the workspace's requests that have ended, newest first. Nothing of upstreams is in it, and no content."""

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from accounts.selectors.apikeys import api_keys_of
from dashboard.api.base import ManagementView
from dashboard.api.cursors import decode_cursor
from dashboard.api.fields import LimitQuery, NanoField, UsdField, page_of
from dashboard.api.problems import not_found
from gateway.protocols.receipt import SOURCES
from gateway.selectors.generations import generations_of

CURSOR = "generations"
STATUSES = ["ok", "client_closed", "upstream_error", "cut", "released", "expired"]


class GenerationsQuery(LimitQuery):
    """Which requests."""

    model = serializers.CharField(required=False, max_length=200, help_text="Of this model only.")
    key = serializers.CharField(required=False, max_length=16, help_text="Of the API key with this prefix only.")
    status = serializers.ChoiceField(STATUSES, required=False, help_text="That ended so only.")
    since = serializers.DateTimeField(required=False, help_text="That came at this time or later only.")
    until = serializers.DateTimeField(required=False, help_text="That came before this time only.")


class GenerationSerializer(serializers.Serializer[Any]):
    """A request that has ended; `GET /api/v1/generation?id=` shows its receipt to an API key."""

    id = serializers.SerializerMethodField(help_text="The id of the answer without its beginning.")
    created_at = serializers.DateTimeField(source="started_at")
    model = serializers.CharField()
    key = serializers.SerializerMethodField(help_text="The API key's prefix; null: it is gone.")
    status = serializers.ChoiceField(STATUSES)
    http_status = serializers.IntegerField()
    error_code = serializers.SerializerMethodField()
    is_stream = serializers.BooleanField()
    is_free = serializers.BooleanField()
    input_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField(help_text="A part of the output.")
    usage_source = serializers.SerializerMethodField(help_text="Who counted: `reported`, `estimated` or `none`.")
    charge = UsdField()
    charge_nano = NanoField(source="charge")
    first_token_ms = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField()

    def get_id(self, row: Any) -> str:
        """Return the id as the data plane writes it."""
        return str(row.id.hex)

    def get_key(self, row: Any) -> str | None:
        """Return the prefix of the key that asked."""
        prefix: str | None = self.context["prefixes"].get(row.api_key_id)
        return prefix

    def get_error_code(self, row: Any) -> str | None:
        """Return the code, None where all went well."""
        return row.error_code or None

    def get_usage_source(self, row: Any) -> str:
        """Return who counted the tokens, as clients are told it."""
        return SOURCES.get(row.usage_source, str(row.usage_source))


class GenerationsView(ManagementView):
    """Requests, one by one."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW}

    @extend_schema(
        operation_id="list_generations",
        tags=["Usage"],
        parameters=[GenerationsQuery],
        responses=page_of(GenerationSerializer, "GenerationPage"),
    )
    def get(self, request: Request) -> Response:
        """The workspace's requests that have ended, newest first."""
        query = self.query(GenerationsQuery)
        limit = query.pop("limit")
        before = decode_cursor(query.pop("cursor", None), kind=CURSOR, readers=[uuid.UUID])
        prefixes = dict(api_keys_of(self.workspace_id).order_by().values_list("pk", "prefix"))
        prefix = query.pop("key", None)
        api_key_id = next((pk for pk, known in prefixes.items() if known == prefix), None)
        if prefix is not None and api_key_id is None:
            raise not_found("such API key")
        rows = generations_of(
            self.workspace_id,
            limit=limit + 1,
            before=before[0] if before else None,
            api_key_id=api_key_id,
            **query,
        )
        return self.listed(
            rows,
            limit=limit,
            kind=CURSOR,
            place=lambda row: [row.id.hex],
            show=lambda shown: [dict(GenerationSerializer(row, context={"prefixes": prefixes}).data) for row in shown],
        )
