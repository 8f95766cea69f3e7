"""Chat answers in forms of their provider's own: what is put right, and what is left alone."""

import json
from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels
from gateway.protocols.failures import UpstreamFailure
from gateway.protocols.openai_chat import ChunkRelay, parse_chat_request, relay_whole
from gateway.translate.chat_over_chat import ChatOverChat

HEAD = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def told(*deltas: Any, **top: Any) -> list[Any]:
    """Return the deltas that a client is told for the chunks of one stream."""
    relay = ChunkRelay("chatcmpl-ours", "public", include_usage=False)
    out = []
    for delta in deltas:
        payload = relay.feed(json.dumps({**HEAD, "choices": [{"index": 0, "delta": delta}], **top}).encode())
        out.append(json.loads(payload or b"null")["choices"][0]["delta"])
    return out


def test_reasoning_becomes_reasoning_content() -> None:
    deltas = told({"content": "", "reasoning": "a"}, {"reasoning": "b"}, {"content": "c"})
    assert deltas == [{"content": "", "reasoning_content": "a"}, {"reasoning_content": "b"}, {"content": "c"}]


def test_reasoning_beside_reasoning_content_is_left_alone() -> None:
    both = {"reasoning": "a", "reasoning_content": "a"}
    assert told(both) == [both]


def test_reasoning_details_stay_beside_it() -> None:
    details = [{"type": "reasoning.text", "text": "a", "index": 0}]
    assert told({"reasoning": "a", "reasoning_details": details}) == [
        {"reasoning_content": "a", "reasoning_details": details}
    ]


def test_a_list_of_parts_becomes_text_and_reasoning() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "."}]}
    deltas = told({"content": [thinking]}, {"content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]})
    assert deltas == [{"content": "", "reasoning_content": "Hm."}, {"content": "AB"}]


def test_calls_without_an_index_are_numbered_by_their_ids() -> None:
    def call(identity: str | None, arguments: str) -> dict[str, Any]:
        return {"id": identity, "function": {"name": "f", "arguments": arguments}}

    deltas = told(
        {"tool_calls": [call("a", '{"index":'), call("b", "{}")]},
        {"tool_calls": [call(None, "more")]},
        {"tool_calls": [call("a", "1}")]},
    )
    assert [[part["index"] for part in delta["tool_calls"]] for delta in deltas] == [[0, 1], [1], [0]]


def test_calls_with_an_index_are_left_alone_whatever_their_arguments_say() -> None:
    delta = {"tool_calls": [{"index": 3, "function": {"arguments": '{"reasoning":"x"}'}}]}
    assert told(delta) == [delta]


@pytest.mark.parametrize("content", [5, True, {"a": 1}])
def test_content_of_another_type_is_no_crash(content: Any) -> None:
    assert told({"content": content}) == [{"content": content}]


def test_a_whole_answer_is_put_right_too() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Hi"}]
    for message in (
        {"role": "assistant", "content": parts},
        {"role": "assistant", "content": "Hi", "reasoning": "Hm."},
    ):
        body = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        answer = json.loads(relay_whole(body, response_id="chatcmpl-ours", model="public").body)
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}


@pytest.mark.parametrize("usage", [None, "absent"])
def test_a_chunk_without_choices_and_usage_is_not_for_clients(usage: Any) -> None:
    chunk = {"id": "", "object": "", "choices": [], "prompt_filter_results": [], "usage": usage}
    payload = json.dumps({name: value for name, value in chunk.items() if value != "absent"}).encode()
    for include_usage in (True, False):
        assert ChunkRelay("chatcmpl-ours", "public", include_usage).feed(payload) is None


def _stream(*usages: Any) -> tuple[list[Any], ChatOverChat]:
    """Return the usage in each chunk of a stream that asked for it, and what relayed it."""
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}'
    stream = ChatOverChat(parse_chat_request(body), Labels(response_id="chatcmpl-ours", model="public", created=1))
    out = stream.feed(json.dumps({**HEAD, "choices": [{"index": 0, "delta": {"content": "Twelve bytes"}}]}).encode())
    for usage in usages:
        out += stream.feed(json.dumps({**HEAD, "choices": [], "usage": usage}).encode())
    out += stream.end(stream.final_usage() or stream.estimated_usage())
    events = out.decode().removesuffix("data: [DONE]\n\n").split("\n\n")[1:-1]
    return [json.loads(event.removeprefix("data: "))["usage"] for event in events], stream


@pytest.mark.parametrize("usage", [[11, 7], "lots", {"prompt_tokens": "eleven", "completion_tokens": "7"}, {}, 5])
def test_usage_that_is_none_is_told_by_our_own_count(usage: Any) -> None:
    told, _ = _stream(usage)
    assert told == [{"prompt_tokens": 0, "completion_tokens": 3, "total_tokens": 3}]


def test_fractions_of_tokens_are_told_as_they_are_billed() -> None:
    told, stream = _stream({"prompt_tokens": 11.0, "completion_tokens": 7.9, "total_tokens": 18.9})
    assert told == [{"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}]
    assert stream.final_usage() == TokenUsage(input=11, output=7)


def test_every_report_that_had_to_be_put_right_is_told_so() -> None:
    lie = {"prompt_tokens": -1, "completion_tokens": 7, "total_tokens": 6}
    told, _ = _stream(lie, lie)
    assert [usage["prompt_tokens"] for usage in told] == [0, 0]


def test_the_flags_are_those_of_the_last_report() -> None:
    zero = {"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11}
    assert _stream(zero)[1].flags == {"usage_zero_output"}
    assert _stream(zero, {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14})[1].flags == frozenset()


def test_cached_input_in_a_field_of_its_own_is_told_in_the_protocols() -> None:
    usage = {"prompt_tokens": 512, "completion_tokens": 48, "total_tokens": 560, "prompt_cache_hit_tokens": 448}
    assert _stream(usage)[0][0]["prompt_tokens_details"]["cached_tokens"] == 448


def test_an_odd_chunk_that_cannot_be_read_is_the_upstreams_failure() -> None:
    relay = ChunkRelay("chatcmpl-ours", "public", include_usage=False)
    with pytest.raises(UpstreamFailure):
        relay.feed(b'{"choices":[{"index":0,"delta":{"reasoning":"x"}}],"x":1e999}')
