"""How values look in the management API's JSON: amounts, moments, strict objects, pages."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema_field, inline_serializer
from rest_framework import serializers

from lumyx.lib.money import nano_to_usd

#: What a POST may be sent with, so that sending it again changes nothing.
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key with the same body gets the first answer again within 24 hours, without its secret.",
)


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields that it does not know, by their names."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the checked values. Raises ValidationError."""
        if isinstance(data, dict):
            unknown = sorted(str(name) for name in set(data) - set(self.fields))
            if unknown:
                known = ", ".join(self.fields)
                raise serializers.ValidationError(
                    {
                        name: [serializers.ErrorDetail(f"There is no such field. Known are: {known}.", "unknown")]
                        for name in unknown
                    }
                )
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "description": "US dollars, a decimal number.", "examples": ["1.5"]})
class UsdField(serializers.Field[int, Any, str, Any]):
    """Nano-USD, shown as dollars."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: int) -> str:
        """Return dollars as a decimal string."""
        return nano_to_usd(value)


@extend_schema_field(
    {"type": "string", "description": "Billionths of a US dollar, an integer.", "examples": ["1500000000"]}
)
class NanoField(serializers.Field[int, Any, str, Any]):
    """Nano-USD as a string, which no JSON reader rounds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: int) -> str:
        """Return the integer as a string."""
        return str(value)


def as_json(shape: type[serializers.BaseSerializer[Any]], row: Any) -> dict[str, Any]:
    """Return a row as a serializer shows it."""
    return dict(shape(row).data)


class LimitQuery(StrictSerializer):
    """Which page of a list."""

    limit = serializers.IntegerField(min_value=1, max_value=100, default=20, help_text="How many, 1 to 100.")
    cursor = serializers.CharField(
        required=False, max_length=1000, help_text="`next_cursor` of the page before; without it, the first page."
    )


def page_of(item: type[serializers.BaseSerializer[Any]], name: str) -> Any:
    """Return the schema of a page of ``item``."""
    return inline_serializer(
        name=name,
        fields={
            "data": item(many=True),
            "has_more": serializers.BooleanField(),
            "next_cursor": serializers.CharField(allow_null=True),
        },
    )
