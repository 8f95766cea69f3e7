"""The fold law: folding a translated stream equals translating the folded one. And no stream breaks the grammar."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating import TokenUsage
from gateway.protocols.anthropic_fold import fold_events
from gateway.protocols.failures import UpstreamFailure
from gateway.protocols.openai_fold import fold_chunks
from gateway.protocols.sse import SseParser
from gateway.translate.messages_over_chat import PAIR, MessagesOverChat
from gateway.translate.messages_over_chat.chunks import CallFunction, CallPart, Choice, Chunk, Delta
from tests.gateway.protocols.grammar import check_messages_stream
from tests.gateway.translate.chat_answers import HEAD, LABELS, messages_request

REQUEST = messages_request(stream=True, stop_sequences=["END"])
WORDS = st.text(alphabet='ab é"\\\n\u2028\U0001f600{}[]:,', max_size=8)
PIECES = st.lists(WORDS, max_size=4)
INPUTS = st.dictionaries(WORDS, st.one_of(st.integers(), WORDS, st.lists(st.none(), max_size=2)), max_size=3)
DETAILS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("reasoning.text"), "index": st.integers(0, 1)},
            optional={"text": WORDS, "signature": st.sampled_from([None, "s"]), "format": st.just("f")},
        ),
        st.fixed_dictionaries({"type": st.just("reasoning.summary"), "index": st.just(0), "summary": WORDS}),
        st.fixed_dictionaries({"type": st.just("reasoning.encrypted"), "data": WORDS, "index": st.integers(0, 2)}),
    ),
    max_size=4,
)
#: How an answer ends: finish reason, and what else its choice says.
ENDS = st.sampled_from(
    [("stop", {}), ("length", {}), ("tool_calls", {}), ("content_filter", {}), ("stop", {"stop_reason": "END"})]
)
COUNTS = st.integers(0, 1000)


def _cut(draw: Any, text: str) -> list[str]:
    """Return a text in up to four pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def calls(draw: Any) -> list[dict[str, Any]]:
    """Return the deltas of up to four calls: they begin in order, and their pieces come by turns."""
    queues = []
    for index in range(draw(st.integers(0, 4))):
        arguments = json.dumps(draw(INPUTS)) if draw(st.booleans()) else draw(st.sampled_from(["", "{}"]))
        first: dict[str, Any] = {"index": index, "function": {"name": f"f{index}"}}
        if draw(st.booleans()):
            first["id"] = f"call_{index}"
        pieces = _cut(draw, arguments)
        if draw(st.booleans()):
            first["function"]["arguments"] = pieces.pop(0)
        queues.append([first, *({"index": index, "function": {"arguments": piece}} for piece in pieces)])
    parts = []
    opened = 0
    while any(queues):
        may = [index for index, queue in enumerate(queues) if queue and index <= opened]
        index = draw(st.sampled_from(may))
        opened = max(opened, index + 1)
        parts.append(queues[index].pop(0))
    deltas = []
    while parts:
        count = draw(st.integers(1, 2))
        deltas.append({"tool_calls": parts[:count]})
        parts = parts[count:]
    return deltas


@st.composite
def ordered_deltas(draw: Any) -> list[dict[str, Any]]:
    """Return deltas in the order that a whole answer has: reasoning, its details, text, refusal, calls."""
    field = draw(st.sampled_from(["reasoning_content", "reasoning"]))
    deltas: list[dict[str, Any]] = [{field: piece} for piece in draw(PIECES)]
    if draw(st.booleans()) and any(delta[field] for delta in deltas):
        deltas += [{"reasoning_details": [detail]} for detail in draw(DETAILS)]
        deltas = [delta if field in delta else {**delta, field: "x"} for delta in deltas]
    deltas += [{"content": piece} for piece in draw(PIECES)]
    deltas += [{"refusal": piece} for piece in draw(st.one_of(st.just([]), PIECES))]
    return [*deltas, *draw(calls())]


@st.composite
def streams(draw: Any, deltas: Any) -> list[bytes]:
    """Return the payloads of a stream with these deltas."""
    chosen = draw(deltas)
    reason, more = draw(ENDS)
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in chosen]
    if choices and draw(st.booleans()):
        choices[-1] |= {"finish_reason": reason, **more}
    else:
        choices.append({"index": 0, "delta": {}, "finish_reason": reason, **more})
    chunks = [{**HEAD, "choices": [choice]} for choice in choices]
    if draw(st.booleans()):
        chunks.insert(0, {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    if draw(st.booleans()):
        prompt, completion = draw(COUNTS), draw(COUNTS)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        chunks.append({**HEAD, "choices": [], "usage": usage})
    return [json.dumps(chunk, ensure_ascii=draw(st.booleans())).encode() for chunk in chunks]


def translated(payloads: list[bytes]) -> tuple[bytes, MessagesOverChat]:
    """Return the translated stream, whose end tells the usage that was reported, or our own count."""
    stream = MessagesOverChat(REQUEST, LABELS)
    raw = b"".join([stream.feed(payload) for payload in payloads])
    return raw + stream.end(stream.final_usage() or stream.estimated_usage()), stream


def folded(raw: bytes) -> dict[str, Any]:
    """Return the message that a stream amounts to; its grammar is checked."""
    check_messages_stream(raw)
    return fold_events(SseParser().feed(raw))


def whole_of(payloads: list[bytes]) -> dict[str, Any]:
    """Return the message that is made of the folded chunks."""
    answer = PAIR.whole(msgspec.json.encode(fold_chunks(payloads)), REQUEST, LABELS)
    decoded: dict[str, Any] = json.loads(answer.body)
    return decoded


@settings(max_examples=1000, deadline=None)
@given(streams(ordered_deltas()))
def test_folding_a_translated_stream_equals_translating_the_folded_stream(payloads: list[bytes]) -> None:
    raw, stream = translated(payloads)
    assert folded(raw) == whole_of(payloads)
    answer = PAIR.whole(msgspec.json.encode(fold_chunks(payloads)), REQUEST, LABELS)
    assert (stream.final_usage(), stream.flags) == (answer.usage, answer.flags)
    assert stream.estimated_usage() == answer.estimated_usage()
    assert stream.finished


def in_one_order(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose texts are joined and stand in the order of a whole answer, as a fold of chunks loses any other."""
    content = message["content"]
    joined = {
        kind: "".join([block[kind] for block in content if block["type"] == kind]) for kind in ("thinking", "text")
    }
    uses = sorted((block["name"], block["input"]) for block in content if block["type"] == "tool_use")
    return {**message, "content": [*joined.items(), uses]}


@st.composite
def mixed_deltas(draw: Any) -> list[dict[str, Any]]:
    """Return deltas of all kinds in any order; each call's own stay in theirs."""
    texts = draw(st.lists(st.sampled_from(["reasoning_content", "content"]), max_size=6))
    mixed: list[dict[str, Any]] = [{kind: draw(WORDS)} for kind in texts]
    at = 0
    for delta in draw(calls()):
        at = draw(st.integers(at, len(mixed)))
        mixed.insert(at, delta)
        at += 1
    return mixed


@settings(max_examples=500, deadline=None)
@given(streams(mixed_deltas()))
def test_the_law_holds_for_streams_in_any_order_up_to_the_order(payloads: list[bytes]) -> None:
    raw, _ = translated(payloads)
    told, wanted = folded(raw), whole_of(payloads)
    uses = [[block for block in message["content"] if block["type"] == "tool_use"] for message in (told, wanted)]
    assert uses[0] == uses[1]
    assert in_one_order(told) == in_one_order(wanted)


#: All names that mean something in an answer, so that nonsense is found where it is looked for.
NAMES = sorted({name for shape in (Chunk, Choice, Delta, CallPart, CallFunction) for name in shape.__struct_fields__})
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*NAMES, "type"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NONSENSE = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.one_of(
            ANYTHING,
            st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "index": ANYTHING,
                        "delta": st.dictionaries(
                            st.sampled_from(["content", "reasoning", "reasoning_details", "tool_calls", "audio"]),
                            ANYTHING,
                            max_size=3,
                        ),
                        "finish_reason": ANYTHING,
                        "stop_reason": ANYTHING,
                    },
                ),
                max_size=2,
            ),
        ),
        "usage": ANYTHING,
        "error": st.one_of(st.none(), st.none(), ANYTHING),
    },
)


@settings(max_examples=500, deadline=None)
@given(st.lists(NONSENSE, max_size=4))
def test_nonsense_is_a_failure_or_a_stream_of_good_grammar(chunks: list[Any]) -> None:
    stream = MessagesOverChat(REQUEST, LABELS)
    raw, failure = b"", None
    try:
        for chunk in chunks:
            raw += stream.feed(msgspec.json.encode(chunk))
    except UpstreamFailure as caught:
        failure = caught
    if failure is not None:
        assert failure.produced == stream.started
    elif stream.finished:
        check_messages_stream(raw + stream.end(TokenUsage()))


@settings(max_examples=300, deadline=None)
@given(NONSENSE)
def test_a_whole_answer_of_nonsense_is_a_failure_or_a_message(answer: Any) -> None:
    try:
        told = PAIR.whole(msgspec.json.encode(answer), REQUEST, LABELS)
    except UpstreamFailure:
        return
    assert json.loads(told.body)["type"] == "message"
