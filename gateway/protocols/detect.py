"""Which protocol a body is written in, where its address does not say. Pure.

The rule, told to clients in docs/guide/billing.md: what they name, else the header ``anthropic-version``, else the fields of the
body. Where those fit two protocols, the client has to name one.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from gateway.protocols.body import read_body
from gateway.protocols.clients import CHAT, EMBEDDINGS, MESSAGES, ClientProtocol
from gateway.protocols.wording import RequestShapeError

NAMES = {"chat": CHAT, "messages": MESSAGES, "embeddings": EMBEDDINGS}
#: Fields that one of the two protocols with ``messages`` has and the other has not.
CHAT_FIELDS = frozenset(
    {
        *("max_completion_tokens", "n", "stop", "stream_options", "response_format", "functions", "function_call"),
        *("frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "seed", "user"),
        "parallel_tool_calls",
    }
)
MESSAGES_FIELDS = frozenset({"system", "stop_sequences", "output_config"})
_HOW = "Name it: ?protocol=chat, ?protocol=messages or ?protocol=embeddings."

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def protocol_named(name: str) -> ClientProtocol:
    """Return the protocol of a name. Raises RequestShapeError for none of them."""
    try:
        return NAMES[name]
    except KeyError:
        message = f'protocol must be "chat", "messages" or "embeddings", it is "{name[:40]}".'
        raise RequestShapeError("invalid_parameter", message, "protocol") from None


def protocol_of(body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> ClientProtocol:
    """Return the protocol that a body is written in. Raises RequestShapeError where it may be several, or is no JSON object."""
    _, fields = read_body(body, _decode_fields)
    if any(name == b"anthropic-version" for name, _ in headers):
        return MESSAGES
    if "messages" not in fields:
        if "input" in fields:
            return EMBEDDINGS
        raise _unclear("The body has neither messages nor input")
    is_chat, is_messages = bool(fields.keys() & CHAT_FIELDS), bool(fields.keys() & MESSAGES_FIELDS)
    if is_chat and is_messages:
        raise _unclear("The body has fields of chat completions and of Messages")
    if is_messages:
        return MESSAGES
    # Messages cannot do without a limit.
    if is_chat or "max_tokens" not in fields:
        return CHAT
    raise _unclear("The body may be a chat completion or a message")


def _unclear(what: str) -> RequestShapeError:
    return RequestShapeError("missing_parameter", f"{what}, so its protocol is not clear. {_HOW}", "protocol")
