"""The protocols that clients speak: what differs between them whatever upstream answers."""

from collections.abc import Callable
from typing import NamedTuple

from billing.rating import TokenUsage
from gateway.protocols.anthropic_errors import messages_error_event
from gateway.protocols.anthropic_told import tell_messages_usage
from gateway.protocols.embeddings_answer import as_told
from gateway.protocols.openai_errors import stream_error
from gateway.protocols.openai_told import tell_usage


class ClientProtocol(NamedTuple):
    """One of them."""

    name: str
    #: What the ids of its answers begin with.
    id_prefix: str
    #: A whole answer with its usage replaced by what is billed.
    tell_usage: Callable[[bytes, TokenUsage], bytes]
    #: An error body as the last event of a stream.
    error_event: Callable[[bytes], bytes]
    #: The kind of model that serves it.
    kind: str = "chat"


CHAT = ClientProtocol("openai_chat", "chatcmpl-", tell_usage, stream_error)
MESSAGES = ClientProtocol("anthropic_messages", "msg_", tell_messages_usage, messages_error_event)
EMBEDDINGS = ClientProtocol("openai_embeddings", "embd-", as_told, stream_error, kind="embedding")
