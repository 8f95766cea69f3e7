"""Our own count of a request: known ones by hand, and no request that it cannot count."""

import json
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from gateway.protocols.anthropic_request import MessagesRequest, parse_messages_request
from gateway.protocols.generation import input_upper_bound
from gateway.protocols.openai_chat import ChatRequest, parse_chat_request
from gateway.protocols.request_tokens import estimated_tokens
from gateway.protocols.wording import RequestShapeError

PIXELS = "iVBORw0KGgo" * 1_000
WEATHER = {
    "type": "object",
    "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
    "required": ["location"],
}


def chat(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    """Parse a chat request."""
    return parse_chat_request(json.dumps({"model": "m", "messages": messages, **fields}).encode())


def messages(*given: dict[str, Any], **fields: Any) -> MessagesRequest:
    """Parse a Messages request whose tokens are to be counted."""
    return parse_messages_request(json.dumps({"model": "m", "messages": given, **fields}).encode(), needs_limit=False)


def user(content: Any) -> dict[str, Any]:
    """Make a user's message."""
    return {"role": "user", "content": content}


def counted(content: Any) -> int:
    """Return what one user message of this content counts beside what stands around it: 3, 1 for the role, and 3 at the end."""
    return estimated_tokens(messages(user(content))) - 7


def test_openais_own_example_counts_what_its_api_counts() -> None:
    # OpenAI's cookbook, "How to count tokens": gpt-4o reports 124 prompt tokens for these messages.
    lines = [
        (None, "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
        ("example_user", "New synergies will help drive top-line growth."),
        ("example_assistant", "Things working well together will increase revenue."),
        (
            "example_user",
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        ),
        ("example_assistant", "Let's talk later when we're less busy about how to do better."),
    ]
    system = [{"role": "system", "content": text, **({"name": name} if name else {})} for name, text in lines]
    question = "This late pivot means we don't have time to boil the ocean for the client deliverable."
    assert estimated_tokens(chat(*system, user(question))) == 124


def test_both_protocols_count_the_same_conversation_alike() -> None:
    told, asked = "You are a helpful assistant.", user("hello world")
    # 4 and 6 for the system's message, 4 and 2 for the user's, 3 for the answer.
    assert estimated_tokens(chat({"role": "system", "content": told}, asked)) == 19
    assert estimated_tokens(messages(asked, system=told)) == 19
    assert estimated_tokens(messages(asked, system=[{"type": "text", "text": told}])) == 19


def test_escapes_are_counted_as_what_they_stand_for() -> None:
    plain = json.dumps({"model": "m", "messages": [user("Привет, мир")]}, ensure_ascii=False).encode()
    escaped = json.dumps({"model": "m", "messages": [user("Привет, мир")]}).encode()
    assert len(escaped) > len(plain) + 30
    assert estimated_tokens(parse_chat_request(plain)) == estimated_tokens(parse_chat_request(escaped)) <= 7 + 5


def test_parts_count_by_their_text() -> None:
    assert counted("hello world") == counted([{"type": "text", "text": "hello world"}]) == 2
    marked = {"type": "text", "text": "hello world", "cache_control": {"type": "ephemeral"}, "citations": None}
    assert counted([marked, marked]) == 4


def test_images_count_by_a_table_and_not_by_their_size() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXELS}
    assert counted([{"type": "image", "source": source}]) == 1_024
    assert counted([{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]) == 1_024
    part: dict[str, Any] = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}}
    assert estimated_tokens(chat(user([part]))) == 7 + 1_024
    part["image_url"]["detail"] = "low"
    assert estimated_tokens(chat(user([part]))) == 7 + 85


def test_documents_count_by_their_size_and_at_least_as_a_page() -> None:
    def document(**source: Any) -> list[dict[str, Any]]:
        return [{"type": "document", "source": source, "title": "hello world"}]

    pdf = {"type": "base64", "media_type": "application/pdf"}
    assert counted(document(**pdf, data="A" * 320_000)) == 10_000
    assert counted(document(**pdf, data="A" * 64)) == 2_000
    assert counted(document(type="url", url="https://example.com/a.pdf")) == 2_000
    assert counted(document(type="text", media_type="text/plain", data="hello world")) == 4
    assert counted(document(type="content", content=[{"type": "text", "text": "hello world"}])) == 4


def test_sounds_and_files_of_chat_count_by_their_size() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 204_800, "format": "wav"}}
    assert estimated_tokens(chat(user([sound]))) == 7 + 100
    file = {"type": "file", "file": {"file_id": "file-1"}}
    assert estimated_tokens(chat(user([file]))) == 7 + 2_000


def test_tool_calls_and_results_count_without_their_ids() -> None:
    use = {"type": "tool_use", "id": "toolu_0123456789abcdef", "name": "get", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_0123456789abcdef", "content": "hello world"}
    asked = messages(user("hello world"), {"role": "assistant", "content": [use]}, user([result]))
    # Three messages of 4, the answer's 3, the texts, the name, and {"city":"Paris"}: {" city ":" Paris "}.
    assert estimated_tokens(asked) == 12 + 3 + 2 + 2 + 1 + 5
    call = {"id": "call_1", "type": "function", "function": {"name": "get", "arguments": '{"city":"Paris"}'}}
    same = chat(
        user("hello world"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "hello world"},
    )
    assert estimated_tokens(same) == estimated_tokens(asked)


def test_thinking_counts_and_its_signature_does_not() -> None:
    thinking = {"type": "thinking", "thinking": "hello world", "signature": "c2lnbmF0dXJl" * 100}
    said = messages(user("hello world"), {"role": "assistant", "content": [thinking]})
    assert estimated_tokens(said) == 8 + 3 + 4
    hidden = {"type": "redacted_thinking", "data": "A" * 600}
    assert (
        estimated_tokens(messages(user("hello world"), {"role": "assistant", "content": [hidden]})) == 8 + 3 + 2 + 100
    )


def test_tools_and_schemas_count_as_the_json_that_they_are() -> None:
    plain = estimated_tokens(messages(user("hello world")))
    tool = {"name": "weather", "description": "Get the weather", "input_schema": WEATHER}
    one = estimated_tokens(messages(user("hello world"), tools=[tool])) - plain
    assert 40 <= one <= 70
    assert estimated_tokens(messages(user("hello world"), tools=[tool, tool])) - plain == 2 * one
    marked = {**tool, "cache_control": {"type": "ephemeral"}}
    assert estimated_tokens(messages(user("hello world"), tools=[marked])) - plain == one
    # A tool that the model has to search for is not shown to it.
    assert estimated_tokens(messages(user("hello world"), tools=[{**tool, "defer_loading": True}])) == plain
    function = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
    assert estimated_tokens(chat(user("hello world"), tools=[function])) > plain + 40
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}
    assert estimated_tokens(chat(user("hello world"), response_format=form)) > plain + 30
    assert estimated_tokens(chat(user("hello world"), response_format={"type": "json_object"})) == plain
    config = {"format": {"type": "json_schema", "schema": WEATHER}}
    assert estimated_tokens(messages(user("hello world"), output_config=config)) > plain + 30
    assert estimated_tokens(messages(user("hello world"), output_config={"effort": "low"})) == plain


@pytest.mark.parametrize(
    "content",
    [
        [],
        "",
        [{"type": "text", "text": ""}],
        [{"type": "new", "source": "", "input": [1, None, {"a": 1e300}], "type2": {"type": ["odd"]}}],
        [{"type": "search_result", "source": "here", "title": "t", "content": [{"type": "text", "text": "x"}]}],
    ],
)
def test_odd_content_is_counted_all_the_same(content: Any) -> None:
    assert estimated_tokens(messages(user(content))) >= 7


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "source", "content", "input", "data", "image_url", "detail", "name", "x"]),
            inner | st.sampled_from(["text", "image", "document", "tool_use", "file", "input_audio", "content"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


KINDS = st.sampled_from(["text", "image", "document", "tool_use", "file", "input_audio", "redacted_thinking", "new"])


@settings(max_examples=600, deadline=None)
@given(KINDS, JSON, st.booleans())
def test_whatever_can_be_parsed_can_be_counted(kind: str, odd: Any, is_chat: bool) -> None:
    needed = {
        "text": "t",
        "source": {"type": "content", "content": [], "x": odd},
        "id": "1",
        "name": "n",
        "input": odd,
        "data": "d",
    }
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"type": kind, **needed, "x": odd}], "x": odd}],
        "tools": [{"name": "n", "input_schema": odd, "x": odd}] if odd is not None else [],
        # Each is a field of the other protocol, in which anything may stand.
        **({"system": odd, "output_config": odd} if is_chat else {"functions": odd, "response_format": odd}),
    }
    body = json.dumps({"model": "m", **fields}).encode()
    try:
        request = parse_chat_request(body) if is_chat else parse_messages_request(body, needs_limit=False)
    except RequestShapeError:
        reject()
    assert estimated_tokens(request) >= 7


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=80), min_size=1))
def test_the_estimate_of_text_stays_below_the_bound_that_holds_rely_on(texts: list[str]) -> None:
    request = chat(*(user(text) for text in texts))
    assert estimated_tokens(request) <= input_upper_bound(request)
