"""An upstream's own list of models, as far as it tells: ids, and what some providers say beside them.

Untrusted text from somebody else's server: capped in bytes and in rows, ids checked, everything else taken only where it has
the shape that is expected. Fails with UpstreamFailure, never with half a list: what is left out is counted.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.protocols.openai_errors import failure_from_status
from gateway.types import UpstreamInfo
from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure
from gateway.upstreams.anthropic_messages import VERSION_HEADER, AnthropicMessagesCall
from gateway.upstreams.client import MAX_ERROR_BODY
from gateway.upstreams.openai_chat import OpenAIChatCall

#: Bytes of one page, pages that are followed, and models that are taken.
PAGE_LIMIT = 4 * 1024 * 1024
MAX_PAGES = 10
MAX_MODELS = 2_000
_MAX_ID = 200
_MAX_TOKENS = 2**31 - 1
#: What providers call the context window, and the longest answer (tokens).
_WINDOWS = ("context_window", "context_length", "max_context_length", "max_model_len", "max_input_tokens")
_OUTPUTS = ("max_output_tokens", "max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as an upstream lists it. None and "" are what it does not tell."""

    id: str
    name: str = ""
    is_embedding: bool = False
    context_window: int | None = None
    max_output_tokens: int | None = None


@dataclass(slots=True)
class ModelList:
    """Models by their ids, in order; ``left_out`` counts entries that are unusable, or one too many."""

    models: dict[str, ListedModel] = field(default_factory=dict)
    left_out: int = 0


async def list_models(client: UpstreamClient, upstream: UpstreamInfo) -> ModelList:
    """Ask an upstream for its models. Raises UpstreamFailure."""
    found = ModelList()
    if upstream.protocol == "sandbox":
        raise UpstreamFailure(FailureKind.NOT_FOUND, "the sandbox keeps no list")
    after = ""
    for _ in range(MAX_PAGES):
        page = await _page(client, upstream, after)
        entries = page if isinstance(page, list) else page.get("data") if isinstance(page, dict) else None
        if not isinstance(entries, list):
            raise UpstreamFailure(FailureKind.INVALID, "its list of models has no data", status=200)
        for entry in entries:
            _take(found, entry)
        following = _following(page) if upstream.protocol == "anthropic_messages" else ""
        if not following or following == after:
            break
        after = following
    return found


def _following(page: Any) -> str:
    """Return the id that the next page begins after; empty: this was the last."""
    last = page.get("last_id") if isinstance(page, dict) and page.get("has_more") is True else None
    return last if isinstance(last, str) and len(last) <= _MAX_ID else ""


async def _page(client: UpstreamClient, upstream: UpstreamInfo, after: str) -> Any:
    if upstream.protocol == "anthropic_messages":
        path = "/v1/models" + (f"?after_id={quote(after, safe='')}" if after else "")
        auth = AnthropicMessagesCall.auth_for(upstream)
        response = await client.get(upstream, path, auth=auth, headers=VERSION_HEADER)
    else:
        response = await client.get(upstream, "/models", auth=OpenAIChatCall.auth_for(upstream))
    try:
        body = await client.read(response, at_most=PAGE_LIMIT if response.status == 200 else MAX_ERROR_BODY)
    finally:
        response.close()
    if response.status != 200:
        # Some providers quote the key that they refuse.
        text = body.replace(upstream.credential.encode() or b"\xff", b"***").decode(errors="replace")
        raise failure_from_status(response.status, text, retry_after=None)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailure(FailureKind.INVALID, "its answer is not JSON", status=200) from None


def _take(found: ModelList, entry: object) -> None:
    """Add an entry, or count it as left out; of two with one id the first counts."""
    name = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or not _is_usable(name):
        found.left_out += 1
    elif name not in found.models:
        if len(found.models) < MAX_MODELS:
            found.models[name] = _read(name, entry)
        else:
            found.left_out += 1


def _is_usable(name: str) -> bool:
    return 0 < len(name) <= _MAX_ID and name.isprintable() and name == name.strip()


def _read(name: str, entry: dict[str, Any]) -> ListedModel:
    title = entry.get("display_name") or entry.get("name")
    kinds = (entry.get("type"), entry.get("task"))
    return ListedModel(
        id=name,
        name=title[:120] if isinstance(title, str) and title.isprintable() else "",
        is_embedding="embed" in name.lower() or any(isinstance(k, str) and "embed" in k for k in kinds),
        context_window=_tokens(entry, _WINDOWS),
        max_output_tokens=_tokens(entry, _OUTPUTS) or _tokens(entry.get("top_provider"), _OUTPUTS),
    )


def _tokens(entry: object, names: tuple[str, ...]) -> int | None:
    if not isinstance(entry, dict):
        return None
    told = (entry.get(name) for name in names)
    return next((n for n in told if isinstance(n, int) and not isinstance(n, bool) and 0 < n <= _MAX_TOKENS), None)
