"""Rows of the gateway app: the catalog and the usage events."""

from gateway.models.catalog import CatalogModel, Price, Route, RouteCost, Upstream
from gateway.models.usage import DailyUsage, DroppedUsage, HourlyUsage, UpstreamUsage, UsageEvent, UsageWatermark

__all__ = [
    "CatalogModel",
    "DailyUsage",
    "DroppedUsage",
    "HourlyUsage",
    "Price",
    "Route",
    "RouteCost",
    "Upstream",
    "UpstreamUsage",
    "UsageEvent",
    "UsageWatermark",
]
