"""Calls in chat streams as tool uses: pieces of every cut, by turns, without numbers, names or ids; and broken ones."""

import json
from typing import Any

import pytest

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.messages_over_chat import MessagesOverChat
from gateway.translate.messages_over_chat.blocks import MAX_TRIES
from tests.gateway.translate.chat_answers import (
    CALLS,
    LABELS,
    LENGTH,
    STOP,
    blocks,
    call,
    chunk,
    ending,
    messages_request,
    streamed,
    text,
)

SUN = '{"city":"Rome"}'


def stream() -> MessagesOverChat:
    """Return a new stream."""
    return MessagesOverChat(messages_request(stream=True), LABELS)


def uses(*payloads: bytes) -> list[tuple[Any, ...]]:
    """Return the blocks for these chunks, whose answer ends with calls."""
    events = streamed([*payloads, CALLS])
    assert ending(events) == ("tool_use", None)
    return blocks(events)


def inputs(found: list[tuple[Any, ...]]) -> list[tuple[str, str, Any]]:
    """Return id, name and whole input of each tool use."""
    return [(block[1], block[2], json.loads("".join(block[3]) or "{}")) for block in found if block[0] == "tool_use"]


@pytest.mark.parametrize(
    ("payloads", "deltas"),
    [
        ([call(SUN, "f", "call_1")], [SUN]),
        ([call("", "f", "call_1"), call(SUN)], [SUN]),
        ([call(None, "f", "call_1"), call('{"ci'), call('ty":"Ro'), call('me"}')], ['{"ci', 'ty":"Ro', 'me"}']),
        ([call("", "f", "call_1")], []),
        ([call(None, "f", "call_1")], []),
        ([call("null", "f", "call_1")], []),
        ([call(" ", "f", "call_1"), call(SUN)], [" " + SUN]),
        ([call({"city": "Rome"}, "f", "call_1")], [SUN]),
    ],
)
def test_arguments_come_in_one_piece_in_many_or_not_at_all(payloads: list[bytes], deltas: list[str]) -> None:
    assert uses(*payloads) == [("tool_use", "call_1", "f", deltas)]


def test_a_call_that_is_growing_is_told_at_once() -> None:
    relay = stream()
    relay.feed(call("", "f", "call_1"))
    assert b"content_block_start" in relay.feed(call('{"a'))
    assert b'"partial_json":"\\":1"' in relay.feed(call('":1'))


def test_arguments_may_come_with_the_finish_reason() -> None:
    last = {"tool_calls": [{"index": 0, "function": {"arguments": SUN}}]}
    events = streamed([call("", "f", "call_1"), chunk(last, "tool_calls")])
    assert blocks(events) == [("tool_use", "call_1", "f", [SUN])]


def test_calls_one_after_another() -> None:
    told = uses(call("", "f", "call_1"), call(SUN), call("", "g", "call_2", 1), call("{}", index=1))
    assert told == [("tool_use", "call_1", "f", [SUN]), ("tool_use", "call_2", "g", ["{}"])]


def test_several_calls_in_one_delta() -> None:
    parts = [
        {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": "f", "arguments": SUN}}
        for index in range(3)
    ]
    assert uses(chunk({"tool_calls": parts})) == [("tool_use", f"call_{index}", "f", [SUN]) for index in range(3)]


def test_calls_that_come_by_turns_are_put_one_behind_the_other() -> None:
    pieces = ['{"a"', ":", "1}"]
    payloads = [call("", "f", "call_1"), call("", "g", "call_2", 1), call("", "h", "call_3", 2)]
    payloads += [call(piece, index=index) for piece in pieces for index in range(3)]
    relay = stream()
    outs = [relay.feed(payload) for payload in payloads]
    # The first grows as it comes; when it is whole, the second is told as far as it has come.
    assert b'"partial_json":"{\\"a\\""' in outs[3]
    assert outs[4] == b""
    assert outs[9].count(b"content_block_stop") == 2
    assert b'"partial_json":"{\\"a\\":"' in outs[9]
    assert uses(*payloads) == [
        ("tool_use", "call_1", "f", pieces),
        ("tool_use", "call_2", "g", ['{"a":', "1}"]),
        ("tool_use", "call_3", "h", ['{"a":', "1}"]),
    ]


def test_a_call_without_arguments_keeps_its_place() -> None:
    told = uses(call("", "f", "call_1"), call(SUN, "g", "call_2", 1), call("{}", "h", "call_3", 2))
    assert inputs(told) == [("call_1", "f", {}), ("call_2", "g", {"city": "Rome"}), ("call_3", "h", {})]


def test_text_after_a_call_waits_until_the_call_is_whole() -> None:
    told = uses(text("a"), call('{"x":', "f", "call_1"), text("b"), call("1}"), text("c"))
    assert told == [("text", ["a"]), ("tool_use", "call_1", "f", ['{"x":', "1}"]), ("text", ["b", "c"])]


def test_a_call_whose_end_is_tried_too_often_waits_for_the_end() -> None:
    pieces = ['{"a":"'] + ["}"] * (MAX_TRIES + 5) + ['"}']
    payloads = [call("", "f", "call_1"), call("{}", "g", "call_2", 1), *[call(piece) for piece in pieces]]
    assert inputs(uses(*payloads)) == [("call_1", "f", {"a": "}" * (MAX_TRIES + 5)}), ("call_2", "g", {})]


# --- which call -------------------------------------------------------------------------------------------------------


def test_an_id_that_is_missing_is_made_up_and_stays_the_same() -> None:
    first, second = inputs(uses(call(SUN, "f"), call("{}", "g", index=1)))
    assert (first[1:], second[1:]) == (("f", {"city": "Rome"}), ("g", {}))
    assert first[0] != second[0]
    for made in (first[0], second[0]):
        assert made.startswith("toolu_")
        assert len(made) == 30
    assert inputs(uses(call(SUN, "f", ""), call("{}", "g", "", index=1))) == [first, second]


def test_an_id_may_come_late_but_not_too_late() -> None:
    assert inputs(uses(call(None, "f"), call(None, None, "call_1"), call("{}"))) == [("call_1", "f", {})]
    assert inputs(uses(call("{}", "f"), call(None, None, "call_1")))[0][0].startswith("toolu_")


def test_two_calls_never_have_one_id() -> None:
    first, second = inputs(uses(call(SUN, "f", "same"), call("{}", "g", "same", 1)))
    assert first == ("same", "f", {"city": "Rome"})
    assert second[0].startswith("toolu_")


def test_calls_without_numbers_are_told_apart_by_ids() -> None:
    told = uses(
        call('{"a":1}', "f", "call_1", None),
        call('{"a":', "f", "call_2", None),
        call("2}", None, "call_2", None),
    )
    assert inputs(told) == [("call_1", "f", {"a": 1}), ("call_2", "f", {"a": 2})]


def test_calls_without_numbers_and_ids_are_told_apart_by_names() -> None:
    told = uses(call('{"a":1}', "f", None, None), call('{"a":', "f", None, None), call("2}", None, None, None))
    assert [(name, given) for _, name, given in inputs(told)] == [("f", {"a": 1}), ("f", {"a": 2})]


def test_calls_that_all_have_the_same_number_are_told_apart_by_ids() -> None:
    told = uses(call('{"a":1}', "f", "call_1", 0), call('{"a":2}', "f", "call_2", 0), call("{}", "g", "call_3", 0))
    assert inputs(told) == [("call_1", "f", {"a": 1}), ("call_2", "f", {"a": 2}), ("call_3", "g", {})]


def test_an_id_that_is_new_with_every_piece_does_not_make_new_calls() -> None:
    assert inputs(uses(call('{"a":', "f", "x1"), call("1", None, "x2"), call("}", None, "x3"))) == [
        ("x1", "f", {"a": 1})
    ]


def test_a_name_in_pieces_is_put_together_and_a_repeated_one_is_not() -> None:
    assert inputs(uses(call(None, "get_", "call_1"), call(None, "weather"), call("{}"))) == [
        ("call_1", "get_weather", {})
    ]
    assert inputs(uses(call("", "get", "call_1"), call('{"a":', "get"), call("1}", "get"))) == [
        ("call_1", "get", {"a": 1})
    ]


def test_a_piece_that_says_nothing_is_no_call() -> None:
    assert blocks(streamed([text("a"), call(), chunk({"tool_calls": [{}]}), STOP])) == [("text", ["a"])]


def test_calls_of_the_old_kind_are_calls() -> None:
    payloads = [
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"a":'}}),
        chunk({"function_call": {"arguments": "1}"}}, "function_call"),
    ]
    events = streamed(payloads)
    assert [(name, given) for _, name, given in inputs(blocks(events))] == [("f", {"a": 1})]
    assert ending(events) == ("tool_use", None)


# --- broken calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ['{"a', "[1]", '"text"', "5", "{}x", "{'a': 1}", "not json"])
def test_arguments_that_are_no_object_are_a_failure(arguments: str) -> None:
    relay = stream()
    relay.feed(call(arguments, "f", "call_1"))
    with pytest.raises(UpstreamFailure) as caught:
        relay.feed(CALLS)
    assert (caught.value.kind, caught.value.produced) == (FailureKind.INVALID, True)


def test_arguments_that_were_cut_by_the_limit_are_told_as_far_as_they_came() -> None:
    events = streamed([call('{"a":', "f", "call_1"), LENGTH])
    assert blocks(events) == [("tool_use", "call_1", "f", ['{"a":'])]
    assert ending(events) == ("max_tokens", None)


def test_a_call_without_a_name_is_a_failure() -> None:
    relay = stream()
    relay.feed(call("{}", None, "call_1"))
    with pytest.raises(UpstreamFailure) as caught:
        relay.feed(CALLS)
    assert caught.value.kind is FailureKind.INVALID


def test_arguments_after_the_end_of_a_call_are_a_failure_unless_they_are_blank() -> None:
    relay = stream()
    relay.feed(call("{}", "f", "call_1"))
    relay.feed(call("{}", "g", "call_2", 1))
    assert relay.feed(call(" \n")) == b""
    with pytest.raises(UpstreamFailure) as caught:
        relay.feed(call("x"))
    assert (caught.value.kind, caught.value.produced) == (FailureKind.INVALID, True)
