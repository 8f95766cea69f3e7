"""Translators between a client's protocol and an upstream's; traffic of one protocol passes through untouched. Pure."""

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate import (
    chat_over_chat,
    chat_over_messages,
    embeddings,
    messages_over_chat,
    messages_over_messages,
)
from gateway.translate.pair import Pair

__all__ = ["Pair", "pair_for"]

#: By the client's protocol and the upstream's. The sandbox speaks chat completions.
PAIRS: dict[tuple[str, str], Pair] = {
    ("openai_chat", "openai_chat"): chat_over_chat.PAIR,
    ("openai_chat", "sandbox"): chat_over_chat.PAIR,
    ("openai_chat", "anthropic_messages"): chat_over_messages.PAIR,
    ("anthropic_messages", "openai_chat"): messages_over_chat.PAIR,
    ("anthropic_messages", "sandbox"): messages_over_chat.PAIR,
    ("anthropic_messages", "anthropic_messages"): messages_over_messages.PAIR,
    ("openai_embeddings", "openai_chat"): embeddings.PAIR,
    ("openai_embeddings", "sandbox"): embeddings.PAIR,
}


def pair_for(client: str, upstream: str) -> Pair:
    """Return the translator of a pair of protocols. Raises UpstreamFailure for one that nobody speaks."""
    try:
        return PAIRS[client, upstream]
    except KeyError:
        raise UpstreamFailure(FailureKind.INVALID, f"no translator from {client} to {upstream!r}") from None
