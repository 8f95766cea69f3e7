"""The catalog file as values: what it may say, its defaults, and every rule that needs no database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.models.catalog import ModelKind, Protocol, model_id_is_valid
from gateway.services.catalog_fields import MAX_INTEGER, CatalogError, Fields
from gateway.services.upstream_urls import url_problems

PROTOCOLS = {protocol.value: "" for protocol in Protocol}
KINDS = {kind.value: "" for kind in ModelKind}
#: The defaults of gateway.models.Upstream, in seconds.
TIMEOUTS = {"connect_timeout": 5.0, "first_byte_timeout": 120.0, "idle_timeout": 60.0, "total_timeout": 600.0}
PRICE_CLASSES = ("input", "output", "cache_read", "cache_write")
TAG_RULE = "lower-case letters, digits, - and _, at most 40"
_MODEL_ID = re.compile(model_id_is_valid.regex).pattern
TAG_PATTERN = r"[a-z0-9][a-z0-9_-]{0,39}"
CREDENTIAL_PATTERN = r"[\x21-\x7e]+"
CREDENTIAL_RULE = "visible ASCII characters without spaces"
_PRINTABLE = r"[^\x00-\x1f\x7f]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSpec:
    """An upstream of the file. ``credential`` None keeps the stored one, ``enabled`` None keeps the stored state."""

    name: str
    provider: str
    protocol: str
    base_url: str
    credential: str | None
    allow_private_network: bool
    timeouts: Mapping[str, float]
    enabled: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSpec:
    """A price of the file, or what a route costs us, in nano-USD per million tokens."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSpec:
    """A route of the file, below its model. ``enabled`` and ``cost`` None keep what is stored."""

    upstream: str
    upstream_model: str
    priority: int
    weight: int
    enabled: bool | None
    cost: PriceSpec | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model of the file, with its price and its routes."""

    public_id: str
    display_name: str
    description: str
    kind: str
    context_window: int
    max_output_tokens: int | None
    tags: tuple[str, ...]
    supports_streaming: bool
    is_free: bool
    enabled: bool | None
    price: PriceSpec
    routes: tuple[RouteSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSpec:
    """A whole catalog file."""

    upstreams: tuple[UpstreamSpec, ...]
    models: tuple[ModelSpec, ...]


def parse_catalog(
    data: Mapping[str, Any], *, environ: Mapping[str, str], known_upstreams: frozenset[str] = frozenset()
) -> CatalogSpec:
    """Return a catalog file's contents, checked.

    Args:
        data: the parsed TOML.
        environ: where ``credential_env`` is looked up.
        known_upstreams: upstreams that routes may name besides the file's own.

    Raises:
        CatalogError: with every problem, each with its place.
    """
    problems: list[str] = []
    root = Fields(data, place="catalog", problems=problems)
    upstreams = [
        _upstream(_named(value, "upstreams", index, "name", problems), environ)
        for index, value in enumerate(root.tables("upstreams"))
    ]
    names = known_upstreams | {upstream.name for upstream in upstreams}
    models = [
        _model(_named(value, "models", index, "id", problems), names)
        for index, value in enumerate(root.tables("models"))
    ]
    root.finish()
    _refuse_twins([upstream.name for upstream in upstreams], "upstreams", problems)
    _refuse_twins([model.public_id for model in models], "models", problems)
    if problems:
        raise CatalogError(problems)
    return CatalogSpec(upstreams=tuple(upstreams), models=tuple(models))


def _named(value: object, group: str, index: int, key: str, problems: list[str]) -> Fields:
    """Return the fields of a table of a list; its place has the number and, if it has one, the name."""
    name = value.get(key) if isinstance(value, Mapping) else None
    place = f"{group}[{index}]" + (f' "{name}"' if isinstance(name, str) else "")
    return Fields(value, place=place, problems=problems)


def _refuse_twins(names: list[str], group: str, problems: list[str]) -> None:
    twins = sorted({name for name in names if name and names.count(name) > 1})
    problems.extend(f'{group}: "{name}" is there more than once' for name in twins)


def _upstream(fields: Fields, environ: Mapping[str, str]) -> UpstreamSpec:
    protocol = fields.choice("protocol", None, choices=PROTOCOLS)
    spec = UpstreamSpec(
        name=fields.slug("name", max_length=60),
        provider=fields.slug("provider", max_length=40),
        protocol=protocol,
        base_url=fields.text("base_url", "", max_length=300),
        allow_private_network=fields.flag("allow_private_network", default=False),
        credential=_credential(fields, environ),
        timeouts={name: fields.seconds(name, default) for name, default in TIMEOUTS.items()},
        enabled=_enabled(fields),
    )
    for text in url_problems(protocol, spec.base_url, allow_private_network=spec.allow_private_network):
        fields.problem(text, key="base_url")
    if protocol == Protocol.SANDBOX and spec.credential is not None:
        fields.problem("the sandbox takes no credential")
    fields.finish()
    return spec


def _credential(fields: Fields, environ: Mapping[str, str]) -> str | None:
    given = fields.text("credential", "", max_length=4000, pattern=r"[\x21-\x7e]*", rule=CREDENTIAL_RULE)
    variable = fields.text(
        "credential_env", "", max_length=200, pattern=r"[A-Za-z_][A-Za-z0-9_]*", rule="the name of a variable"
    )
    if fields.has("credential") and fields.has("credential_env"):
        fields.problem("give credential or credential_env, not both")
    if fields.has("credential") and not given:
        fields.problem("is empty; leave it out to keep the stored one", key="credential")
    if not variable:
        return given or None
    found = environ.get(variable, "").strip()
    if not found:
        fields.problem(f"the environment variable {variable} is not set", key="credential_env")
    elif not re.fullmatch(CREDENTIAL_PATTERN, found):
        fields.problem(f"the value of {variable} is not valid: {CREDENTIAL_RULE}", key="credential_env")
    return found or None


def _model(fields: Fields, upstreams: frozenset[str]) -> ModelSpec:
    kind = fields.choice("kind", ModelKind.CHAT.value, choices=KINDS)
    is_chat = kind == ModelKind.CHAT
    public_id = fields.text("id", max_length=200, pattern=_MODEL_ID, rule=str(model_id_is_valid.message))
    is_free = fields.flag("free", default=False)
    context_window = fields.integer("context_window", None, low=1)
    spec = ModelSpec(
        public_id=public_id,
        display_name=fields.text("display_name", public_id[:120], max_length=120) or public_id[:120],
        description=fields.text("description", "", max_length=5000),
        kind=kind,
        context_window=context_window,
        max_output_tokens=_max_output(fields, context_window, is_chat=is_chat),
        tags=fields.texts("tags", pattern=TAG_PATTERN, rule=TAG_RULE),
        supports_streaming=fields.flag("supports_streaming", default=is_chat),
        is_free=is_free,
        enabled=_enabled(fields),
        price=_price(fields, is_free=is_free, is_chat=is_chat),
        routes=_routes(fields, upstreams, is_chat=is_chat),
    )
    if "streaming" in spec.tags and not spec.supports_streaming:
        fields.problem('the tag "streaming" says the opposite', key="supports_streaming")
    fields.finish()
    return spec


def _max_output(fields: Fields, context_window: int, *, is_chat: bool) -> int | None:
    """Read max_output_tokens; a chat model that names none may fill its context."""
    limit = fields.integer("max_output_tokens", context_window, low=1)
    if not is_chat:
        if fields.has("max_output_tokens"):
            fields.problem("an embedding model generates no tokens; leave it out", key="max_output_tokens")
        return None
    if limit > context_window > 0:
        fields.problem(f"{limit} is more than context_window, {context_window}", key="max_output_tokens")
    return limit


def _price(fields: Fields, *, is_free: bool, is_chat: bool) -> PriceSpec:
    table = fields.table("price")
    if table is None:
        if not is_free:
            fields.problem("is missing: give the price, or say free = true", key="price")
        return PriceSpec(input=0, output=0)
    price = _classes(table, required=_required(is_chat=is_chat) if not is_free else ())
    if is_free and any((price.input, price.output, price.cache_read, price.cache_write)):
        fields.problem("a free model has no price; leave the price out, or say free = false", key="price")
    return price


def _required(*, is_chat: bool) -> tuple[str, ...]:
    return ("input", "output") if is_chat else ("input",)


def _classes(table: Fields, *, required: tuple[str, ...]) -> PriceSpec:
    """Read a table of dollars per million tokens by class."""
    read = {name: table.usd(name, required=name in required) for name in PRICE_CLASSES}
    table.finish()
    return PriceSpec(
        input=read["input"] or 0,
        output=read["output"] or 0,
        cache_read=read["cache_read"],
        cache_write=read["cache_write"],
    )


def _routes(fields: Fields, upstreams: frozenset[str], *, is_chat: bool) -> tuple[RouteSpec, ...]:
    routes: list[RouteSpec] = []
    for index, value in enumerate(fields.tables("routes")):
        table = Fields(value, place=f"{fields.place}.routes[{index}]", problems=fields.problems)
        route = RouteSpec(
            upstream=table.text("upstream", max_length=60),
            upstream_model=table.text("model", max_length=200, pattern=_PRINTABLE, rule="no control characters"),
            priority=table.integer("priority", 1, low=0, high=32767),
            weight=table.integer("weight", 100, low=1, high=MAX_INTEGER),
            enabled=_enabled(table),
            cost=_cost(table, is_chat=is_chat),
        )
        if route.upstream and route.upstream not in upstreams:
            table.problem(f'there is no upstream "{route.upstream}"', key="upstream")
        table.finish()
        routes.append(route)
    _refuse_twins([f"{route.upstream} → {route.upstream_model}" for route in routes], fields.place, fields.problems)
    return tuple(routes)


def _cost(fields: Fields, *, is_chat: bool) -> PriceSpec | None:
    """Read what the upstream charges us; absent is None: it stays as it is stored, or not known."""
    table = fields.table("cost")
    return None if table is None else _classes(table, required=_required(is_chat=is_chat))


def _enabled(fields: Fields) -> bool | None:
    """Read ``enabled``; absent is None, which keeps what an operator switched in the admin."""
    value = fields.flag("enabled", default=True)
    return value if fields.has("enabled") else None
