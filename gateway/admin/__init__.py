"""The admin's pages of the catalog and of usage."""

from gateway.admin.catalog import CatalogModelAdmin, RouteAdmin, UpstreamAdmin
from gateway.admin.usage import UsageEventAdmin

__all__ = ["CatalogModelAdmin", "RouteAdmin", "UpstreamAdmin", "UsageEventAdmin"]
