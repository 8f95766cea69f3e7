"""A request as a coding agent sends it, with all that agents send at once, and the chat body that it becomes."""

import json
from hashlib import sha256
from typing import Any

from gateway.protocols.generation import Target
from gateway.translate.messages_over_chat import PAIR
from gateway.types import Profile
from tests.gateway.translate.chat_answers import messages_request

EPHEMERAL = {"type": "ephemeral"}
LASTING = {"type": "ephemeral", "ttl": "1h"}
NAMES = ["Task", "Bash", "Glob", "Grep", "Read", "Edit", "Write", "NotebookEdit", "WebFetch", "TodoWrite", "WebSearch"]
NAMES += ["BashOutput", "KillShell", "ToolSearch"]
USER = '{"device_id":"' + "d" * 64 + '","account_uuid":"","session_id":"2f6a3c1e-0000-4000-8000-000000000000"}'


def schema(name: str) -> dict[str, Any]:
    """Return the schema of a tool."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {f"{name}_input": {"type": "string", "description": "What to do"}, "timeout": {"type": "number"}},
        "required": [f"{name}_input"],
        "additionalProperties": False,
    }


REQUEST: dict[str, Any] = {
    "max_tokens": 32_000,
    "system": [
        {"type": "text", "text": "You are an agent that works on code."},
        {"type": "text", "text": "Work with care.", "cache_control": LASTING},
        {"type": "text", "text": "The folder holds 3 files.", "cache_control": EPHEMERAL},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>\nToday is Thursday.\n</system-reminder>"},
                {"type": "text", "text": "Why does the test fail?"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Look at it first.", "signature": "EpwGCkYIBxgCKkA="},
                {"type": "text", "text": "I run it and read the file."},
                {
                    "type": "tool_use",
                    "id": "toolu_01A",
                    "name": "Bash",
                    "input": {"command": "pytest -x", "timeout": 1e3},
                },
                {
                    "type": "tool_use",
                    "id": "toolu_01B",
                    "name": "Read",
                    "input": {"file_path": "a.py"},
                    "caller": {"type": "direct"},
                },
                {"type": "tool_use", "id": "toolu_01C", "name": "ToolSearch", "input": {"query": "browser"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_01A",
                    "content": "exit code 1\n1 failed",
                    "is_error": True,
                },
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_01B",
                    "content": [
                        {"type": "text", "text": "     1\tassert 1 == 2"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                        },
                    ],
                },
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_01C",
                    "content": [{"type": "tool_reference", "tool_name": "Browser"}],
                },
                {"type": "text", "text": "Go on.", "cache_control": EPHEMERAL},
            ],
        },
        {"role": "system", "content": "The user looks at another file now."},
    ],
    "tools": [
        *({"name": name, "description": f"{name} does it.", "input_schema": schema(name)} for name in NAMES),
        {"name": "Browser", "description": "Later.", "input_schema": {"type": "object"}, "defer_loading": True},
    ],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": USER},
    "stream": True,
}
REQUEST["tools"][10]["cache_control"] = EPHEMERAL


#: All of the body but its tools.
BODY: dict[str, Any] = {
    "model": "up-model",
    "messages": [
        {
            "role": "system",
            "content": "You are an agent that works on code.\n\nWork with care.\n\nThe folder holds 3 files.",
        },
        {
            "role": "user",
            "content": "<system-reminder>\nToday is Thursday.\n</system-reminder>\n\nWhy does the test fail?",
        },
        {
            "role": "assistant",
            "content": "I run it and read the file.",
            "tool_calls": [
                {
                    "id": "toolu_01A",
                    "type": "function",
                    "function": {"name": "Bash", "arguments": '{"command":"pytest -x","timeout":1000.0}'},
                },
                {
                    "id": "toolu_01B",
                    "type": "function",
                    "function": {"name": "Read", "arguments": '{"file_path":"a.py"}'},
                },
                {
                    "id": "toolu_01C",
                    "type": "function",
                    "function": {"name": "ToolSearch", "arguments": '{"query":"browser"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_01A", "content": "Error: exit code 1\n1 failed"},
        {"role": "tool", "tool_call_id": "toolu_01B", "content": "     1\tassert 1 == 2\n\n[image below]"},
        {"role": "tool", "tool_call_id": "toolu_01C", "content": "The tool Browser is available."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "From the result of toolu_01B:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "text", "text": "Go on."},
            ],
        },
        {"role": "system", "content": "The user looks at another file now."},
    ],
    "max_tokens": 16_384,
    "reasoning_effort": "high",
    "user": sha256(USER.encode()).hexdigest(),
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_a_coding_agents_request_becomes_a_chat_body() -> None:
    body = json.loads(PAIR.body(messages_request(**REQUEST), Target("up-model", Profile(), max_tokens=16_384)))
    assert body.pop("tools") == [
        *(
            {
                "type": "function",
                "function": {"name": name, "description": f"{name} does it.", "parameters": schema(name)},
            }
            for name in NAMES
        ),
        {
            "type": "function",
            "function": {"name": "Browser", "description": "Later.", "parameters": {"type": "object"}},
        },
    ]
    assert body == BODY
