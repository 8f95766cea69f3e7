"""Errors of Messages upstreams: which failure they are, by status or by what they say of themselves."""

from typing import Any

import pytest

from gateway.protocols.anthropic_errors import failure_from_messages_error, messages_error_event
from gateway.protocols.failures import FailureKind


def error(kind: str, message: str = "x") -> dict[str, Any]:
    """Return an error's body."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.CLIENT_CONTENT),
        (401, FailureKind.AUTH),
        (402, FailureKind.AUTH),
        (403, FailureKind.AUTH),
        (404, FailureKind.NOT_FOUND),
        (408, FailureKind.TIMEOUT),
        (413, FailureKind.CLIENT_CONTENT),
        (418, FailureKind.INVALID),
        (422, FailureKind.CLIENT_CONTENT),
        (429, FailureKind.RATE_LIMITED),
        (500, FailureKind.SERVER_ERROR),
        (503, FailureKind.SERVER_ERROR),
        (504, FailureKind.TIMEOUT),
        (529, FailureKind.RATE_LIMITED),
    ],
)
def test_a_status_decides(status: int, kind: FailureKind) -> None:
    failure = failure_from_messages_error(error("api_error"), status=status, retry_after=3.0)
    assert (failure.kind, failure.status, failure.retry_after) == (kind, status, 3.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("invalid_request_error", FailureKind.CLIENT_CONTENT),
        ("request_too_large", FailureKind.CLIENT_CONTENT),
        ("authentication_error", FailureKind.AUTH),
        ("permission_error", FailureKind.AUTH),
        ("billing_error", FailureKind.AUTH),
        ("not_found_error", FailureKind.NOT_FOUND),
        ("rate_limit_error", FailureKind.RATE_LIMITED),
        ("overloaded_error", FailureKind.RATE_LIMITED),
        ("timeout_error", FailureKind.TIMEOUT),
        ("api_error", FailureKind.SERVER_ERROR),
        ("novel_error", FailureKind.SERVER_ERROR),
    ],
)
def test_without_a_status_an_error_says_itself_what_it_is(name: str, kind: FailureKind) -> None:
    for told in (error(name), error(name)["error"]):
        failure = failure_from_messages_error(told, produced=True)
        assert (failure.kind, failure.produced, failure.detail) == (kind, True, f"{name}: x")


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    ],
)
def test_what_is_too_long_is_known_as_such(message: str) -> None:
    for status in (400, 413, None):
        failure = failure_from_messages_error(error("invalid_request_error", message), status=status)
        assert (failure.kind, failure.code) == (FailureKind.CLIENT_CONTENT, "context_length_exceeded")
    assert failure_from_messages_error(error("api_error", message)).kind is FailureKind.CLIENT_CONTENT
    assert failure_from_messages_error(error("rate_limit_error", message), status=429).code == ""


def test_an_account_without_money_is_ours_and_not_the_clients() -> None:
    message = "Your credit balance is too low to access the Anthropic API."
    failure = failure_from_messages_error(error("invalid_request_error", message), status=400)
    assert (failure.kind, failure.may_retry) == (FailureKind.AUTH, True)


@pytest.mark.parametrize(
    "odd", ["<html>Bad gateway</html>", None, [1], {"error": "boom"}, {"error": {"type": 5}}, {}, 5]
)
def test_any_body_is_a_failure(odd: Any) -> None:
    assert failure_from_messages_error(odd, status=502).kind is FailureKind.SERVER_ERROR
    assert failure_from_messages_error(odd).kind is FailureKind.SERVER_ERROR


def test_an_error_of_an_upstream_is_one_line_of_the_log() -> None:
    assert failure_from_messages_error(error("x", "a\r\nERROR forged\x1b[2J")).detail.isprintable()


def test_an_error_event_is_one_event_with_its_name() -> None:
    assert messages_error_event(b'{"type":"error"}') == b'event: error\ndata: {"type":"error"}\n\n'
