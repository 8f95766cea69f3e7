"""What goes wrong on the way: clients that leave, and a gateway that dies. No finished answer stays unbilled, no hold open."""

import json
import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.streaming import Stream, open_stream
from tests.flows.wire import HELLO, connect, encode_request, post

SLOW = {**HELLO, "model": "sandbox/slow", "messages": [{"role": "user", "content": "count from one to five"}]}
ANSWER_ID = re.compile(r'"id":\s*"chatcmpl-([0-9a-f-]+)"')


def test_a_client_that_leaves_in_mid_stream_pays_for_what_came_and_leaves_no_hold(
    gateway: Gateway, tenant: Tenant, books: Books
) -> None:
    before = books.posted(tenant)
    with open_stream(gateway.port, tenant.key, SLOW) as stream:
        stream.read_some()
    (event,) = books.wait_for_events(tenant, 1)
    assert event["status"] in {"client_closed", "ok"}
    assert event["charge"] > 0
    assert before - books.posted(tenant) == event["charge"]


def test_a_client_that_leaves_with_a_request_in_line_behind_pays_for_what_came(
    gateway: Gateway, tenant: Tenant, books: Books
) -> None:
    request = encode_request(key=tenant.key, body=json.dumps({**SLOW, "stream": True}).encode())
    with connect(gateway.port) as line:
        line.sendall(request.replace(b"Connection: close\r\n", b"") * 2)
        Stream(line).read_some()
    (event,) = books.wait_for_events(tenant, 1)
    assert event["status"] == "client_closed"
    assert event["charge"] > 0


def test_clients_that_leave_at_random_points_each_leave_one_usage_event(
    gateway: Gateway, tenant: Tenant, books: Books
) -> None:
    before = books.posted(tenant)
    chance = random.Random(7)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda seconds: _leave_after(gateway, tenant, seconds), [chance.uniform(0, 0.6) for _ in range(16)]
            )
        )
    admitted, seen = -1, len(books.events(tenant))
    while seen != admitted:  # until nothing is added any more
        time.sleep(1.5)
        admitted, seen = seen, len(books.events(tenant))
    # One that left before its body was read was never admitted; every other one is an event.
    assert 8 <= admitted <= 16
    events = books.wait_for_events(tenant, admitted)
    assert before - books.posted(tenant) == sum(event["charge"] for event in events)


def _leave_after(gateway: Gateway, tenant: Tenant, seconds: float) -> None:
    with connect(gateway.port) as line:
        line.sendall(encode_request(key=tenant.key, body=json.dumps({**SLOW, "stream": True}).encode()))
        time.sleep(seconds)


def test_a_gateway_that_is_killed_leaves_no_finished_answer_unbilled(
    installation: Installation, books: Books, new_tenant: Callable[..., Tenant]
) -> None:
    tenant = new_tenant()
    finished: set[str] = set()
    for round_number in range(2):
        doomed = installation.start_gateway(name=f"doomed-{round_number}")
        with ThreadPoolExecutor(12) as pool:
            streams = [pool.submit(_read_until_killed, doomed, tenant, number / 20) for number in range(12)]
            whole = [pool.submit(_ask_until_killed, doomed, tenant)]
            time.sleep(0.8)
            doomed.kill()
        for answer in (*streams, *whole):
            finished |= answer.result()
    assert finished, "no answer was finished before the kills: the test proves nothing"
    billed = {event["id"].hex for event in books.events(tenant) if event["charge"] > 0}
    assert finished <= billed
    status, audit = installation.try_manage("ledger", "audit")
    assert (status, audit) == (0, {"broken": []})
    _release_holds_of_the_dead(installation)
    assert books.held(tenant) == 0


def _read_until_killed(gateway: Gateway, tenant: Tenant, delay: float) -> set[str]:
    """Return the id of a stream's answer if it came to its end."""
    time.sleep(delay)
    try:
        with open_stream(gateway.port, tenant.key, {**HELLO, "messages": SLOW["messages"]}) as stream:
            return _finished_id(stream)
    except (OSError, AssertionError):
        return set()


def _finished_id(stream: Stream) -> set[str]:
    text = stream.read_all()
    found = ANSWER_ID.search(text)
    return {found[1].replace("-", "")} if found and "data: [DONE]" in text else set()


def _ask_until_killed(gateway: Gateway, tenant: Tenant) -> set[str]:
    finished: set[str] = set()
    try:
        while True:
            answer = post(gateway.port, HELLO, key=tenant.key)
            assert answer.status == 200
            finished.add(answer.json()["id"].removeprefix("chatcmpl-").replace("-", ""))
    except (OSError, AssertionError, json.JSONDecodeError):
        return finished


def _release_holds_of_the_dead(installation: Installation) -> None:
    """Let time pass for the holds that a killed process left, then start a gateway: it sweeps them at its start."""
    installation.query("UPDATE billing_hold SET expires_at = now() - interval '1 s' WHERE state = 'open' RETURNING id")
    successor = installation.start_gateway(name="successor")
    try:
        deadline = time.monotonic() + 15
        while installation.query("SELECT 1 AS one FROM billing_hold WHERE state = 'open' AND expires_at < now()"):
            assert time.monotonic() < deadline, "expired holds are still open"
            time.sleep(0.1)
    finally:
        successor.stop()


def test_sigterm_lets_a_stream_come_to_its_end(
    installation: Installation, books: Books, new_tenant: Callable[..., Tenant]
) -> None:
    tenant = new_tenant()
    leaving = installation.start_gateway(name="leaving")
    with open_stream(leaving.port, tenant.key, SLOW) as stream:
        stream.read_some()
        leaving.process.terminate()
        text = stream.read_all()
    assert "data: [DONE]" in text
    assert leaving.process.wait(20) is not None
    (event,) = books.wait_for_events(tenant, 1)
    assert event["status"] == "ok"
