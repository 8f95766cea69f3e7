"""What the request path knows about callers, models and upstreams: immutable values that the store builds. No Django."""

import datetime as dt
from dataclasses import dataclass, field

from billing.rating import Rates


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: an API key, resolved. Cached by the key's digest; every change of its rows drops it."""

    api_key_id: int
    workspace_id: int
    owner_id: int
    maker_id: int | None
    is_test: bool
    #: Empty: all models.
    allowed_models: frozenset[str]
    expires_at: dt.datetime | None
    revoked: bool
    suspended: bool
    #: The owner's address is proved: free models need it.
    email_verified: bool
    #: Policies accepted in their current version.
    policies: frozenset[str]
    #: 0 is unlimited.
    requests_per_minute: int
    daily_requests: int
    quota_subject: str


@dataclass(frozen=True, slots=True)
class UpstreamInfo:
    """An upstream as the request path needs it. ``credential`` is plain: never log or repr it. Times in seconds."""

    id: int
    name: str
    provider: str
    protocol: str
    base_url: str = ""
    credential: str = field(default="", repr=False)
    allow_private_network: bool = False
    connect_timeout: float = 5.0
    first_byte_timeout: float = 120.0
    idle_timeout: float = 60.0
    total_timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """A way from a model to an upstream; ``upstream_model`` is the upstream's own name, never shown."""

    upstream: UpstreamInfo
    upstream_model: str
    priority: int
    weight: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A catalog model with its current price and its routes (enabled ones, by priority)."""

    public_id: str
    display_name: str
    description: str
    kind: str
    context_window: int
    max_output_tokens: int | None
    tags: tuple[str, ...]
    supports_streaming: bool
    is_free: bool
    created: int
    price_id: int | None
    rates: Rates
    routes: tuple[RouteInfo, ...]

    @property
    def is_sandbox(self) -> bool:
        """Whether every route ends in the sandbox: in production such a model is for test keys only."""
        return bool(self.routes) and all(route.upstream.protocol == "sandbox" for route in self.routes)


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """The whole catalog at one moment, by public id."""

    models: dict[str, ModelInfo]
