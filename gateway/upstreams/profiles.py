"""What differs between providers of one protocol, as data. A provider without a row is served by the generic one."""

from gateway.types import Profile

GENERIC = Profile()
PROFILES = {
    # Reasoning models refuse max_tokens; every chat model takes the new field. gpt-4o-mini counts 48,169 tokens for eight tiles.
    "openai": Profile(
        max_tokens_field="max_completion_tokens",
        reads_both_fields=True,
        stops_billing_on_cancel=True,
        image_tokens=50_000,
    ),
    "azure": Profile(
        max_tokens_field="max_completion_tokens",
        reads_both_fields=True,
        stops_billing_on_cancel=True,
        image_tokens=50_000,
    ),
    "openrouter": Profile(stops_billing_on_cancel=True, reads_both_fields=True),
    "groq": Profile(max_tokens_field="max_completion_tokens", reads_both_fields=True),
    "mistral": Profile(accepts_stream_options=False),  # reports usage in the last chunk of every stream
    "deepseek": Profile(takes_image_urls=False),
    "xai": Profile(reads_both_fields=True),
    "google": Profile(takes_image_urls=False),
    "together": Profile(),
    "fireworks": Profile(),
    "cerebras": Profile(max_tokens_field="max_completion_tokens"),
    "ollama": Profile(stops_billing_on_cancel=True, takes_image_urls=False),
    "vllm": Profile(stops_billing_on_cancel=True, reads_both_fields=True),
    "sglang": Profile(stops_billing_on_cancel=True, reads_both_fields=True),
    "llamacpp": Profile(stops_billing_on_cancel=True, takes_image_urls=False, reads_both_fields=True),
    "lmstudio": Profile(stops_billing_on_cancel=True, takes_image_urls=False),
    "openai-compatible": GENERIC,
    "sandbox": Profile(reads_both_fields=True),
}


def profile_of(provider: str) -> Profile:
    """Return the profile of a provider; the generic one for a provider that has none."""
    return PROFILES.get(provider, GENERIC)
