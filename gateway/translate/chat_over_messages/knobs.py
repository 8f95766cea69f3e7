"""Fields of a chat request that a Messages upstream has no word for: which are left out, and which are refused.

Left out are knobs that turn the answer a little, and what concerns only OpenAI's own books. Refused is what the client would
miss in the answer, unless it stands at the value that asks for nothing.
"""

from msgspec import Raw

from gateway.protocols.wording import RequestShapeError

#: Left out, and why the answer is an answer all the same.
DROPPED = {
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "logit_bias", "seed"), "tunes the choice of tokens"),
    **dict.fromkeys(("top_k", "min_p", "top_a", "typical_p", "repetition_penalty"), "tunes the choice of tokens"),
    "verbosity": "tunes the length",
    **dict.fromkeys(("store", "metadata"), "for keeping answers at OpenAI"),
    **dict.fromkeys(("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"), "OpenAI's prompt cache"),
    "service_tier": "only the default tier comes here",
    "stream_options": "answered by the gateway",
    "top_logprobs": "without logprobs it says nothing",
    **dict.fromkeys(("include_reasoning", "reasoning_format", "reasoning_split"), "reasoning is always shown"),
    **dict.fromkeys(("chat_template_kwargs", "enable_thinking", "reasoning"), "say reasoning_effort"),
    **dict.fromkeys(("drop_params", "extra_body", "extra_headers", "timeout"), "settings of client libraries"),
}
#: Refused, but for these values.
REFUSED: dict[str, tuple[bytes, ...]] = {
    "logprobs": (b"null", b"false"),
    "audio": (b"null",),
    "prediction": (b"null",),
    "moderation": (b"null",),
    "modalities": (b"null", b'["text"]'),
}
#: Translated elsewhere in this package, or by the gateway.
TRANSLATED = frozenset(
    {"model", "messages", "stream", "max_tokens", "max_completion_tokens", "n", "stop", "temperature", "top_p"}
    | {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"}
    | {"reasoning_effort", "thinking", "user", "safety_identifier", "cache_control"}
)
_SETTLED = frozenset(TRANSLATED | DROPPED.keys())
_LEAVE_OUT = "is not supported by this model. Leave it out."


def check_knobs(fields: dict[str, Raw], n: int) -> None:
    """Refuse what a Messages upstream cannot do. Raises RequestShapeError.

    A field that nobody here knows is refused too, unless it is null: to drop it would be to guess that it does not matter.
    """
    if n > 1:
        raise RequestShapeError("unsupported_parameter", "n must be 1: this model gives one answer to a request.", "n")
    if _SETTLED.issuperset(fields):
        return
    for name in fields.keys() - _SETTLED:
        harmless = REFUSED.get(name, (b"null",))
        value = bytes(fields[name])
        if value not in harmless and b"".join(value.split()) not in harmless:
            raise RequestShapeError("unsupported_parameter", f"{name[:80]} {_LEAVE_OUT}", name[:80])
