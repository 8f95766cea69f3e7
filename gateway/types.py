"""What the request path knows about callers, models and upstreams: immutable values that the store builds. No Django."""

import datetime as dt
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

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
    #: Of the key's row: admission refuses a key whose row has another by then (0: nobody knows it).
    key_version: int = 0
    #: Beginnings of ids ("provider/") that the key may call too, beside ``allowed_models``.
    allowed_prefixes: tuple[str, ...] = ()
    #: Where it may be used from. Empty: everywhere.
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    #: The key's own pace, beside the workspace's; 0: none.
    key_requests_per_minute: int = 0
    #: The key or its maker has a budget.
    has_budget: bool = False
    #: This secret is the one before the last rotation, and works until then.
    secret_ends_at: dt.datetime | None = None
    disabled: bool = False
    #: Who made the key may not manage keys any more.
    orphaned: bool = False
    #: The workspace is being deleted.
    closing: bool = False

    @property
    def is_limited_to_models(self) -> bool:
        """Whether the key may call some models only."""
        return bool(self.allowed_models or self.allowed_prefixes)


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider's ways. The table is gateway.upstreams.profiles."""

    #: The field in which it reads the ceiling on output tokens.
    max_tokens_field: str = "max_tokens"
    #: It also reads the other field: a client's own limit may stay where it is.
    reads_both_fields: bool = False
    #: It stops producing, and billing, when we drop the connection. Else, and where nobody knows, the answer of a client that
    #: left is read to its end, bounded: then its bill is the provider's own count and no estimate.
    stops_billing_on_cancel: bool = False
    #: It knows ``stream_options``; if not, we cannot ask for usage and take what comes.
    accepts_stream_options: bool = True
    #: It fetches image URLs by itself; if not, only data URLs reach it.
    takes_image_urls: bool = True
    #: What one image costs at most, in tokens, for upper bounds.
    image_tokens: int = 8_192
    #: How it wants its credential, where that is not its protocol's way ("" is that: Bearer for chat completions, x-api-key for
    #: Messages).
    auth: Literal["", "bearer", "api-key", "x-api-key"] = ""
    #: How it is asked to think, of the providers that speak chat completions: the field ``reasoning_effort``; an object
    #: ``thinking`` that is on or off (DeepSeek, GLM); or not at all.
    reasoning: Literal["effort", "thinking", "none"] = "effort"
    #: It wants the reasoning of earlier turns back (``reasoning_content`` beside the tool calls); others refuse the field.
    takes_reasoning_back: bool = False
    #: It keeps and takes back ``reasoning_details`` (OpenRouter), in which signatures travel.
    takes_reasoning_details: bool = False
    #: It takes ``response_format`` of type ``json_schema``; if not, ``json_object``.
    takes_json_schema: bool = True
    #: It takes ``user``, the name of the client's own user.
    takes_user: bool = True
    #: It gives vectors as base64 where it is asked to; others may refuse that.
    gives_base64: bool = False
    #: It knows the role ``developer``; if not, that is ``system``.
    knows_developer_role: bool = False


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
    #: What the upstream charges us, and which version of it (gateway.RouteCost); None: not known.
    cost: Rates | None = None
    cost_id: int | None = None


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
