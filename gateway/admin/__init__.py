"""The admin's pages of the catalog, of usage and of margins."""

from gateway.admin.catalog import CatalogModelAdmin, UpstreamAdmin
from gateway.admin.margins import MarginAdmin
from gateway.admin.routes import RouteAdmin
from gateway.admin.usage import UsageEventAdmin

__all__ = ["CatalogModelAdmin", "MarginAdmin", "RouteAdmin", "UpstreamAdmin", "UsageEventAdmin"]
