"""What Anthropic's API refuses in a request, written down by itself: the judge of the bodies that translators make."""

import base64
from typing import Any

_TOP = {
    *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "temperature"),
    *("top_p", "top_k", "stop_sequences", "metadata", "stream", "cache_control"),
}
_BLOCKS: dict[str, set[str]] = {
    "text": {"text"},
    "image": {"source"},
    "document": {"source", "title"},
    "tool_use": {"id", "name", "input"},
    "tool_result": {"tool_use_id", "content"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
}
_OPTIONAL = {"title", "content", "cache_control"}
_BY_ROLE = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}
_SOURCES = {
    "base64": {"type", "media_type", "data"},
    "url": {"type", "url"},
    "text": {"type", "media_type", "data"},
}
_CHOICES = {"auto": set(), "any": set(), "none": set(), "tool": {"name"}}
_THINKING = {"thinking", "redacted_thinking"}


def check_body(body: dict[str, Any]) -> None:
    """Fail where the API would."""
    assert body.keys() <= _TOP, body.keys() - _TOP
    assert type(body["max_tokens"]) is int
    assert body["max_tokens"] >= 1
    assert body["model"]
    if "system" in body:
        assert body["system"]
        for block in body["system"]:
            assert block["type"] == "text"
            _check_block(block)
    _check_turns(body["messages"])
    _check_calls(body["messages"])
    _check_tools(body)
    _check_thinking(body)
    assert all(sequence.strip() for sequence in body.get("stop_sequences", ["x"]))
    assert 0 <= body.get("temperature", 0) <= 1
    assert len(body.get("metadata", {}).get("user_id", "")) <= 256


def _check_turns(turns: list[dict[str, Any]]) -> None:
    assert turns
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        assert turn.keys() == {"role", "content"}
        assert turn["content"]
        for block in turn["content"]:
            assert block["type"] in _BY_ROLE[turn["role"]]
            _check_block(block)
        assert following is None or following["role"] != turn["role"]
    last = turns[-1]
    if last["role"] == "assistant":
        assert last["content"][-1]["text"].rstrip() == last["content"][-1]["text"]
        assert not any(block["type"] in _THINKING for block in last["content"])


def _check_block(block: dict[str, Any]) -> None:
    kind = block["type"]
    names = _BLOCKS[kind]
    assert block.keys() <= {"type", "cache_control"} | names
    assert block.keys() >= {"type"} | (names - _OPTIONAL)
    if "cache_control" in block:
        assert block["cache_control"]["type"] == "ephemeral"
        assert kind not in _THINKING
    if kind == "text":
        assert block["text"].strip()
    if kind in ("image", "document"):
        _check_source(block["source"])
    if kind == "tool_use":
        assert isinstance(block["input"], dict)
    if kind == "thinking":
        assert block["signature"]
    if kind == "tool_result" and not isinstance(block.get("content", ""), str):
        assert block["content"]
        for part in block["content"]:
            assert part["type"] in ("text", "image", "document")
            _check_block(part)


def _check_source(source: dict[str, Any]) -> None:
    assert source.keys() == _SOURCES[source["type"]]
    if source["type"] == "base64":
        assert base64.b64decode(source["data"], validate=True)
        assert source["media_type"] in ("image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf")


def _check_calls(turns: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    asked: list[str] = []
    for turn in turns:
        kinds = [block["type"] for block in turn["content"]]
        if turn["role"] == "assistant":
            assert not asked
            asked = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
            assert len(set(asked)) == len(asked)
            assert not seen & set(asked)
            seen |= set(asked)
        else:
            results = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
            assert kinds[: len(results)] == ["tool_result"] * len(results)
            assert sorted(results) == sorted(asked)
            asked = []
    assert not asked


def _check_tools(body: dict[str, Any]) -> None:
    names = [tool["name"] for tool in body.get("tools", [])]
    assert len(set(names)) == len(names)
    for tool in body.get("tools", []):
        assert tool.keys() <= {"name", "description", "input_schema", "strict", "cache_control"}
        assert tool["input_schema"]["type"] == "object"
    choice = body.get("tool_choice")
    if choice is not None:
        assert names
        extra = choice.keys() - {"type"} - ({"disable_parallel_tool_use"} if choice["type"] != "none" else set())
        assert extra == _CHOICES[choice["type"]]
        assert choice.get("name", names[0]) in names
    if any(block["type"] in ("tool_use", "tool_result") for turn in body["messages"] for block in turn["content"]):
        assert names, "Requests which include tool_use or tool_result blocks must define tools"


def _check_thinking(body: dict[str, Any]) -> None:
    thinking = body.get("thinking")
    if thinking is None or thinking["type"] == "disabled":
        return
    assert not body.keys() & {"temperature", "top_p", "top_k"}
    assert body.get("tool_choice", {}).get("type") not in ("any", "tool")
    assert body["messages"][-1]["role"] == "user"
    if thinking["type"] == "enabled":
        assert thinking.keys() <= {"type", "budget_tokens", "display"}
        assert 1_024 <= thinking["budget_tokens"] < body["max_tokens"]
        # The turn that is going on must have begun with thinking.
        first = None
        for turn in reversed(body["messages"]):
            if turn["role"] == "assistant":
                first = turn
            elif turn["content"][0]["type"] != "tool_result":
                break
        if body["messages"][-1]["content"][0]["type"] == "tool_result":
            assert first is not None
            assert first["content"][0]["type"] in _THINKING
