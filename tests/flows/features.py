"""The matrix that every client goes through: what is asked in each protocol, and what must come out, written down by hand."""

from dataclasses import dataclass, field
from typing import Any

CHAT, MESSAGES = "chat", "messages"
#: Models of the judges' catalog, by the protocol of their upstream; the router speaks chat with reasoning_details.
MODELS = {"openai_chat": "judge/chat", "anthropic_messages": "judge/claude"}
ROUTER = "judge/router"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = "https://pictures.example/cat.png"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
NAMES = ("get_weather", "get_time", "get_news")
CHAT_TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in NAMES]
MESSAGES_TOOLS = [{"name": name, "input_schema": SCHEMA} for name in NAMES]

HELLO = "Hello from the other side."
LONG = 'Grüße aus Köln, 世界! A line\nbreak, a "quote", a \\ and an emoji: 🌍.'
THOUGHT = "First I weigh the question, then I answer it."
CITY_TEXT = '{"city":"Paris","people":2100000}'
PARIS = ("get_weather", {"city": "Paris"})
ROME = ("get_weather", {"city": "Rome", "days": 3})
OSLO = ("get_time", {"zone": "Europe/Oslo", "note": 'say "hi" 🌍'})


@dataclass(frozen=True)
class Feature:
    """One line of the matrix. ``stops``: the stop reason for Messages clients, by the upstream's protocol."""

    word: str
    text: str = ""
    finish: str = "stop"
    stops: tuple[str, str] = ("end_turn", "end_turn")
    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    reasoning: str = ""
    usage: tuple[int, int, int, int] | None = None
    chat: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    kind: str = "ask"
    results: tuple[str, ...] = ()
    #: Also over the upstream that keeps reasoning_details.
    router: bool = False
    #: Replaces the question.
    chat_messages: list[dict[str, Any]] | None = None
    messages_messages: list[dict[str, Any]] | None = None


TOOLS: dict[str, Any] = {"chat": {"tools": CHAT_TOOLS}, "messages": {"tools": MESSAGES_TOOLS}}
THINK: dict[str, Any] = {
    "chat": {"reasoning_effort": "low", "max_tokens": 8000},
    "messages": {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 8000},
}
CALLED: dict[str, Any] = {"finish": "tool_calls", "stops": ("tool_use", "tool_use")}


def _both(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: {**first[name], **second[name]} for name in ("chat", "messages")}


def _looking(url: str, source: dict[str, str]) -> dict[str, Any]:
    question = {"type": "text", "text": "[look] What is this?"}
    return {
        "chat_messages": [{"role": "user", "content": [question, {"type": "image_url", "image_url": {"url": url}}]}],
        "messages_messages": [{"role": "user", "content": [{"type": "image", "source": source}, question]}],
    }


FORMAT: dict[str, Any] = {
    "chat": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "City", "strict": True, "schema": CITY}}
    },
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": CITY}}},
}
FORCED: dict[str, Any] = {
    "chat": {"tools": CHAT_TOOLS, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    "messages": {"tools": MESSAGES_TOOLS, "tool_choice": {"type": "tool", "name": "get_weather"}},
}
REQUIRED: dict[str, Any] = {
    "chat": {"tools": CHAT_TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
    "messages": {"tools": MESSAGES_TOOLS, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
}
TUNED: dict[str, Any] = {
    "chat": {
        "temperature": 0.7,
        "max_tokens": 1024,
        "top_p": 1.0,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "stop": ["END", "STOP"],
        "user": "u-1",
        "seed": 7,
    },
    # Newer majors of the Python client know temperature and top_k no more, the API does.
    "messages": {
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "extra_body": {"temperature": 0.7, "top_k": 40},
    },
}
SYSTEM: dict[str, Any] = {
    "chat_messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "[plain] Go on."},
    ],
    "messages_messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "[plain] Go on."},
    ],
    "messages": {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
}
FEATURES: dict[str, Feature] = {
    "text": Feature("plain", HELLO, usage=(11, 0, 0, 7)),
    "unicode": Feature("long", LONG, usage=(21, 0, 0, 33)),
    "system and turns": Feature("plain", HELLO, **SYSTEM),
    "tuning": Feature("plain", HELLO, **TUNED),
    "image url": Feature("look", f"I see: {PICTURE}.", **_looking(PICTURE, {"type": "url", "url": PICTURE})),
    "image data": Feature(
        "look",
        f"I see: image/png of {len(PIXEL)}.",
        **_looking(f"data:image/png;base64,{PIXEL}", {"type": "base64", "media_type": "image/png", "data": PIXEL}),
    ),
    "one tool": Feature("one-tool", tools=(PARIS,), **CALLED, **TOOLS),
    "three tools": Feature(
        "three-tools", "Let me look.", tools=(PARIS, ROME, OSLO), usage=(50, 0, 0, 40), **CALLED, **TOOLS
    ),
    "forced tool": Feature("one-tool", tools=(PARIS,), **CALLED, **FORCED),
    "required tool": Feature("one-tool", tools=(PARIS,), **CALLED, **REQUIRED),
    "arguments in one piece": Feature("args-one", tools=(PARIS,), **CALLED, **TOOLS),
    "arguments in many pieces": Feature("args-many", tools=(OSLO,), **CALLED, **TOOLS),
    "arguments at the end": Feature("args-end", tools=(PARIS, OSLO), **CALLED, **TOOLS),
    "no arguments": Feature("args-none", tools=(("get_news", {}),), **CALLED, **TOOLS),
    "tool results": Feature(
        "three-tools", "The tools said: sunny; rain; noon.", kind="converse", results=("sunny", "rain", "noon"), **TOOLS
    ),
    "thinking": Feature("think", HELLO, reasoning=THOUGHT, usage=(15, 0, 0, 30), router=True, **THINK),
    "redacted thinking": Feature("redacted", HELLO, router=True, **THINK),
    "thinking, tools, results": Feature(
        "think-tools",
        "The tools said: sunny; noon.",
        reasoning="The tools have answered; now I can sum up.",
        kind="converse",
        results=("sunny", "noon"),
        router=True,
        **_both(THINK, TOOLS),
    ),
    "schema": Feature("schema", CITY_TEXT, **FORMAT),
    "schema with thinking": Feature("schema-think", CITY_TEXT, reasoning=THOUGHT, **_both(THINK, FORMAT)),
    "stop: length": Feature("stop-length", "This answer is cut", "length", ("max_tokens", "max_tokens")),
    "stop: sequence": Feature(
        "stop-sequence",
        "Before the word ",
        stops=("end_turn", "stop_sequence"),
        chat={"stop": ["END"]},
        messages={"stop_sequences": ["END"]},
    ),
    "stop: refusal": Feature("stop-refusal", "I will not", "content_filter", ("refusal", "refusal")),
    "stop: pause": Feature("stop-pause", "A pause.", stops=("end_turn", "pause_turn")),
    "usage with cache": Feature("cached", HELLO, usage=(12, 1000, 200, 7)),
}

#: Ways to fail; what must come is an error of the client's own type, never a short answer. ``stalls`` waits, so only streamed.
FAULTS = (
    *("dies", "stalls", "garbage", "error-event", "error-200", "html", "truncated", "ends-early", "bad-utf8"),
    *("status-500", "status-429", "status-401"),
)
LIES = ("usage-negative", "usage-huge", "usage-zero", "usage-missing", "usage-strings", "usage-cached-over")


def upstreams_of(feature: Feature) -> list[str]:
    """Return the models over which a feature is tried."""
    return [*MODELS.values(), *([ROUTER] if feature.router else [])]


def params_for(feature: Feature, protocol: str, model: str) -> dict[str, Any]:
    """Return what the client sends."""
    question = [{"role": "user", "content": f"[{feature.word}] Go on."}]
    if protocol == CHAT:
        return {"model": model, "messages": feature.chat_messages or question, **feature.chat}
    return {"model": model, "max_tokens": 1000, "messages": feature.messages_messages or question, **feature.messages}


def plain(protocol: str, model: str, word: str) -> dict[str, Any]:
    """Return what a client sends for a plain question with that word."""
    return params_for(Feature(word), protocol, model)
