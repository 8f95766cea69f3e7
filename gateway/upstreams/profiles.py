"""What differs between providers of one protocol, as data. A provider without a row is served by the generic one."""

from dataclasses import replace

from gateway.types import Profile

GENERIC = Profile()
#: OpenAI's models, wherever they are. Reasoning models refuse max_tokens; every chat model takes the new field. gpt-4o-mini counts
#: 48,169 tokens for an image of eight tiles.
OPENAI = Profile(
    max_tokens_field="max_completion_tokens",
    reads_both_fields=True,
    stops_billing_on_cancel=True,
    image_tokens=50_000,
    knows_developer_role=True,
    gives_base64=True,
)
PROFILES = {
    "openai": OPENAI,
    "azure": replace(OPENAI, auth="api-key"),
    # Nobody says what it bills for a stream that is dropped. Its largest images are 4,784 tokens.
    "anthropic": Profile(image_tokens=5_000),
    "openrouter": Profile(stops_billing_on_cancel=True, reads_both_fields=True, takes_reasoning_details=True),
    "groq": Profile(max_tokens_field="max_completion_tokens", reads_both_fields=True),
    # Reports usage in the last chunk of every stream; refuses fields that it does not know.
    "mistral": Profile(accepts_stream_options=False, takes_user=False, reasoning="none"),
    # Wants the reasoning of a turn back beside its tool calls, and knows JSON mode without a schema.
    "deepseek": Profile(
        takes_image_urls=False, reasoning="thinking", takes_reasoning_back=True, takes_json_schema=False
    ),
    "xai": Profile(reads_both_fields=True),
    "google": Profile(takes_image_urls=False),
    "together": Profile(),
    "fireworks": Profile(),
    "cerebras": Profile(max_tokens_field="max_completion_tokens"),
    "moonshot": Profile(takes_image_urls=False, reasoning="thinking", takes_reasoning_back=True),
    "zai": Profile(reasoning="thinking", takes_reasoning_back=True, takes_json_schema=False),
    "ollama": Profile(stops_billing_on_cancel=True, takes_image_urls=False),
    "vllm": Profile(stops_billing_on_cancel=True, reads_both_fields=True),
    "sglang": Profile(stops_billing_on_cancel=True, reads_both_fields=True),
    "llamacpp": Profile(stops_billing_on_cancel=True, takes_image_urls=False, reads_both_fields=True),
    "lmstudio": Profile(stops_billing_on_cancel=True, takes_image_urls=False),
    "openai-compatible": GENERIC,
    "sandbox": Profile(reads_both_fields=True, takes_reasoning_back=True, gives_base64=True),
}


def profile_of(provider: str) -> Profile:
    """Return the profile of a provider; the generic one for a provider that has none."""
    return PROFILES.get(provider, GENERIC)
