"""Catalog files for an installation whose only provider is the mock upstream. Prices are USD per million tokens."""

from collections.abc import Sequence

INPUT_PRICE, OUTPUT_PRICE = "0.50", "1.50"
#: What the names of models begin with that the mock answers as Anthropic's Messages.
MESSAGES_PREFIX = "messages/"

_UPSTREAM = """
[[upstreams]]
name = "{name}"
provider = "{provider}"
protocol = "{protocol}"
base_url = "http://127.0.0.1:{port}{path}"
credential = "sk-mock"
allow_private_network = true
"""
_MODEL = """
[[models]]
id = "{model}"
display_name = "{model}"
kind = "chat"
context_window = 128000
max_output_tokens = 16384
tags = ["streaming"]
free = {free}
[models.price]
input = "{input}"
output = "{output}"
[[models.routes]]
upstream = "{upstream}"
model = "{answers_as}"
"""


def upstream_entry(
    *,
    port: int,
    name: str = "mock",
    provider: str = "openai-compatible",
    protocol: str = "openai_chat",
    **limits: float,
) -> str:
    """Return an upstream's entry; ``limits`` are its time limits by their names in the catalog, in seconds."""
    path = "" if protocol == "anthropic_messages" else "/v1"
    entry = _UPSTREAM.format(name=name, provider=provider, protocol=protocol, port=port, path=path)
    return entry + "".join(f"{limit} = {seconds}\n" for limit, seconds in limits.items())


def model_entry(model: str, *, upstream: str = "mock", answers_as: str | None = None, free: bool = False) -> str:
    """Return a model's entry. ``answers_as`` is the mock's name for what it does (rig.upstream), the model's own by default."""
    prices = ("0", "0") if free else (INPUT_PRICE, OUTPUT_PRICE)
    return _MODEL.format(
        model=model,
        upstream=upstream,
        answers_as=answers_as or model,
        free=str(free).lower(),
        input=prices[0],
        output=prices[1],
    )


def catalog_of(
    *, port: int, models: Sequence[str], free_models: Sequence[str] = (), messages_models: Sequence[str] = ()
) -> str:
    """Return a whole catalog; models are named as the mock at ``port`` names them."""
    entries = [upstream_entry(port=port), *map(model_entry, models)]
    entries += [model_entry(model, free=True) for model in free_models]
    if messages_models:
        name = "mock-messages"
        entries.append(upstream_entry(port=port, name=name, provider="anthropic", protocol="anthropic_messages"))
        entries += [model_entry(MESSAGES_PREFIX + model, upstream=name, answers_as=model) for model in messages_models]
    return "".join(entries)
