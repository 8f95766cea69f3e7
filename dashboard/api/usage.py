"""GET /usage: sums of requests, tokens and charges, grouped as asked. They come from roll-ups, and are never late."""

import datetime as dt
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from accounts.selectors.apikeys import api_keys_of
from dashboard.api.base import ManagementView
from dashboard.api.cursors import decode_cursor, row_id, text
from dashboard.api.fields import LimitQuery, NanoField, UsdField, page_of
from gateway.selectors.usage_groups import DIMENSIONS, UsageGroup, usage_groups
from lumyx.lib import clock

#: The longest range in days, where hours are asked for and where not.
MAX_DAYS, MAX_DAYS_OF_HOURS = 366, 31
DEFAULT_DAYS = 30
READERS = {"hour": dt.datetime.fromisoformat, "day": dt.date.fromisoformat, "model": text, "key": row_id}


class UsageQuery(LimitQuery):
    """What to sum, and over which days."""

    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100, help_text="How many groups, 1 to 1000.")
    group_by = serializers.CharField(
        required=False,
        default="day",
        max_length=40,
        help_text="One or more of `hour`, `day`, `model`, `key`, with commas between them; the order of the answer.",
    )
    start = serializers.DateField(required=False, help_text="The first UTC day; without it, 30 days up to `end`.")
    end = serializers.DateField(required=False, help_text="The last UTC day, included; without it, today.")

    def validate_group_by(self, value: str) -> list[str]:
        """Return the dimensions, each once."""
        names = [name.strip() for name in value.split(",")]
        if not set(names) <= set(DIMENSIONS) or len(set(names)) < len(names):
            raise serializers.ValidationError(
                f"Send some of {', '.join(DIMENSIONS)}, each once, with commas between them."
            )
        return names

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in the range, and keep it in bounds."""
        end = attrs.setdefault("end", clock.now().date())
        if not dt.date(2020, 1, 1) <= end <= dt.date(9000, 1, 1):
            raise serializers.ValidationError({"end": "Send a day of this century."})
        start = attrs.setdefault("start", end - dt.timedelta(days=DEFAULT_DAYS - 1))
        most = MAX_DAYS_OF_HOURS if "hour" in attrs["group_by"] else MAX_DAYS
        if not 0 <= (end - start).days < most:
            raise serializers.ValidationError(
                {"start": f"The range from `start` to `end` has 1 to {most} days. Ask for a longer one in parts."}
            )
        return attrs


class UsageSerializer(serializers.Serializer[Any]):
    """The sums of one group. Of `hour`, `day`, `model` and `key` it has those that were asked for."""

    hour = serializers.DateTimeField(required=False, help_text="Its beginning.")
    day = serializers.DateField(required=False, help_text="In UTC.")
    model = serializers.CharField(required=False)
    key = serializers.CharField(required=False, allow_null=True, help_text="An API key's prefix; null: none.")
    requests = serializers.IntegerField()
    # The class keeps its own errors: declared fields are moved out of the way.
    errors = serializers.IntegerField(help_text="How many of the requests failed.")  # type: ignore[assignment]
    input_tokens = serializers.IntegerField(help_text="Without those of caches.")
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    charge = UsdField()
    charge_nano = NanoField(source="charge")


class UsageView(ManagementView):
    """Sums of usage."""

    needs: ClassVar[dict[str, Permission]] = {"GET": Permission.VIEW}

    @extend_schema(
        operation_id="get_usage",
        tags=["Usage"],
        parameters=[UsageQuery],
        responses=page_of(UsageSerializer, "UsagePage"),
    )
    def get(self, request: Request) -> Response:
        """Requests, tokens and charges of the workspace, summed by hour, day, model or API key."""
        query = self.query(UsageQuery)
        by, limit = query["group_by"], query["limit"]
        kind = f"usage:{','.join(by)}"
        groups = usage_groups(
            self.workspace_id,
            by,
            start=query["start"],
            end=query["end"],
            limit=limit + 1,
            after=decode_cursor(query.get("cursor"), kind=kind, readers=[READERS[name] for name in by]),
        )
        return self.listed(
            groups,
            limit=limit,
            kind=kind,
            place=lambda group: [v.isoformat() if isinstance(v, dt.date) else v for v in group.values],
            show=lambda shown: self._shown(by, shown),
        )

    def _shown(self, by: list[str], groups: list[UsageGroup]) -> list[dict[str, Any]]:
        prefixes: dict[int, str] = {}
        if "key" in by:
            prefixes = dict(api_keys_of(self.workspace_id).order_by().values_list("pk", "prefix"))
        shown = []
        for group in groups:
            values = dict(zip(by, group.values, strict=True))
            if "key" in values:
                values["key"] = prefixes.get(values["key"])
            sums = {name: getattr(group.totals, name) for name in group.totals.__dataclass_fields__}
            shown.append(dict(UsageSerializer({**values, **sums}).data))
        return shown
