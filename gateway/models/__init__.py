"""Rows of the gateway app: the catalog and the usage events."""

from gateway.models.catalog import CatalogModel, Price, Route, Upstream
from gateway.models.usage import DailyUsage, DroppedUsage, HourlyUsage, UsageEvent, UsageWatermark

__all__ = [
    "CatalogModel",
    "DailyUsage",
    "DroppedUsage",
    "HourlyUsage",
    "Price",
    "Route",
    "Upstream",
    "UsageEvent",
    "UsageWatermark",
]
