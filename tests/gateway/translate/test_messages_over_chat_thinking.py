"""Thinking of earlier turns on its way back to a chat upstream, in the form that it takes, or not at all."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from gateway.protocols.generation import Target
from gateway.protocols.wording import RequestShapeError
from gateway.translate.messages_over_chat import PAIR
from gateway.types import Profile
from tests.gateway.translate.chat_answers import messages_request

ROUTER = Profile(takes_reasoning_details=True)
BACK = Profile(takes_reasoning_back=True)
ASK = {"role": "user", "content": "Hi"}


def signed(details: Any = None) -> str:
    """Return a signature of ours, made by hand."""
    content = {} if details is None else {"details": details}
    return "lumyx.1." + urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


DETAILS = [{"type": "reasoning.text", "text": "Hm", "signature": "abc", "format": "anthropic-claude-v1", "index": 0}]
OURS = {"type": "thinking", "thinking": "Hm", "signature": signed(DETAILS)}
BARE = {"type": "thinking", "thinking": "So", "signature": signed()}
THEIRS = {"type": "thinking", "thinking": "Well", "signature": "EqQB"}
REDACTED = {"type": "redacted_thinking", "data": "Enc"}


def thought_back(*content: Any, profile: Profile) -> dict[str, Any]:
    """Return what an assistant's message with this thinking holds beside role and content."""
    answer = {"role": "assistant", "content": [*content, {"type": "text", "text": "Yes."}]}
    request = messages_request(messages=[ASK, answer, ASK])
    told: dict[str, Any] = json.loads(PAIR.body(request, Target("up", profile)))["messages"][1]
    assert (told.pop("role"), told.pop("content")) == ("assistant", "Yes.")
    return told


def test_thinking_goes_back_as_details_where_these_are_taken() -> None:
    assert thought_back(OURS, profile=ROUTER) == {"reasoning_details": DETAILS}
    assert thought_back(BARE, profile=ROUTER) == {}
    assert thought_back(BARE, OURS, profile=ROUTER) == {"reasoning_details": DETAILS}


def test_details_that_came_apart_are_put_together() -> None:
    first = {"type": "thinking", "thinking": "Hm", "signature": signed([{**DETAILS[0], "signature": None}])}
    second = {"type": "thinking", "thinking": "", "signature": signed([{**DETAILS[0], "text": ""}])}
    assert thought_back(first, second, profile=ROUTER) == {"reasoning_details": DETAILS}


def test_thinking_of_anthropics_models_goes_back_in_the_form_of_details() -> None:
    assert thought_back(THEIRS, REDACTED, profile=ROUTER) == {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Well", "signature": "EqQB", "format": "anthropic-claude-v1"},
            {"type": "reasoning.encrypted", "data": "Enc", "format": "anthropic-claude-v1"},
        ]
    }


def test_thinking_goes_back_as_text_where_that_is_taken() -> None:
    assert thought_back(OURS, BARE, REDACTED, profile=BACK) == {"reasoning_content": "HmSo"}
    assert thought_back(REDACTED, profile=BACK) == {}


def test_thinking_is_left_out_where_nobody_takes_it() -> None:
    assert thought_back(OURS, THEIRS, REDACTED, {"type": "thinking", "thinking": "x"}, profile=Profile()) == {}
    assert thought_back({"type": "thinking", "thinking": "x"}, profile=ROUTER) == {}


@pytest.mark.parametrize(
    "packed",
    [
        "!",
        "e30x",
        "A",
        "é",
        urlsafe_b64encode(b"[]").decode(),
        urlsafe_b64encode(b'{"details":5}').decode(),
        urlsafe_b64encode(b'{"details":[5]}').decode(),
        urlsafe_b64encode(b'{"details":["\\u0000"]}').decode(),
        urlsafe_b64encode(b"\xff").decode(),
        urlsafe_b64encode(b'{"details":' + b"[" * 2000 + b"]" * 2000 + b"}").decode(),
        "",
    ],
)
def test_a_signature_that_was_changed_is_refused(packed: str) -> None:
    block = {"type": "thinking", "thinking": "Hm", "signature": f"lumyx.1.{packed}"}
    at = "messages[1].content[0]"
    message = (
        f"{at}: the signature of this thinking block was changed. Send the block back as it came, or leave it out."
    )
    with pytest.raises(RequestShapeError) as caught:
        thought_back(block, profile=ROUTER)
    assert (caught.value.code, caught.value.message) == ("invalid_parameter", message)
    assert caught.value.param == f"{at}.signature"
    # Where nobody reads it, it does no harm.
    assert thought_back(block, profile=Profile()) == {}
