"""Our own count of a request's input tokens, whatever protocol it came in: for count_tokens, and where no upstream reports usage.

Counted is all that a model reads: texts, names, arguments and results of tools, the tools and schemas themselves as JSON, what
stands between messages, and by a table what is no text. Not counted: ids, signatures, cache marks and the like.

It is an estimate, never a bound: models have vocabularies and templates of their own (docs/decisions/0011-counting-tokens.md).
"""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.protocols.generation import Generation
from gateway.protocols.tokens import count_texts

#: What chat templates put around a message beside its role, before its author's name, and before the answer.
TOKENS_PER_MESSAGE, TOKENS_PER_ROLE, TOKENS_PER_NAME, TOKENS_PER_ANSWER = 3, 1, 1, 3
#: One image, and one that is to be looked at in low detail. Real ones cost 85 to 1,600 at most providers.
IMAGE_TOKENS, SMALL_IMAGE_TOKENS = 1_024, 85
IMAGES = frozenset({"image", "image_url", "input_image"})
#: Characters of base64 that are one token, by the type of a part: a page of a PDF is some 50 KB and 2,000 tokens, a second of
#: speech some 20 KB and 10 tokens, and hidden thinking is text.
CHARACTERS_PER_TOKEN = {"document": 32, "file": 32, "input_file": 32, "input_audio": 2_048, "redacted_thinking": 6}
#: A document is at least one page; one that is only named, by a URL or an id, counts as that.
DOCUMENTS, PAGE_TOKENS = frozenset({"document", "file", "input_file"}), 2_000
#: Sources of a document that are text.
TEXT_SOURCES = frozenset({"text", "content"})
#: Fields that a model does not read, or that say again what another field says.
UNREAD = frozenset(
    {
        *("type", "role", "id", "tool_use_id", "tool_call_id", "call_id", "file_id", "index", "media_type", "format"),
        *("signature", "reasoning_details", "citations", "cache_control", "is_error"),
    }
)
#: Fields whose value a model reads as JSON.
JSON_FIELDS = frozenset({"input", "arguments"})


class Tally:
    """What was found in a request: texts to count, and tokens that need no counting."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tokens = 0

    def add_message(self, message: Any) -> None:
        """Add a message with what stands around it."""
        self.tokens += TOKENS_PER_MESSAGE + TOKENS_PER_ROLE
        if isinstance(message, dict) and "name" in message:
            self.tokens += TOKENS_PER_NAME
        self.add(message)

    def add(self, value: Any) -> None:
        """Add all that a model reads of a value."""
        if isinstance(value, str):
            self.texts.append(value)
        elif isinstance(value, list):
            for item in value:
                self.add(item)
        elif isinstance(value, dict):
            kind = value.get("type")
            if not isinstance(kind, str):
                kind = ""
            if kind in IMAGES:
                self.tokens += _image_tokens(value)
            elif kind in CHARACTERS_PER_TOKEN and not _is_text(value):
                self.tokens += _opaque_tokens(kind, value)
            else:
                self._add_fields(value)

    def add_json(self, value: Any) -> None:
        """Add a value as the JSON that it is."""
        if value is not None:
            self.texts.append(msgspec.json.encode(value).decode())

    def _add_fields(self, value: dict[str, Any]) -> None:
        for name, item in value.items():
            if name in JSON_FIELDS and not isinstance(item, str):
                self.add_json(item)
            elif name not in UNREAD:
                self.add(item)


def estimated_tokens(request: Generation) -> int:
    """Return our estimate of a request's input tokens."""
    tally, fields = Tally(), request.fields
    for message in msgspec.json.decode(fields["messages"]):
        tally.add_message(message)
    if system := _decoded(fields, "system"):
        tally.add_message({"content": system})
    for name in ("tools", "functions"):
        tools = _decoded(fields, name)
        for tool in tools if isinstance(tools, list) else ():
            tally.add_json(_shown(tool))
    tally.add_json(_schema(_decoded(fields, "response_format"), "json_schema"))
    tally.add_json(_schema(_decoded(fields, "output_config"), "format"))
    return tally.tokens + TOKENS_PER_ANSWER + count_texts(tally.texts)


def _decoded(fields: dict[str, Raw], name: str) -> Any:
    return msgspec.json.decode(fields[name]) if name in fields else None


def _schema(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _shown(tool: Any) -> Any:
    """Return what a model is shown of a tool; None for one that it is to find first."""
    if not isinstance(tool, dict):
        return tool
    return None if tool.get("defer_loading") is True else {key: tool[key] for key in tool if key not in UNREAD}


def _image_tokens(part: dict[str, Any]) -> int:
    image = part.get("image_url")
    detail = image.get("detail") if isinstance(image, dict) else part.get("detail")
    return SMALL_IMAGE_TOKENS if detail == "low" else IMAGE_TOKENS


def _is_text(part: dict[str, Any]) -> bool:
    source = part.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    return isinstance(kind, str) and kind in TEXT_SOURCES


def _opaque_tokens(kind: str, part: dict[str, Any]) -> int:
    """Return what a part counts by the length of its data, wherever that stands in it."""
    size = max(map(len, _strings_in(part)), default=0)
    tokens = -(-size // CHARACTERS_PER_TOKEN[kind])
    return max(tokens, PAGE_TOKENS) if kind in DOCUMENTS else tokens


def _strings_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings_in(item)]
