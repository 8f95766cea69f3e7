"""Turns of a Messages conversation as chat messages: content of every kind, in its order, or refused by name."""

import json
from typing import Any

import pytest

from gateway.protocols.generation import Target
from gateway.protocols.wording import RequestShapeError
from gateway.translate.messages_over_chat import PAIR
from gateway.types import Profile
from tests.gateway.translate.chat_answers import messages_request

EPHEMERAL = {"type": "ephemeral"}
ROUTER = Profile(takes_reasoning_details=True)
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
IMAGE = {"type": "image", "source": PNG}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
WEATHER = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Rome", "days": 2}}
WEATHER_CALL = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Rome","days":2}'},
}
TIME = {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {}}
TIME_CALL = {"id": "toolu_2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
ASK = {"role": "user", "content": "Hi"}


def said(*messages: Any, profile: Profile | None = None, **fields: Any) -> list[dict[str, Any]]:
    """Return the chat messages for these."""
    request = messages_request(messages=list(messages), **fields)
    decoded: list[dict[str, Any]] = json.loads(PAIR.body(request, Target("up", profile or Profile())))["messages"]
    return decoded


def user(*content: Any) -> dict[str, Any]:
    """Return a user's message of blocks."""
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    """Return an assistant's message of blocks."""
    return {"role": "assistant", "content": list(content)}


def words(text: str, **fields: Any) -> dict[str, Any]:
    """Return a block, and a part, of text."""
    return {"type": "text", "text": text, **fields}


def result(content: Any = None, of: str = "toolu_1", **fields: Any) -> dict[str, Any]:
    """Return a result of a tool."""
    given = {} if content is None else {"content": content}
    return {"type": "tool_result", "tool_use_id": of, **given, **fields}


def refusal(*messages: Any, **fields: Any) -> tuple[str, str, str | None]:
    """Return code, message and param of the error that the messages meet."""
    with pytest.raises(RequestShapeError) as caught:
        said(*messages, **fields)
    return caught.value.code, caught.value.message, caught.value.param


# --- the system -------------------------------------------------------------------------------------------------------


def test_a_system_of_blocks_is_one_message() -> None:
    system = [words("You are kind.", cache_control=EPHEMERAL), words("Be brief.")]
    assert said(ASK, system=system) == [{"role": "system", "content": "You are kind.\n\nBe brief."}, ASK]


@pytest.mark.parametrize("system", [None, "", []])
def test_no_system_is_no_message(system: Any) -> None:
    assert said(ASK, system=system) == [ASK]


def test_a_system_message_in_the_middle_stays_there() -> None:
    middle = {"role": "system", "content": [words("The user has gone."), words("Wait.")]}
    told = said(ASK, {"role": "assistant", "content": "Hello"}, ASK, middle)
    assert told == [
        ASK,
        {"role": "assistant", "content": "Hello"},
        ASK,
        {"role": "system", "content": "The user has gone.\n\nWait."},
    ]


def test_a_system_message_between_a_call_and_its_result_comes_after_the_result() -> None:
    told = said(
        ASK, assistant(TIME), {"role": "system", "content": "Hurry."}, user(result("noon", "toolu_2"), words("So?"))
    )
    assert told[2:] == [
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
        {"role": "system", "content": "Hurry."},
        {"role": "user", "content": "So?"},
    ]


def test_a_system_message_holds_text_alone() -> None:
    message = 'messages[1].content[0]: a system message cannot hold blocks of type "image". Put the block into a user message.'
    assert refusal(ASK, {"role": "system", "content": [IMAGE]}) == (
        "unsupported_content",
        message,
        "messages[1].content[0]",
    )


# --- the user ---------------------------------------------------------------------------------------------------------


def test_texts_of_one_message_become_one() -> None:
    assert said(user(words("One."), words("Two."))) == [{"role": "user", "content": "One.\n\nTwo."}]


def test_messages_of_the_same_side_become_one() -> None:
    told = said(ASK, user(words("There")), {"role": "assistant", "content": "Hel"}, assistant(words("lo")), ASK)
    assert told == [{"role": "user", "content": "Hi\n\nThere"}, {"role": "assistant", "content": "Hello"}, ASK]


def test_images_stay_in_their_place_among_the_text() -> None:
    by_url = {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}}
    assert said(user(words("See"), IMAGE, words("and"), by_url)) == [
        {
            "role": "user",
            "content": [
                words("See"),
                IMAGE_PART,
                words("and"),
                {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ({"source": {"type": "text", "media_type": "text/plain", "data": "Once."}}, "Once."),
        (
            {
                "source": {"type": "text", "data": "Once."},
                "title": "A tale",
                "context": "By nobody",
                "citations": {"enabled": True},
            },
            "A tale\n\nBy nobody\n\nOnce.",
        ),
        ({"source": {"type": "content", "content": "Once."}}, "Once."),
        (
            {"source": {"type": "content", "content": [words("Once."), IMAGE]}, "title": "A tale"},
            [words("A tale"), words("Once."), IMAGE_PART],
        ),
        (
            {"source": PDF},
            [
                {
                    "type": "file",
                    "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                }
            ],
        ),
        (
            {"source": PDF, "title": "Tale.PDF", "context": "By nobody"},
            [
                words("By nobody"),
                {"type": "file", "file": {"filename": "Tale.PDF", "file_data": "data:application/pdf;base64,JVBERi0="}},
            ],
        ),
        (
            {"source": PDF, "title": "A tale"},
            [{"type": "file", "file": {"filename": "A tale.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}],
        ),
    ],
)
def test_documents_are_text_or_files(document: Any, parts: Any) -> None:
    assert said(user({"type": "document", **document})) == [{"role": "user", "content": parts}]


def test_a_search_result_is_text() -> None:
    found = {
        "type": "search_result",
        "source": "https://a.example",
        "title": "A",
        "content": [words("One."), words("Two.")],
    }
    assert said(user(found, words("Well?"))) == [
        {"role": "user", "content": "A\nhttps://a.example\n\nOne.\n\nTwo.\n\nWell?"}
    ]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            'an image with a source of type "file" cannot be sent on. Send it as base64.',
        ),
        (
            {"type": "document", "source": {"type": "file", "file_id": "f"}},
            'a document with a source of type "file" cannot be sent on. Send a PDF as base64, or the document\'s text.',
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}},
            'a document with a source of type "url" cannot be sent on. Send a PDF as base64, or the document\'s text.',
        ),
        (
            {"type": "document", "source": {**PDF, "media_type": "text/csv"}},
            'a document with a source of type "base64 (text/csv)" cannot be sent on. '
            "Send a PDF as base64, or the document's text.",
        ),
        (
            {"type": "container_upload", "file_id": "f"},
            'this model\'s upstream cannot be sent blocks of type "container_upload". Leave the block out.',
        ),
        (
            {"type": "thinking", "thinking": "Hm", "signature": "x"},
            'this model\'s upstream cannot be sent blocks of type "thinking". Leave the block out.',
        ),
    ],
)
def test_content_that_chat_cannot_say_is_refused_by_name(block: Any, problem: str) -> None:
    at = "messages[1].content[1]"
    told = refusal(ASK, user(words("See"), block))
    assert told == ("unsupported_content", f"{at}: {problem}", at)


def test_a_search_result_without_content_is_refused() -> None:
    message = "messages[0].content[0].content must be a list of blocks."
    told = refusal(user({"type": "search_result", "source": "s", "title": "t"}))
    assert told == ("invalid_parameter", message, "messages[0].content[0].content")


# --- the assistant ----------------------------------------------------------------------------------------------------


def test_texts_of_one_answer_are_joined_as_they_were() -> None:
    assert said(ASK, assistant(words("Rome, "), words("of course.")), ASK)[1] == {
        "role": "assistant",
        "content": "Rome, of course.",
    }


def test_a_tool_use_is_a_call() -> None:
    told = said(ASK, assistant(words("I look."), WEATHER, TIME), user(result("Sun"), result("noon", "toolu_2")))
    assert told[1:] == [
        {"role": "assistant", "content": "I look.", "tool_calls": [WEATHER_CALL, TIME_CALL]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Sun"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
    ]


def test_an_answer_without_text_has_none() -> None:
    assert said(ASK, assistant(TIME), user(result("noon", "toolu_2")))[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [TIME_CALL],
    }
    assert said(ASK, assistant(), ASK)[1] == {"role": "assistant", "content": ""}


def test_arguments_are_the_input_without_spaces_and_otherwise_as_it_was() -> None:
    raw = {**TIME, "input": {"text": "a b  c", "n": 1.0, "deep": [{"x": None}], "é": "\u2028"}}
    told = said(ASK, assistant(raw), user(result("", "toolu_2")))[1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(told) == raw["input"]
    assert told.startswith('{"text":"a b  c","n":1.0,"deep":[{"x":null}],')


@pytest.mark.parametrize("kind", ["image", "server_tool_use", "web_search_tool_result", "document"])
def test_what_an_assistant_cannot_have_said_is_refused_by_name(kind: str) -> None:
    block = {"type": kind, "source": PNG, "id": "s", "name": "n", "input": {}}
    problem = f"this model's upstream cannot be sent an assistant's block of type \"{kind}\". Leave the block out."
    at = "messages[1].content[0]"
    assert refusal(ASK, assistant(block), ASK) == ("unsupported_content", f"{at}: {problem}", at)


# --- results of tools -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (result(), ""),
        (result(""), ""),
        (result([]), ""),
        (result("Sun"), "Sun"),
        (result([words("Sun"), words("Wind")]), "Sun\n\nWind"),
        (result(words("Sun")), "Sun"),
        (result("no such city", is_error=True), "Error: no such city"),
        (result("Error: no such city", is_error=True), "Error: no such city"),
        (result(is_error=True), "Error"),
        (result("Sun", is_error=False), "Sun"),
        (result([{"type": "tool_reference", "tool_name": "get_tide"}]), "The tool get_tide is available."),
        (
            result([{"type": "search_result", "source": "s", "title": "t", "content": [words("Sun")]}]),
            "t\ns\n\nSun",
        ),
        (result([{"type": "document", "source": {"type": "text", "data": "Sun"}, "title": "t"}]), "t\n\nSun"),
    ],
)
def test_a_result_is_a_tool_message_of_text(given: Any, text: str) -> None:
    assert said(ASK, assistant(WEATHER), user(given))[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": text}
    ]


def test_results_come_first_and_the_rest_of_the_turn_keeps_its_order() -> None:
    turn = user(words("One."), result("noon", "toolu_2"), words("Two."), result("Sun"), words("Three."))
    assert said(ASK, assistant(WEATHER, TIME), turn)[2:] == [
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Sun"},
        {"role": "user", "content": "One.\n\nTwo.\n\nThree."},
    ]


def test_results_may_come_in_several_messages_of_one_turn() -> None:
    told = said(ASK, assistant(WEATHER, TIME), user(result("Sun"), words("And?")), user(result("noon", "toolu_2")))
    assert told[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Sun"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
        {"role": "user", "content": "And?"},
    ]


def test_images_in_results_follow_all_results_and_say_whose_they_are() -> None:
    shot = result([words("Here:"), IMAGE, {"type": "document", "source": PDF}], is_error=True)
    file = {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    assert said(ASK, assistant(WEATHER, TIME), user(shot, result("noon", "toolu_2"), words("Well?")))[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: Here:\n\n[image below]\n\n[document below]"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
        {"role": "user", "content": [words("From the result of toolu_1:"), IMAGE_PART, file, words("Well?")]},
    ]


def test_images_in_results_with_nothing_after_them_are_a_message_of_their_own() -> None:
    told = said(ASK, assistant(WEATHER), user(result([IMAGE])), {"role": "system", "content": "Wait."})
    assert told[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "[image below]"},
        {"role": "user", "content": [words("From the result of toolu_1:"), IMAGE_PART]},
        {"role": "system", "content": "Wait."},
    ]


def test_an_id_that_is_too_long_is_shortened_in_both_places() -> None:
    long = "toolu_" + "x" * 40
    told = said(ASK, assistant({**TIME, "id": long}), user(result("noon", long)))
    short = told[1]["tool_calls"][0]["id"]
    assert len(short) <= 40
    assert told[2]["tool_call_id"] == short


@pytest.mark.parametrize(
    ("messages", "message", "param"),
    [
        (
            [ASK, user(result("Sun"))],
            'messages[1].content[0]: the turn before has no tool use "toolu_1". A result follows its tool use at once.',
            "messages[1].content[0].tool_use_id",
        ),
        (
            [ASK, assistant(TIME), user(result("Sun"), result("noon", "toolu_2"))],
            'messages[2].content[0]: the turn before has no tool use "toolu_1". A result follows its tool use at once.',
            "messages[2].content[0].tool_use_id",
        ),
        (
            [ASK, assistant(WEATHER), user(result("Sun"), result("Rain"))],
            'messages[2].content[1]: the tool use "toolu_1" has a result already.',
            "messages[2].content[1].tool_use_id",
        ),
        (
            [ASK, assistant(words("Hm"), WEATHER), ASK],
            'messages[1].content[1]: the tool use "toolu_1" has no tool_result in the turn after it.',
            "messages[1].content[1]",
        ),
        (
            [ASK, assistant(WEATHER)],
            'messages[1].content[0]: the tool use "toolu_1" has no tool_result in the turn after it.',
            "messages[1].content[0]",
        ),
        (
            [ASK, assistant(WEATHER, WEATHER), user(result("Sun"))],
            'messages[1].content[1]: the id "toolu_1" is that of another tool use in this turn.',
            "messages[1].content[1].id",
        ),
    ],
)
def test_calls_and_results_that_do_not_match_are_refused(messages: Any, message: str, param: str) -> None:
    assert refusal(*messages) == ("invalid_parameter", message, param)


# --- cache marks ------------------------------------------------------------------------------------------------------


def test_cache_marks_are_kept_for_the_upstream_that_reads_them() -> None:
    told = said(
        user(words("One."), words("Two.", cache_control=EPHEMERAL)),
        assistant({**TIME, "cache_control": EPHEMERAL}),
        user(result("noon", "toolu_2", cache_control=EPHEMERAL)),
        system=[words("Be kind.", cache_control=EPHEMERAL)],
        profile=ROUTER,
    )
    assert told == [
        {"role": "system", "content": [words("Be kind.", cache_control=EPHEMERAL)]},
        {"role": "user", "content": [words("One."), words("Two.", cache_control=EPHEMERAL)]},
        {"role": "assistant", "content": None, "cache_control": EPHEMERAL, "tool_calls": [TIME_CALL]},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon", "cache_control": EPHEMERAL},
    ]


def test_cache_marks_on_tools_and_on_the_whole_are_kept_there_too() -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}, "cache_control": EPHEMERAL}]
    request = messages_request(tools=tools, cache_control=EPHEMERAL)
    told = json.loads(PAIR.body(request, Target("up", ROUTER)))
    function = {"name": "f", "parameters": {"type": "object"}}
    assert told["tools"] == [{"type": "function", "function": function, "cache_control": EPHEMERAL}]
    assert told["cache_control"] == EPHEMERAL
