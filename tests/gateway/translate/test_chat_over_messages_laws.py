"""Laws of chat completions over Messages, on generated streams and requests.

Folding a translated stream equals translating the folded stream. Whatever a client sends, it gets a body that the API takes, or
a refusal; whatever an upstream sends, chunks or a failure.
"""

import contextlib
import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.protocols.anthropic_fold import fold_events
from gateway.protocols.failures import UpstreamFailure
from gateway.protocols.openai_fold import fold_chunks
from gateway.protocols.wording import RequestShapeError
from gateway.translate.chat_over_messages import chat_answer_from_message
from tests.gateway.translate.chat_calls import HELLO, LABELS, PNG, WEATHER, body_of, payloads_in, request_of, stream_of

FINISHES = ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "unheard_of"]
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(words, json_values, max_size=3)


def _encoded(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


@st.composite
def _pieces(draw: st.DrawFn, whole: str) -> list[str]:
    """Draw a text in pieces, some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@st.composite
def _text_blocks(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    start = {"type": "text", "text": draw(st.just("") | words)}
    deltas: list[dict[str, Any]] = [{"type": "text_delta", "text": part} for part in draw(st.lists(words, max_size=3))]
    urls = st.sampled_from(["https://a.test", "http://b.test", "ftp://c.test"])
    for url in draw(st.lists(urls, max_size=2)):
        citation = {"type": "web_search_result_location", "url": url, "title": draw(st.none() | words)}
        deltas.insert(draw(st.integers(0, len(deltas))), {"type": "citations_delta", "citation": citation})
    return start, deltas


@st.composite
def _thinking_blocks(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    start = {"type": "thinking", "thinking": draw(st.just("") | words), "signature": ""}
    deltas: list[dict[str, Any]] = [
        {"type": "thinking_delta", "thinking": part} for part in draw(st.lists(words, max_size=3))
    ]
    if draw(st.booleans()):
        deltas.append({"type": "signature_delta", "signature": draw(words)})
    return start, deltas


@st.composite
def _tool_blocks(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    call_id, name = draw(st.sampled_from(["toolu_1", "toolu_2"])), draw(st.sampled_from(["f", "g"]))
    start = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    way = draw(st.sampled_from(["pieces", "start", "nothing"]))
    if way == "start":
        return {**start, "input": draw(objects)}, []
    if way == "nothing":
        return start, draw(st.just([]) | st.just([{"type": "input_json_delta", "partial_json": ""}]))
    parts = draw(_pieces(msgspec.json.encode(draw(objects)).decode()))
    return start, [{"type": "input_json_delta", "partial_json": part} for part in parts]


@st.composite
def _redacted_blocks(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"type": "redacted_thinking", "data": draw(words)}, []


blocks = st.one_of(_text_blocks(), _thinking_blocks(), _tool_blocks(), _redacted_blocks())


@st.composite
def _streams(draw: st.DrawFn) -> list[bytes]:
    counts = st.integers(1, 10_000)
    usage = {"input_tokens": draw(counts), "output_tokens": 1, "cache_read_input_tokens": draw(st.integers(0, 9))}
    payloads = [_encoded(type="message_start", message={"id": "m", "content": [], "usage": usage})]
    for index, (start, deltas) in enumerate(draw(st.lists(blocks, max_size=6))):
        payloads.append(_encoded(type="content_block_start", index=index, content_block=start))
        payloads += [_encoded(type="content_block_delta", index=index, delta=delta) for delta in deltas]
        if draw(st.booleans()):
            payloads.append(_encoded(type="ping"))
        payloads.append(_encoded(type="content_block_stop", index=index))
    end = {"stop_reason": draw(st.sampled_from(FINISHES)), "stop_sequence": None}
    payloads.append(_encoded(type="message_delta", delta=end, usage={"output_tokens": draw(counts)}))
    return [*payloads, _encoded(type="message_stop")]


def _merged(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return reasoning details with the parts of each block put together, as a client does that knows their form."""
    known: dict[int, dict[str, Any]] = {}
    for detail in details:
        block = known.setdefault(detail["index"], {**detail, "text": ""})
        block["text"] += detail.get("text", "")
        block |= {"signature": detail["signature"]} if "signature" in detail else {}
    return list(known.values())


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    for choice in answer["choices"]:
        details = choice["message"].get("reasoning_details")
        if details is not None:
            choice["message"]["reasoning_details"] = _merged(details)
    return answer


@settings(max_examples=1_200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_streams())
def test_folding_a_translated_stream_equals_translating_the_folded_stream(events: list[bytes]) -> None:
    stream = stream_of(stream_options={"include_usage": True})
    chunks = [chunk for event in events for chunk in payloads_in(stream.feed(event))]
    usage = stream.final_usage()
    assert usage is not None
    *last, done = payloads_in(stream.end(usage))
    assert done == b"[DONE]"
    folded_stream = fold_chunks([*chunks, *last])
    whole = chat_answer_from_message(msgspec.json.encode(fold_events(events)), request_of(), LABELS)
    assert _comparable(folded_stream) == _comparable(json.loads(whole.body))
    assert whole.usage == usage
    assert whole.flags == stream.flags


# --- anything that clients send --------------------------------------------------------------------------------------

URLS = ["https://x.test/a", f"data:image/png;base64,{PNG}", "data:image/png;base64,?", "file:///etc/passwd"]
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, words),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, st.sampled_from(URLS)),
    st.builds(lambda data: {"type": "file", "file": {"file_data": data}}, words),
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["text", "refusal", "input_audio", "file", "odd"])),
)
contents = st.none() | words | st.lists(parts, max_size=3)
call_ids = st.sampled_from(["a", "b", "c.d"])
tool_calls = st.builds(
    lambda call_id, arguments: {"id": call_id, "function": {"name": "f", "arguments": arguments}},
    call_ids,
    objects.map(json.dumps) | words,
)
details = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["reasoning.text", "reasoning.encrypted", "odd"]),
        "text": json_values,
        "signature": words,
        "data": json_values,
        "index": st.integers(0, 2),
        "format": st.sampled_from([None, "anthropic-claude-v1", "odd"]),
    },
)
messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer", "odd"]), "content": contents}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": contents},
        optional={"tool_calls": st.lists(tool_calls, max_size=2), "reasoning_details": st.lists(details, max_size=3)},
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": call_ids, "content": contents}),
)
requests = st.fixed_dictionaries(
    {"messages": st.lists(messages, max_size=6).map(lambda drawn: [HELLO, *drawn])},
    optional={
        "tools": st.just([WEATHER]),
        "tool_choice": st.sampled_from(["auto", "none", "required", "odd"]),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "low", "high"]),
        "thinking": st.dictionaries(st.sampled_from(["type", "budget_tokens"]), json_values),
        "max_tokens": st.integers(1, 50_000),
        "temperature": st.floats(0, 2),
        "response_format": st.just({"type": "json_object"}) | objects,
        "stop": st.lists(words, max_size=2),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests, st.sampled_from(["any-model", "claude-sonnet-4-5", "claude-opus-5"]))
def test_a_request_becomes_a_body_that_the_api_takes_or_is_refused(fields: dict[str, Any], model: str) -> None:
    with contextlib.suppress(RequestShapeError):
        body_of(target={"model": model}, **fields)


@st.composite
def _conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw a conversation that chat completions allow: every call has its result, in any order, with words between."""
    told: list[dict[str, Any]] = [HELLO]
    for turn in range(draw(st.integers(1, 4))):
        said: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | words)}
        if draw(st.booleans()):
            said["reasoning_details"] = draw(st.lists(details, max_size=3))
        ids = [f"call.{turn}.{number}" for number in range(draw(st.integers(0, 3)))]
        if ids:
            function = {"name": draw(st.sampled_from(["f", "g"])), "arguments": json.dumps(draw(objects))}
            said["tool_calls"] = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
        told.append(said)
        answers = [
            {"role": "tool", "tool_call_id": call_id, "content": draw(st.none() | words)}
            for call_id in draw(st.permutations(ids))
        ]
        for role in draw(st.lists(st.sampled_from(["user", "system"]), max_size=2)):
            answers.insert(draw(st.integers(0, len(answers))), {"role": role, "content": draw(words)})
        told += answers
    return told


settled = st.fixed_dictionaries(
    {"messages": _conversations()},
    optional={
        "tools": st.just([WEATHER]),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "low", "high"]),
        "max_tokens": st.integers(1, 50_000),
        "temperature": st.floats(0, 2),
    },
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(settled, st.booleans(), st.sampled_from(["any-model", "claude-sonnet-4-5", "claude-opus-5"]))
def test_a_sound_conversation_is_never_refused(fields: dict[str, Any], forced: bool, model: str) -> None:
    choice = {"tool_choice": "required"} if forced and "tools" in fields else {}
    body_of(target={"model": model}, **fields, **choice)


SHAPED = [
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "response_format",
    "thinking",
    "user",
    "stop",
    "messages",
]
nested = st.recursive(
    json_values,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "function", "name", "role", "content", "json_schema", "schema"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(SHAPED), nested, min_size=1, max_size=2))
def test_fields_of_any_shape_are_taken_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(RequestShapeError):
        body_of(**fields)


# --- anything that upstreams send ------------------------------------------------------------------------------------

odd_events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
        )
    },
    optional={
        "index": st.sampled_from([0, 0, 0, 1, "x", None]),
        "message": st.sampled_from([{}, {"content": []}, {"content": [], "usage": {"input_tokens": "x"}}, None, 5]),
        "content_block": blocks.map(lambda block: block[0]) | objects,
        "delta": blocks.flatmap(lambda block: st.sampled_from([*block[1], {}])) | objects,
        "usage": objects,
    },
).map(msgspec.json.encode)


@settings(max_examples=500, deadline=None)
@given(st.lists(odd_events | st.binary(max_size=20), max_size=8))
def test_a_stream_of_anything_gives_chunks_or_a_failure(payloads: list[bytes]) -> None:
    stream = stream_of()
    with contextlib.suppress(UpstreamFailure):
        for payload in [b'{"type":"message_start","message":{}}', *payloads]:
            for chunk in payloads_in(stream.feed(payload)):
                assert json.loads(chunk)["model"] == "public"
    stream.end(stream.final_usage() or stream.estimated_usage())


@settings(max_examples=500, deadline=None)
@given(st.lists(blocks.map(lambda block: block[0]) | objects, max_size=3), objects)
def test_a_whole_answer_of_anything_is_a_completion_or_a_failure(content: list[Any], more: dict[str, Any]) -> None:
    body = msgspec.json.encode({**more, "content": content})
    with contextlib.suppress(UpstreamFailure):
        answer = chat_answer_from_message(body, request_of(), LABELS)
        assert json.loads(answer.body)["model"] == "public"
