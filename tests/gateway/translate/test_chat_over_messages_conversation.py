"""What becomes of chat messages in a Messages body: roles, turns, tool calls and their results, and thinking sent back."""

from typing import Any

import pytest

from tests.gateway.translate.chat_calls import HELLO, asks, body_of, call, refusal_of, result, text, turns_of

FORMAT = "anthropic-claude-v1"
ANSWER = {"role": "assistant", "content": "Hi"}


def use(call_id: str, name: str = "get_weather", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def tool_result(call_id: str, **content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, **content}


def thought(words: str | None = None, *, index: Any = 0, **more: Any) -> dict[str, Any]:
    detail = {"type": "reasoning.text", "format": FORMAT, "index": index, **more}
    return detail if words is None else detail | {"text": words}


def test_system_and_developer_messages_become_the_system_wherever_they_stand() -> None:
    body = body_of(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [text("two"), text(""), text("three")]},
            HELLO,
            ANSWER,
            {"role": "system", "content": "four"},
            {"role": "user", "content": "More"},
        ]
    )
    assert body["system"] == [text("one"), text("two"), text("three"), text("four")]
    assert body["messages"] == [
        {"role": "user", "content": [text("Hello")]},
        {"role": "assistant", "content": [text("Hi")]},
        {"role": "user", "content": [text("More")]},
    ]


def test_a_system_of_nothing_is_left_out() -> None:
    assert "system" not in body_of(messages=[{"role": "system", "content": " "}, HELLO])


def test_messages_of_one_side_become_one_turn() -> None:
    assert turns_of(HELLO, {"role": "user", "content": [text("a")]}, ANSWER, ANSWER, HELLO) == [
        {"role": "user", "content": [text("Hello"), text("a")]},
        {"role": "assistant", "content": [text("Hi"), text("Hi")]},
        {"role": "user", "content": [text("Hello")]},
    ]


def test_a_conversation_may_begin_with_the_assistant() -> None:
    assert [turn["role"] for turn in turns_of(ANSWER, HELLO)] == ["assistant", "user"]


def test_refusals_are_text_that_the_assistant_said() -> None:
    parts = {"role": "assistant", "content": [text("a"), {"type": "refusal", "refusal": "b"}], "refusal": "c"}
    assert turns_of(HELLO, parts, HELLO)[1]["content"] == [text("a"), text("b"), text("c")]


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_images_belong_to_the_user(role: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x.test/a"}}
    refused = refusal_of(messages=[HELLO, {"role": role, "content": [picture]}])
    assert refused[:2] == ("unsupported_content", "messages[1].content[0]")
    assert "text only" in refused[2]


def test_an_answer_in_sound_is_refused() -> None:
    spoken = {"role": "assistant", "audio": {"id": "audio_1"}}
    assert refusal_of(messages=[HELLO, spoken])[:2] == ("unsupported_content", "messages[1].audio")


def test_an_unknown_role_is_refused() -> None:
    refused = refusal_of(messages=[{"role": "critic", "content": "x"}])
    assert refused[:2] == ("invalid_parameter", "messages[0].role")
    assert 'it is "critic"' in refused[2]


@pytest.mark.parametrize("content", ["", None, [], [text(" ")]])
def test_a_conversation_of_nothing_is_refused(content: Any) -> None:
    refused = refusal_of(messages=[{"role": "system", "content": "S"}, {"role": "user", "content": content}])
    assert refused[:2] == ("invalid_parameter", "messages")


# --- an answer that the client began ---------------------------------------------------------------------------------


def test_the_beginning_of_an_answer_is_kept_without_blanks_at_its_end() -> None:
    begun = {"role": "assistant", "content": [text("The answer"), text(" is ( \n")]}
    assert turns_of(HELLO, begun)[1] == {"role": "assistant", "content": [text("The answer"), text(" is (")]}


def test_the_beginning_of_an_answer_brings_no_thinking() -> None:
    begun = {"role": "assistant", "content": "So", "reasoning_details": [thought("hm", signature="s")]}
    assert turns_of(HELLO, begun)[1]["content"] == [text("So")]


def test_an_empty_beginning_is_none() -> None:
    begun = {"role": "assistant", "content": "", "reasoning_details": [thought("hm", signature="s")]}
    assert turns_of(HELLO, begun) == [{"role": "user", "content": [text("Hello")]}]


# --- tools -----------------------------------------------------------------------------------------------------------


def test_calls_and_results_become_blocks_of_one_turn_each() -> None:
    asked = asks(call("a", arguments='{"city": "SF"}'), call("b", arguments="{}"), content="Let me look.")
    assert turns_of(HELLO, asked, result("b", "rain"), result("a"), ANSWER, HELLO)[1:3] == [
        {"role": "assistant", "content": [text("Let me look."), use("a", city="SF"), use("b")]},
        {"role": "user", "content": [tool_result("b", content="rain"), tool_result("a", content="sunny")]},
    ]


def test_results_stand_first_wherever_the_client_put_them() -> None:
    late = {"role": "system", "content": "S"}
    assert turns_of(HELLO, asks(call("a"), call("b")), result("a"), HELLO, late, result("b"))[2]["content"] == [
        tool_result("a", content="sunny"),
        tool_result("b", content="sunny"),
        text("Hello"),
    ]


@pytest.mark.parametrize("given", ["", " ", "null", None])
def test_no_arguments_are_an_empty_object(given: str | None) -> None:
    asked = asks({"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": given}})
    assert turns_of(HELLO, asked, result("a"))[1]["content"] == [use("a")]


@pytest.mark.parametrize(
    "arguments", ["{", "[]", '"x"', '{"a": 1e999}', '{"a": "\\u0000"}', '{"a": ' + "[" * 70 + "]" * 70 + "}"]
)
def test_arguments_that_are_no_object_are_refused_by_name(arguments: str) -> None:
    refused = refusal_of(messages=[HELLO, asks(call("a"), call("b", arguments=arguments)), result("a"), result("b")])
    assert refused[:2] == ("invalid_parameter", "messages[1].tool_calls[1].function.arguments")
    assert "must be a JSON object in a string" in refused[2]


def test_a_result_may_hold_parts_and_nothing() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x.test/a"}}
    turns = turns_of(HELLO, asks(call("a"), call("b")), result("a", [text("see"), text(""), picture]), result("b", ""))
    image = {"type": "image", "source": {"type": "url", "url": "https://x.test/a"}}
    assert turns[2]["content"] == [tool_result("a", content=[text("see"), image]), tool_result("b")]


def test_cache_markers_of_results_are_kept() -> None:
    mark = {"type": "ephemeral"}
    turns = turns_of(HELLO, asks(call("a")), {**result("a"), "cache_control": mark})
    assert turns[2]["content"] == [tool_result("a", content="sunny", cache_control=mark)]


def test_ids_of_other_servers_are_put_into_a_form_that_is_taken() -> None:
    odd = "functions.get_weather:0"
    turns = turns_of(HELLO, asks(call(odd), call("plain")), result("plain"), result(odd))
    used = turns[1]["content"][0]["id"]
    # BLAKE2b of 12 bytes, as b2sum -l 96 prints it.
    assert used == "call_f3d534c337b0d756aeb441d4"
    assert [block["tool_use_id"] for block in turns[2]["content"]] == ["plain", used]


@pytest.mark.parametrize(
    ("messages", "param", "words"),
    [
        ([HELLO, result("a")], "messages[1].tool_call_id", "which no call of the assistant just before has"),
        (
            [HELLO, asks(call("a")), result("b")],
            "messages[2].tool_call_id",
            '"b", which no call of the assistant just before has',
        ),
        (
            [HELLO, asks(call("a")), result("a"), result("a")],
            "messages[3].tool_call_id",
            "has its result already",
        ),
        ([HELLO, asks(call("a"), call("a"))], "messages[1].tool_calls[1].id", "another call in this conversation"),
        (
            [HELLO, asks(call("a")), result("a"), asks(call("a")), result("a")],
            "messages[3].tool_calls[0].id",
            "another call in this conversation",
        ),
        ([HELLO, asks(call("a"))], "messages[1]", 'the tool call "a", and no message with its result follows'),
        ([HELLO, asks(call("a"), call("b")), result("a")], "messages[1]", 'the tool call "b"'),
        ([HELLO, asks(call("a")), HELLO, ANSWER], "messages[1]", 'the tool call "a"'),
        ([HELLO, asks(call("a", name="a b"))], "messages[1].tool_calls[0].function.name", "letters"),
    ],
)
def test_calls_and_results_that_do_not_fit_are_refused(messages: list[Any], param: str, words: str) -> None:
    refused = refusal_of(messages=messages)
    assert refused[:2] == ("invalid_parameter", param)
    assert words in refused[2]


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ({"role": "tool", "content": "x"}, "missing_parameter", "messages[1].tool_call_id"),
        ({"role": "function", "content": "x"}, "missing_parameter", "messages[1].name"),
        (asks({"id": "a", "type": "function"}), "missing_parameter", "messages[1].tool_calls[0].function"),
        (asks(call("")), "missing_parameter", "messages[1].tool_calls[0].id"),
        (asks({"id": "a", "type": "custom", "custom": {}}), "unsupported_content", "messages[1].tool_calls[0]"),
    ],
)
def test_calls_that_are_not_whole_are_refused(message: dict[str, Any], code: str, param: str) -> None:
    assert refusal_of(messages=[HELLO, message])[:2] == (code, param)


def test_the_older_form_of_calls_becomes_blocks_too() -> None:
    asked = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}
    answered = {"role": "function", "name": "f", "content": "2"}
    assert turns_of(HELLO, asked, answered, asked, answered)[1:] == [
        {"role": "assistant", "content": [use("function_call_0", "f", a=1)]},
        {"role": "user", "content": [tool_result("function_call_0", content="2")]},
        {"role": "assistant", "content": [use("function_call_1", "f", a=1)]},
        {"role": "user", "content": [tool_result("function_call_1", content="2")]},
    ]
    refused = refusal_of(messages=[HELLO, asked, {**answered, "name": "g"}])
    assert refused[:2] == ("invalid_parameter", "messages[2].name")
    broken = {**asked, "function_call": {"name": "f", "arguments": "{"}}
    assert refusal_of(messages=[HELLO, broken])[1] == "messages[1].function_call.arguments"


# --- thinking that comes back ----------------------------------------------------------------------------------------


def test_thinking_comes_back_in_order_before_text_and_tools() -> None:
    details = [
        thought("one", signature="s1"),
        {"type": "reasoning.encrypted", "data": "xx", "format": FORMAT, "index": 1},
        thought("two", index=2, signature="s2"),
    ]
    asked = asks(call("a"), content="So.", reasoning_content="onetwo", reasoning_details=details)
    assert turns_of(HELLO, asked, result("a"))[1]["content"] == [
        {"type": "thinking", "thinking": "one", "signature": "s1"},
        {"type": "redacted_thinking", "data": "xx"},
        {"type": "thinking", "thinking": "two", "signature": "s2"},
        text("So."),
        use("a"),
    ]


def test_parts_of_a_stream_that_a_client_kept_are_put_together() -> None:
    details = [
        thought("on"),
        thought("e"),
        thought(signature="s1"),
        thought("two", index=1),
        thought(index=1, signature="s2"),
        thought(index=2, signature="s3"),
    ]
    answered = {"role": "assistant", "content": "So.", "reasoning_details": details}
    assert turns_of(HELLO, answered, HELLO)[1]["content"] == [
        {"type": "thinking", "thinking": "one", "signature": "s1"},
        {"type": "thinking", "thinking": "two", "signature": "s2"},
        {"type": "thinking", "thinking": "", "signature": "s3"},
        text("So."),
    ]


def test_thinking_that_no_upstream_would_take_is_left_out() -> None:
    details = [
        thought("no signature"),
        thought("another family", index=1, signature="s", format="google-gemini-v1"),
        {"type": "reasoning.summary", "summary": "x", "format": FORMAT, "index": 2},
        {"type": "reasoning.encrypted", "data": None, "format": FORMAT},
        {"type": 5, "text": 5},
        thought(index=[3], signature=7),
        {},
    ]
    answered = {"role": "assistant", "content": "So.", "reasoning_content": "hm", "reasoning_details": details}
    assert turns_of(HELLO, answered, HELLO)[1]["content"] == [text("So.")]


def test_details_without_a_format_are_taken_by_their_signature() -> None:
    answered = {"role": "assistant", "content": "So.", "reasoning_details": [thought("a", signature="s", format=None)]}
    assert turns_of(HELLO, answered, HELLO)[1]["content"][0]["thinking"] == "a"
