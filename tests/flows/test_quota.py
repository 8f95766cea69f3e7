"""The daily quota under a hundred requests at once: exactly what is allowed, each remainder once, refusals free."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.wire import Answer, assert_is_error, post

FREE = {"model": "sandbox/echo", "messages": [{"role": "user", "content": "Hello"}]}
THREADS = 32


@pytest.fixture(autouse=True)
def away_from_midnight(installation: Installation) -> None:
    """A quota's day is the database's; a test that crosses midnight would count in two."""
    (row,) = installation.query(
        "SELECT now() AT TIME ZONE 'UTC' > (now() AT TIME ZONE 'UTC')::date + interval '23:59' AS late"
    )
    if row["late"]:
        installation.query("SELECT pg_sleep(61)")


def _ask_at_once(gateway: Gateway, keys: list[str]) -> list[Answer]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda key: post(gateway.port, FREE, key=key), keys))


def _split(answers: list[Answer]) -> tuple[list[Answer], list[Answer]]:
    served = [answer for answer in answers if answer.status == 200]
    return served, [answer for answer in answers if answer.status != 200]


def test_of_a_hundred_at_once_exactly_twenty_five_are_served(
    gateway: Gateway, books: Books, new_tenant: Callable[..., Tenant]
) -> None:
    tenant = new_tenant(credits_usd=None)
    served, refused = _split(_ask_at_once(gateway, [tenant.key] * 100))
    assert len(served) == 25
    remaining = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in served)
    assert remaining == list(range(25))
    for answer in served:
        assert answer.headers["x-ratelimit-limit-requests"] == "25"
    for answer in refused:
        message = assert_is_error(answer, 429, "daily_quota_exceeded", secret=tenant.key)
        assert "25" in message
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
    events = books.wait_for_events(tenant, 25)
    assert {event["charge"] for event in events} == {0}
    assert all(event["is_free"] for event in events)


def test_ten_workspaces_of_one_free_user_share_twenty_five(gateway: Gateway, new_tenant: Callable[..., Tenant]) -> None:
    tenants = [new_tenant(owner="many@example.com", credits_usd=None) for _ in range(10)]
    served, refused = _split(_ask_at_once(gateway, [tenant.key for tenant in tenants] * 10))
    assert len(served) == 25
    assert sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in served) == list(range(25))
    assert {answer.status for answer in refused} == {429}


def test_a_vip_workspace_has_a_quota_of_its_own(gateway: Gateway, new_tenant: Callable[..., Tenant]) -> None:
    free = new_tenant(owner="vip@example.com", credits_usd=None)
    vip = new_tenant(owner="vip@example.com", credits_usd=None, tier="vip1")
    served, _ = _split(_ask_at_once(gateway, [free.key] * 30))
    assert len(served) == 25
    answer = post(gateway.port, FREE, key=vip.key)
    assert answer.status == 200
    assert answer.headers["x-ratelimit-limit-requests"] == "100"
    assert answer.headers["x-ratelimit-remaining-requests"] == "99"


def test_requests_that_fail_do_not_use_the_quota_up(
    gateway: Gateway, new_tenant: Callable[..., Tenant], installation: Installation
) -> None:
    tenant = new_tenant(credits_usd=None)
    installation.manage("workspace", "limits", tenant.slug, "--daily", "1")
    for _ in range(3):
        assert post(gateway.port, {**FREE, "messages": "none"}, key=tenant.key).status == 400
    assert post(gateway.port, FREE, key=tenant.key).status == 200
    assert post(gateway.port, FREE, key=tenant.key).status == 429


def test_sixty_at_once_on_a_balance_for_seven_serve_exactly_seven(
    gateway: Gateway, books: Books, new_tenant: Callable[..., Tenant]
) -> None:
    # An explicit ceiling makes the hold exact: the balance is seven of them and a half. The slow model's answers overlap,
    # so nothing is given back before everybody has asked.
    probe = {"model": "sandbox/slow", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 1000}
    rich = new_tenant(credits_usd="1")
    hold = _hold_of(gateway, books, rich, probe)
    tenant = new_tenant(credits_usd=_usd(hold * 15 // 2))
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: post(gateway.port, probe, key=tenant.key), range(60)))
    served, refused_ones = _split(answers)
    events = books.wait_for_events(tenant, len(served))
    assert len(served) == 7
    for answer in refused_ones:
        assert_is_error(answer, 402, "insufficient_credits", secret=tenant.key)
    assert books.posted(tenant) == hold * 15 // 2 - sum(event["charge"] for event in events) >= 0


def _usd(nano: int) -> str:
    return f"{nano // 10**9}.{nano % 10**9:09d}"


def _hold_of(gateway: Gateway, books: Books, tenant: Tenant, body: dict[str, object]) -> int:
    """Return what a request sets aside, in nano-USD."""
    assert post(gateway.port, body, key=tenant.key).status == 200
    (row,) = books.installation.query(
        "SELECT hold.amount FROM billing_hold hold JOIN accounts_workspace workspace ON workspace.id = hold.wallet_id "
        "WHERE workspace.slug = %s",
        tenant.slug,
    )
    amount: int = row["amount"]
    return amount
