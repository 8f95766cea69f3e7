"""PostgreSQL or Valkey away: what the gateway says meanwhile, and that it recovers by itself."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation
from tests.flows.relay import Mode, Relay
from tests.flows.streaming import open_stream
from tests.flows.wire import HELLO, Answer, assert_is_error, encode_request, exchange, post

#: Seconds within which an outage is told, and within which the gateway is well again.
TOLD, RECOVERED = 5.0, 10.0
FREE = {**HELLO, "model": "sandbox/echo"}


@dataclass(frozen=True, slots=True)
class Fragile:
    """A gateway whose services can be taken away."""

    gateway: Gateway
    postgres: Relay
    valkey: Relay


@pytest.fixture(scope="module")
def fragile(installation: Installation) -> Iterator[Fragile]:
    """A gateway of its own behind relays."""
    postgres, valkey = Relay(installation.database_address), Relay(installation.redis_address)
    gateway = installation.start_gateway(
        name="fragile",
        DATABASE_URL=installation.database_url(port=postgres.port),
        REDIS_URL=installation.redis_url(port=valkey.port),
    )
    yield Fragile(gateway, postgres, valkey)
    gateway.stop()
    postgres.close()
    valkey.close()


@pytest.fixture(autouse=True)
def services_return(fragile: Fragile) -> Iterator[None]:
    """Whatever a test took away comes back."""
    yield
    for relay in (fragile.postgres, fragile.valkey):
        if relay.mode is not Mode.OPEN:
            relay.set_mode(Mode.OPEN)


def _post_until_served(gateway: Gateway, key: str) -> Answer:
    deadline = time.monotonic() + RECOVERED
    while True:
        answer = post(gateway.port, HELLO, key=key)
        if answer.status == 200 or time.monotonic() > deadline:
            return answer
        assert_is_error(answer, 503, "unavailable")
        time.sleep(0.1)


@pytest.mark.parametrize("mode", [Mode.CUT, Mode.MUTE])
@pytest.mark.parametrize("is_known", [True, False], ids=["a cached key", "a key never seen"])
def test_without_postgresql_the_answer_is_503_and_never_401_and_it_recovers_by_itself(
    fragile: Fragile, installation: Installation, books: Books, mode: Mode, is_known: bool
) -> None:
    tenant = installation.new_tenant()
    port = fragile.gateway.port
    served = 0
    if is_known:
        assert post(port, HELLO, key=tenant.key).status == 200
        served = 1
    fragile.postgres.set_mode(mode)
    for _ in range(2):
        began = time.monotonic()
        answer = post(port, HELLO, key=tenant.key)
        assert time.monotonic() - began < TOLD
        assert_is_error(answer, 503, "unavailable", secret=tenant.key)
        assert int(answer.headers["retry-after"]) <= 10
    assert exchange(port, encode_request(path="/readyz", method="GET")).status == 503
    assert exchange(port, encode_request(path="/healthz", method="GET")).status == 200
    fragile.postgres.set_mode(Mode.OPEN)
    assert _post_until_served(fragile.gateway, tenant.key).status == 200
    events = books.wait_for_events(tenant, served + 1)
    assert all(event["charge"] > 0 for event in events)


def test_a_revocation_during_an_outage_of_the_notifications_still_counts(
    fragile: Fragile, installation: Installation
) -> None:
    tenant = installation.new_tenant()
    assert post(fragile.gateway.port, HELLO, key=tenant.key).status == 200
    fragile.postgres.set_mode(Mode.CUT)
    installation.manage("apikey", "revoke", tenant.key[:11])
    fragile.postgres.set_mode(Mode.OPEN)
    deadline = time.monotonic() + RECOVERED
    while (answer := post(fragile.gateway.port, HELLO, key=tenant.key)).status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert_is_error(answer, 401, "revoked_api_key", secret=tenant.key)


def test_a_settlement_waits_for_postgresql_and_the_answer_waits_for_the_settlement(
    fragile: Fragile, installation: Installation, books: Books
) -> None:
    tenant = installation.new_tenant()
    body = {**HELLO, "model": "sandbox/slow"}
    with open_stream(fragile.gateway.port, tenant.key, body) as stream:
        stream.read_some()
        fragile.postgres.set_mode(Mode.CUT)
        time.sleep(1.0)
        fragile.postgres.set_mode(Mode.OPEN)
        text = stream.read_all()
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] > 0
    assert "data: [DONE]" in text or '"error"' in text


@pytest.mark.parametrize("mode", [Mode.CUT, Mode.MUTE])
def test_without_valkey_money_and_quotas_do_not_notice(
    fragile: Fragile, installation: Installation, books: Books, mode: Mode
) -> None:
    tenant = installation.new_tenant(rpm=None)
    installation.manage("workspace", "limits", tenant.slug, "--daily", "2")
    before = books.posted(tenant)
    fragile.valkey.set_mode(mode)
    for _ in range(3):
        began = time.monotonic()
        answer = post(fragile.gateway.port, HELLO, key=tenant.key)
        assert time.monotonic() - began < 2
        assert answer.status == 200, answer.body
    statuses = [post(fragile.gateway.port, FREE, key=tenant.key).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    events = books.wait_for_events(tenant, 5)
    assert before - books.posted(tenant) == sum(event["charge"] for event in events) > 0


def test_without_valkey_the_limit_a_minute_is_kept_by_the_process_itself(
    fragile: Fragile, installation: Installation
) -> None:
    tenant = installation.new_tenant(rpm=2)
    fragile.valkey.set_mode(Mode.CUT)
    statuses = [post(fragile.gateway.port, HELLO, key=tenant.key).status for _ in range(6)]
    # A minute may turn once in between, never twice.
    assert statuses.count(429) >= 2
    assert set(statuses) == {200, 429}
