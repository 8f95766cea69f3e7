"""The protocols that clients speak: what differs between them whatever upstream answers."""

from collections.abc import Callable
from typing import NamedTuple

from billing.rating import TokenUsage
from gateway.protocols.anthropic_errors import messages_error_event
from gateway.protocols.anthropic_told import tell_messages_usage
from gateway.protocols.cost import add_cost
from gateway.protocols.embeddings_answer import add_cost_to_vectors, as_told
from gateway.protocols.openai_errors import stream_error
from gateway.protocols.openai_told import tell_usage


class ClientProtocol(NamedTuple):
    """One of them."""

    name: str
    #: What the ids of its answers begin with.
    id_prefix: str
    #: A whole answer with its usage replaced by what is billed.
    tell_usage: Callable[[bytes, TokenUsage], bytes]
    #: A whole answer with the charge (nano-USD) in its usage.
    add_cost: Callable[[bytes, int], bytes]
    #: An error body as the last event of a stream.
    error_event: Callable[[bytes], bytes]
    #: The kind of model that serves it.
    kind: str = "chat"


CHAT = ClientProtocol("openai_chat", "chatcmpl-", tell_usage, add_cost, stream_error)
MESSAGES = ClientProtocol("anthropic_messages", "msg_", tell_messages_usage, add_cost, messages_error_event)
EMBEDDINGS = ClientProtocol("openai_embeddings", "embd-", as_told, add_cost_to_vectors, stream_error, kind="embedding")
