"""Messages requests: what is read, what is refused and in which words."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocols.anthropic_content import Block
from gateway.protocols.anthropic_request import MessagesRequest, parse_messages_request
from gateway.protocols.generation import Generation, input_upper_bound
from gateway.protocols.wording import RequestShapeError

USER = {"role": "user", "content": "Hello"}
PIXEL = "iVBORw0KGgo" * 100
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
LINKED = {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def parse(**fields: Any) -> MessagesRequest:
    """Parse a small request with these fields."""
    body = {"model": "m", "max_tokens": 4096, "messages": [USER], **fields}
    return parse_messages_request(json.dumps({k: v for k, v in body.items() if v is not ...}).encode())


def parse_blocks(*blocks: Any, role: str = "user") -> MessagesRequest:
    """Parse a request with one message of these blocks."""
    return parse(messages=[{"role": role, "content": blocks}])


def blocks_of(request: MessagesRequest, index: int) -> list[Block]:
    """Return the blocks of one message."""
    content = request.messages[index].content
    assert isinstance(content, list)
    return content


def refusal(**fields: Any) -> tuple[str, str, str | None]:
    """Return code, message and param of the error that a small request with these fields meets."""
    with pytest.raises(RequestShapeError) as caught:
        parse(**fields)
    return caught.value.code, caught.value.message, caught.value.param


def refusal_of(*blocks: Any) -> tuple[str, str, str | None]:
    """Return the error for a message of these blocks."""
    return refusal(messages=[{"role": "user", "content": blocks}])


def test_the_owners_sample_is_read() -> None:
    request: Generation = parse_messages_request(
        b"""{
          "model": "lumyx-plus_v1",
          "max_tokens": 1024,
          "messages": [{"role": "user", "content": "Hello"}],
          "system": "You are a helpful assistant.",
          "stream": false
        }"""
    )
    assert (request.model, request.stream, request.max_tokens, request.n) == ("lumyx-plus_v1", False, 1024, 1)
    assert request.message_count == 2
    assert not request.has_tools
    assert not request.images
    assert not request.has_opaque_parts
    assert not request.wants_reasoning


def test_what_a_coding_agent_sends_is_read() -> None:
    request = parse(
        stream=True,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
            {"role": "system", "content": "Today is Monday."},
        ],
        tools=[TOOL, {**TOOL, "name": "g", "defer_loading": True}, {"type": "bash_20250124", "name": "bash"}],
        thinking={"type": "adaptive"},
        output_config={"effort": "medium"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        metadata={"user_id": "user_1"},
        temperature=1,
    )
    assert request.stream
    assert isinstance(request.system, list)
    assert bytes(request.system[0].cache_control) == b'{"type": "ephemeral"}'
    assert [message.role for message in request.messages] == ["user", "system"]
    assert (request.message_count, len(request.tools), request.has_tools) == (3, 3, True)
    assert not request.wants_reasoning
    assert request.output_config is not None
    assert request.output_config.effort == "medium"
    assert (request.user_id, request.temperature) == ("user_1", 1.0)
    assert bytes(request.fields["context_management"]).startswith(b'{"edits"')


def test_the_typed_view_holds_what_translators_need() -> None:
    request = parse(
        messages=[
            USER,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
                    {"type": "redacted_thinking", "data": "xyz"},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.0}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": "No."},
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_2",
                        "content": [{"type": "text", "text": "A"}, IMAGE],
                    },
                ],
            },
        ],
        tools=[{**TOOL, "description": "F.", "strict": True}],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        top_p=0.5,
        top_k=7,
    )
    thinking, redacted, use = blocks_of(request, 1)
    assert (thinking.thinking, thinking.signature, redacted.data) == ("Hm.", "abc", "xyz")
    assert (use.id, use.name, bytes(use.input)) == ("toolu_1", "f", b'{"a": 1.0}')
    failed, shown = blocks_of(request, 2)
    assert (failed.tool_use_id, failed.is_error, failed.content) == ("toolu_1", True, "No.")
    assert isinstance(shown.content, list)
    assert [block.type for block in shown.content] == ["text", "image"]
    tool, choice = request.tools[0], request.tool_choice
    assert (tool.name, tool.description, tool.strict, tool.is_custom) == ("f", "F.", True, True)
    assert bytes(tool.input_schema) == b'{"type": "object"}'
    assert choice is not None
    assert (choice.type, choice.name, choice.disable_parallel_tool_use, choice.is_forced) == ("tool", "f", True, True)
    assert request.stop_sequences == ("END",)
    assert request.output_config is not None
    assert request.output_config.format is not None
    assert bytes(request.output_config.format.schema) == b'{"type": "object"}'
    assert (request.top_p, request.top_k) == (0.5, 7)


def test_null_is_the_same_as_absent() -> None:
    names = ("system", "stream", "tools", "tool_choice", "stop_sequences", "thinking", "output_config", "metadata")
    request = parse(**dict.fromkeys(names), temperature=None, top_p=None, top_k=None, reasoning_effort=None)
    assert (request.system, request.stream, request.tools, request.stop_sequences) == (None, False, [], ())
    assert not request.wants_reasoning


def test_images_are_found_wherever_they_are() -> None:
    document = {"type": "document", "source": {"type": "content", "content": [IMAGE]}}
    request = parse_blocks(
        LINKED, {"type": "tool_result", "tool_use_id": "t", "content": [IMAGE, document]}, {"type": "text", "text": "?"}
    )
    assert [(image.kind, image.size) for image in request.images] == [("url", 0), ("data", 1100), ("data", 1100)]
    assert request.images[0].url == "https://example.com/cat.jpg"
    assert request.images[1].url == "data:image/png;base64," + PIXEL
    assert request.has_image_urls
    assert not request.has_opaque_parts


def test_the_data_of_images_does_not_count_as_text() -> None:
    assert input_upper_bound(parse_blocks(IMAGE), image_tokens=10) == input_upper_bound(
        parse_blocks({**IMAGE, "source": {**IMAGE["source"], "data": ""}}),
        image_tokens=10,
    )


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "container_upload", "file_id": "file_1"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "url": "x"}]},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"type": "e", "error_code": "x"}},
        {"type": "hologram", "content": None},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "hologram"}]},
    ],
)
def test_blocks_whose_tokens_their_size_does_not_bound_are_opaque(block: Any) -> None:
    assert parse_blocks(block).has_opaque_parts


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hello"}},
        {"type": "document", "source": {"type": "content", "content": "Hello"}, "citations": {"enabled": True}},
        {"type": "search_result", "source": "https://x", "title": "X", "content": [{"type": "text", "text": "Y"}]},
        {"type": "thinking", "thinking": "", "signature": "abc"},
        {"type": "tool_result", "tool_use_id": "t"},
    ],
)
def test_text_of_all_kinds_is_bounded_by_its_size(block: Any) -> None:
    assert not parse_blocks(block).has_opaque_parts


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, False),
        ({"thinking": {"type": "between_tools"}}, False),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning_effort": "minimal"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"output_config": {"effort": "high"}}, False),
    ],
)
def test_whether_reasoning_is_wanted(fields: Any, wanted: bool) -> None:
    assert parse(**fields).wants_reasoning is wanted


@pytest.mark.parametrize(
    ("fields", "code", "message", "param"),
    [
        ({"model": ...}, "missing_parameter", "model is missing.", "model"),
        ({"max_tokens": ...}, "missing_parameter", "max_tokens is missing.", "max_tokens"),
        ({"messages": ...}, "missing_parameter", "messages is missing.", "messages"),
        ({"max_tokens": 0}, "invalid_parameter", "max_tokens must be at least 1, it is 0.", "max_tokens"),
        ({"max_tokens": "5"}, "invalid_parameter", "max_tokens must be an integer, it is a string.", "max_tokens"),
        ({"messages": []}, "invalid_parameter", "messages must hold at least one message.", "messages"),
        ({"model": ""}, "invalid_parameter", "model must be 1 to 256 characters long.", "model"),
        (
            {"messages": [{"role": "robot", "content": "x"}]},
            "invalid_parameter",
            'messages[0].role must be "user", "assistant" or "system", it is "robot".',
            "messages[0].role",
        ),
        (
            {"messages": [USER, {"role": "user"}]},
            "missing_parameter",
            "messages[1].content is missing.",
            "messages[1].content",
        ),
        (
            {"messages": [{"role": "user", "content": 5}]},
            "invalid_parameter",
            "messages[0].content must be a string or a list of parts, it is an integer.",
            "messages[0].content",
        ),
        (
            {"system": [IMAGE]},
            "invalid_parameter",
            'system[0].type must be "text", it is "image".',
            "system[0].type",
        ),
        (
            {"thinking": {"type": "enabled"}},
            "missing_parameter",
            "thinking.budget_tokens is missing.",
            "thinking.budget_tokens",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1023}},
            "invalid_parameter",
            "thinking.budget_tokens must be at least 1024, it is 1023.",
            "thinking.budget_tokens",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
            "invalid_parameter",
            "thinking.budget_tokens must be less than max_tokens (4096), it is 4096.",
            "thinking.budget_tokens",
        ),
        (
            {"reasoning_effort": "huge"},
            "invalid_parameter",
            'reasoning_effort must be one of "none", "minimal", "low", "medium", "high", "xhigh", "max", it is "huge".',
            "reasoning_effort",
        ),
        (
            {"reasoning_effort": "low", "thinking": {"type": "adaptive"}},
            "invalid_parameter",
            "thinking and reasoning_effort both say how to think: send only one of them.",
            "thinking",
        ),
        (
            {"tool_choice": {"type": "required"}},
            "invalid_parameter",
            'tool_choice.type must be "auto", "any", "tool" or "none", it is "required".',
            "tool_choice.type",
        ),
        ({"tool_choice": {"type": "tool"}}, "missing_parameter", "tool_choice.name is missing.", "tool_choice.name"),
        ({"tools": [{"name": "f"}]}, "missing_parameter", "tools[0].input_schema is missing.", "tools[0].input_schema"),
        (
            {"tools": [TOOL, {"name": "f", "input_schema": None}]},
            "missing_parameter",
            "tools[1].input_schema is missing.",
            "tools[1].input_schema",
        ),
        (
            {"stop_sequences": "END"},
            "invalid_parameter",
            "stop_sequences must be a list, it is a string.",
            "stop_sequences",
        ),
        ({"temperature": "hot"}, "invalid_parameter", "temperature must be a number, it is a string.", "temperature"),
    ],
)
def test_what_is_wrong_is_named(fields: Any, code: str, message: str, param: str) -> None:
    assert refusal(**fields) == (code, message, param)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"text": "x"}, "messages[0].content[1].type is missing."),
        ({"type": "text"}, "messages[0].content[1].text is missing."),
        ({"type": "image"}, "messages[0].content[1].source is missing."),
        (
            {"type": "image", "source": {"type": "base64", "data": "A"}},
            "messages[0].content[1].source.media_type is missing.",
        ),
        ({"type": "image", "source": {"type": "url"}}, "messages[0].content[1].source.url is missing."),
        ({"type": "image", "source": "http://x"}, "messages[0].content[1].source must be an object, it is a string."),
        ({"type": "tool_use", "id": "t", "name": "f"}, "messages[0].content[1].input is missing."),
        ({"type": "tool_result"}, "messages[0].content[1].tool_use_id is missing."),
        ({"type": "thinking", "signature": "s"}, "messages[0].content[1].thinking is missing."),
        ({"type": "redacted_thinking"}, "messages[0].content[1].data is missing."),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]},
            "messages[0].content[1].content[0].text is missing.",
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "image"}]}},
            "messages[0].content[1].source.content[0].source is missing.",
        ),
    ],
)
def test_what_is_wrong_with_a_block_is_named(block: Any, message: str) -> None:
    assert refusal_of({"type": "text", "text": "x"}, block)[1] == message


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", "invalid_json", "The body is empty: send a JSON object."),
        (b"[]", "invalid_json", "The body must be an object, it is a list."),
        (b"{", "invalid_json", "The body is not valid JSON: input data was truncated."),
        (b'{"a":"\xff"}', "invalid_json", "The body is not valid UTF-8 (byte 6)."),
        (b"[" * 70, "invalid_json", "The body is nested deeper than 64 levels."),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes, code: str, message: str) -> None:
    with pytest.raises(RequestShapeError) as caught:
        parse_messages_request(body)
    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]},
        {"messages": [{"role": "developer", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"max_completion_tokens": 5},
    ],
)
def test_a_request_for_chat_completions_is_told_where_to_go(fields: Any) -> None:
    assert "/chat/completions" in refusal(**fields)[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service_tier", "priority"),
        ("container", "container_1"),
        ("mcp_servers", [{"type": "url", "url": "https://x"}]),
        ("speed", "fast"),
        ("inference_geo", "us"),
        ("fallbacks", [{"model": "x"}]),
        ("thread", {"id": "x"}),
        ("models", ["x"]),
        ("n", 2),
    ],
)
def test_what_was_not_priced_is_refused_by_name(name: str, value: Any) -> None:
    message = f"{name} is not supported. Leave it out."
    assert refusal(**{name: value}) == ("unsupported_parameter", message, name)
    assert parse(**{name: None})


@pytest.mark.parametrize(
    "fields", [{"service_tier": "auto"}, {"service_tier": "standard_only"}, {"n": 1}, {"novelty": {"x": 1}}]
)
def test_fields_that_do_no_harm_are_kept(fields: Any) -> None:
    assert set(fields) <= parse(**fields).fields.keys()


@pytest.mark.parametrize(
    "kind",
    ["web_search_20250305", "code_execution_20250825", "web_fetch_20250910", "mcp_toolset", "bash_20250124x", "x"],
)
def test_tools_that_run_at_the_provider_are_refused(kind: str) -> None:
    code, message, param = refusal(tools=[TOOL, {"type": kind, "name": "w"}])
    assert (code, param) == ("unsupported_content", "tools[1].type")
    assert message == f'tools[1]: tools of type "{kind}" run at the provider and are not supported. Leave it out.'


@pytest.mark.parametrize(
    "kind",
    ["bash_20250124", "text_editor_20250728", "computer_20251124", "memory_20250818", "browser_toolset_20260801"],
)
def test_tools_that_the_client_runs_are_kept(kind: str) -> None:
    assert parse(tools=[{"type": kind}]).has_tools


def test_a_summary_by_the_model_is_a_request_of_its_own_and_refused() -> None:
    code, _, param = refusal(context_management={"edits": [{"type": "compact_20260112"}]})
    assert (code, param) == ("unsupported_parameter", "context_management")


@pytest.mark.parametrize(
    ("name", "plain"), [("Max_Tokens", "max_tokens"), ("max_token\u017f", "max_tokens"), ("SPEED", "speed")]
)
def test_names_in_another_case_are_refused(name: str, plain: str) -> None:
    assert refusal(**{name: 5}) == ("invalid_parameter", f"{plain} must be written in lower case.", plain)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5000)
    | st.text(max_size=5)
    | st.sampled_from(["text", "image", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "source", "data", "name", "input", "budget_tokens", "url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_NAMES = [
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "metadata",
    "reasoning_effort",
    "x",
]


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(_NAMES), _json, max_size=4))
def test_any_object_is_read_or_refused_in_words_and_never_a_crash(fields: dict[str, Any]) -> None:
    try:
        problem = "" if input_upper_bound(parse(**fields)) > 0 else "no bound"
    except RequestShapeError as error:
        problem = error.message
        told = True
    else:
        told = False
    assert bool(problem) is told
    assert problem.isprintable()


def test_a_clients_own_words_are_quoted_short_and_in_one_line() -> None:
    message = refusal(messages=[{"role": "a\nb" + "x" * 1000, "content": "x"}])[1]
    assert message == f'messages[0].role must be "user", "assistant" or "system", it is "a b{"x" * 37}…".'
