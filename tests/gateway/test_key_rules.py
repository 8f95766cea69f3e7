"""What a key may do, over HTTP on two gateways at once: each refusal with its own code, at the first request after the change."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pytest_django import Settings

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import ApiKey, Membership, User
from accounts.services.apikeys import (
    NewApiKey,
    create_api_key,
    disable_api_key,
    enable_api_key,
    revoke_api_key,
    update_api_key,
)
from accounts.services.member_budgets import set_member_budget
from accounts.services.rotation import end_old_secret, rotate_api_key
from billing.models import BudgetUse, DailyQuota, Hold
from billing.selectors.ledger import balance_of
from billing.services.tiers import set_limits
from gateway.models import UsageEvent
from gateway.selectors.charge_audit import audit_charges
from lumyx.lib import clock
from lumyx.process import Process
from tests.dashboard.pages import fill_catalog
from tests.factories import fund, make_workspace
from tests.gateway.asgi import Client
from tests.gateway.processes import running_process
from tests.gateway.test_store import eventually, in_thread

pytestmark = pytest.mark.django_db(transaction=True)

MODEL, OTHER, FREE = "sandbox/paid", "lumyx-plus_v1", "sandbox/echo"
CENT = 10_000_000
#: A model that no sandbox serves. Nobody asks it here.
REAL_MODEL = """
[[upstreams]]
name = "real"
provider = "openai"
protocol = "openai_chat"
base_url = "https://upstream.example/v1"
credential = "none"
[[models]]
id = "real/model"
display_name = "Real"
description = "Real"
context_window = 1000
max_output_tokens = 100
[models.price]
input = "1"
output = "1"
[[models.routes]]
upstream = "real"
model = "x"
"""


@pytest.fixture
def key() -> NewApiKey:
    """A key that the owner of a workspace with ten dollars made."""
    fill_catalog(REAL_MODEL)
    workspace = make_workspace("Lab")
    fund(workspace, "10")
    return create_api_key(workspace=workspace, name="k", created_by=workspace.owner)


@pytest.fixture
async def processes(key: NewApiKey) -> AsyncIterator[list[Process]]:
    """Two gateways as two processes have them."""
    async with running_process() as first, running_process() as second:
        yield [first, second]


async def call(
    process: Process,
    secret: str,
    *,
    model: str = MODEL,
    peer: str = "",
    path: str = "/api/v1/chat/completions",
    **fields: Any,
) -> Client:
    """Send a chat request, with room for ten tokens unless ``max_tokens`` says otherwise."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, **fields}
    if body["max_tokens"] is None:
        del body["max_tokens"]
    data = json.dumps(body).encode()
    client = Client(path=path, headers=[("x-api-key", secret), ("content-length", str(len(data)))], parts=[data])
    client.scope["client"] = (peer, 1234) if peer else None
    client.scope["query_string"] = b"protocol=chat" if path.endswith("/quote") else b""
    async with asyncio.timeout(20):
        return await client.run(process.gateway_app)


async def look(process: Process, secret: str, path: str = "/api/v1/key", **headers: str) -> Client:
    """Ask with GET."""
    client = Client(
        method="GET", path=path, headers=[("authorization", f"Bearer {secret}"), *headers.items()], parts=[b""]
    )
    return await client.run(process.gateway_app)


def outcome(client: Client) -> tuple[int, str]:
    """Return status and code."""
    return client.status, client.json()["error"]["code"] if client.status != 200 else ""


def change(key: NewApiKey, **options: Any) -> None:
    """Set options of a key, and leave none of the others."""
    defaults: dict[str, Any] = {
        "name": "k",
        "expires_at": None,
        "allowed_models": [],
        "allowed_addresses": [],
        "requests_per_minute": 0,
        "budget": None,
    }
    update_api_key(workspace_id=key.row.workspace_id, prefix=key.row.prefix, **defaults | options)


def of(key: NewApiKey) -> dict[str, Any]:
    return {"workspace_id": key.row.workspace_id, "prefix": key.row.prefix}


def demote(key: NewApiKey) -> None:
    Membership.objects.filter(workspace_id=key.row.workspace_id).update(role="viewer")


def remove(key: NewApiKey) -> None:
    Membership.objects.filter(workspace_id=key.row.workspace_id).delete()


def shut_out(key: NewApiKey) -> None:
    User.objects.filter(pk=key.row.created_by_id or 0).update(is_active=False)


REFUSALS: list[tuple[Callable[[NewApiKey], object], int, str]] = [
    (lambda key: disable_api_key(**of(key)), 401, "disabled_api_key"),
    (lambda key: revoke_api_key(**of(key)), 401, "revoked_api_key"),
    (lambda key: ApiKey.objects.update(expires_at=clock.now()), 401, "expired_api_key"),
    (lambda key: rotate_api_key(**of(key), overlap=dt.timedelta()), 401, "rotated_api_key"),
    (demote, 403, "key_maker_lost_access"),
    (remove, 403, "key_maker_lost_access"),
    (shut_out, 403, "key_maker_lost_access"),
    (lambda key: change(key, allowed_models=[OTHER, "openai/*"]), 403, "model_not_allowed"),
    (lambda key: change(key, allowed_addresses=["10.0.0.0/8"]), 403, "ip_not_allowed"),
    (lambda key: change(key, budget=Budget(1, BudgetPeriod.DAY)), 403, "key_budget_exceeded"),
    (
        lambda key: set_member_budget(
            workspace_id=key.row.workspace_id, user_id=key.row.created_by_id or 0, budget=Budget(1, BudgetPeriod.WEEK)
        ),
        403,
        "member_budget_exceeded",
    ),
]


@pytest.mark.parametrize(
    ("act", "status", "code"), REFUSALS, ids=[f"{code}-{n}" for n, (_, _, code) in enumerate(REFUSALS)]
)
async def test_a_change_acts_at_the_very_next_admission_and_within_a_second_everywhere(
    processes: list[Process], key: NewApiKey, act: Callable[[NewApiKey], object], status: int, code: str
) -> None:
    deaf, hearing = processes
    assert [outcome(await call(one, key.secret)) for one in processes] == [(200, ""), (200, "")]
    store = deaf.gateway_app.gateway.store  # type: ignore[union-attr]
    store._changed = lambda topic: None  # type: ignore[method-assign]  # no notice reaches it: only admission can tell
    await in_thread(lambda: act(key))
    assert outcome(await call(deaf, key.secret)) == (status, code)
    async with asyncio.timeout(1.0):
        while outcome(await call(hearing, key.secret)) != (status, code):
            await asyncio.sleep(0.01)
    refused = await call(deaf, key.secret)
    assert refused.headers.get("x-should-retry") == "false" or code == "model_not_allowed"
    assert key.secret not in refused.body.decode()


async def test_what_is_allowed_again_works_at_once(processes: list[Process], key: NewApiKey) -> None:
    await in_thread(lambda: disable_api_key(**of(key)))
    assert outcome(await call(processes[0], key.secret)) == (401, "disabled_api_key")
    await in_thread(lambda: enable_api_key(**of(key)))
    async with asyncio.timeout(1.0):
        while outcome(await call(processes[0], key.secret)) != (200, ""):
            await asyncio.sleep(0.01)


async def test_after_a_rotation_both_secrets_are_the_same_key_until_the_old_one_ends(
    processes: list[Process], key: NewApiKey
) -> None:
    budget = Budget(100 * CENT, BudgetPeriod.TOTAL)
    await in_thread(lambda: change(key, budget=budget))
    made = await in_thread(lambda: rotate_api_key(**of(key), overlap=dt.timedelta(minutes=30)))
    for secret in (key.secret, made.secret):
        assert outcome(await call(processes[0], secret)) == (200, "")
    events = await in_thread(lambda: list(UsageEvent.objects.values_list("api_key_id", flat=True)))
    assert events == [key.row.pk] * 2
    use = await in_thread(lambda: BudgetUse.objects.get())
    assert use.spent > 0
    old = (await look(processes[0], key.secret)).json()["data"]
    new = (await look(processes[0], made.secret)).json()["data"]
    assert old["secret_ends_at"] is not None
    assert new["secret_ends_at"] is None
    assert (old["prefix"], old["budget"]) == (new["prefix"], new["budget"])
    await in_thread(lambda: end_old_secret(workspace_id=key.row.workspace_id, prefix=made.row.prefix))
    assert outcome(await call(processes[1], key.secret)) == (401, "rotated_api_key")
    assert outcome(await call(processes[1], made.secret)) == (200, "")


async def test_the_old_secret_ends_by_the_clock_alone(
    processes: list[Process], key: NewApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_thread(lambda: rotate_api_key(**of(key), overlap=dt.timedelta(minutes=30)))
    assert outcome(await call(processes[0], key.secret)) == (200, "")
    later = clock.now() + dt.timedelta(minutes=30)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert outcome(await call(processes[0], key.secret)) == (401, "rotated_api_key")


async def test_a_provider_and_exact_ids_are_allowed_together(processes: list[Process], key: NewApiKey) -> None:
    await in_thread(lambda: change(key, allowed_models=["sandbox/*", OTHER]))
    assert outcome(await call(processes[0], key.secret)) == (200, "")
    listed = (await look(processes[0], key.secret, "/api/v1/models")).json()["data"]
    ids = {model["id"] for model in listed}
    assert OTHER in ids
    assert "embedding-model-id" not in ids
    assert all(id == OTHER or id.startswith("sandbox/") for id in ids)


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "seen"),
    [
        (0, "10.1.2.3", None, ""),
        (0, "192.0.2.1", "10.1.2.3", "192.0.2.1"),  # nobody is believed
        (0, "::ffff:10.1.2.3", None, ""),
        (1, "192.0.2.1", "10.1.2.3", ""),
        (1, "192.0.2.1", "10.1.2.3, 198.51.100.9", "198.51.100.9"),  # what a client wrote itself is not the last
        (2, "192.0.2.1", "10.1.2.3, 198.51.100.9", ""),
        (2, "192.0.2.1", "10.1.2.3", "an address that cannot be told"),
        (1, "10.1.2.3", None, "an address that cannot be told"),
        (1, "192.0.2.1", "2001:db8::5", ""),
        (1, "192.0.2.1", "[2001:db8::5]:443", ""),
        (1, "192.0.2.1", "10.1.2.3:5555", ""),
        (1, "192.0.2.1", "nonsense", "an address that cannot be told"),
        (0, "", None, "an address that cannot be told"),
    ],
)
async def test_an_address_is_believed_as_far_as_our_proxies_wrote_it(
    processes: list[Process], key: NewApiKey, proxies: int, peer: str, forwarded: str | None, seen: str
) -> None:
    process = processes[0]
    gateway = process.gateway_app.gateway
    assert gateway is not None
    gateway.limits = type(gateway.limits)(
        **{name: getattr(gateway.limits, name) for name in gateway.limits.__dataclass_fields__}
        | {"trusted_proxies": proxies}
    )
    await in_thread(lambda: change(key, allowed_addresses=["10.0.0.0/8", "2001:db8::/32"]))
    client = Client(
        method="GET",
        path="/api/v1/key",
        headers=[("x-api-key", key.secret), *([("x-forwarded-for", forwarded)] if forwarded else [])],
    )
    client.scope["client"] = (peer, 1) if peer else None
    await client.run(process.gateway_app)
    if seen:
        assert outcome(client) == (403, "ip_not_allowed")
        assert f"may not be used from {seen}." in client.json()["error"]["message"]
    else:
        assert client.status == 200


async def test_a_pace_of_its_own_stops_the_key_and_not_the_workspace(processes: list[Process], key: NewApiKey) -> None:
    workspace = key.row.workspace
    other = await in_thread(lambda: create_api_key(workspace=workspace, name="other", created_by=workspace.owner))
    await in_thread(lambda: change(key, requests_per_minute=2))
    if clock.now().second > 50:  # a new minute would begin between them
        await asyncio.sleep(61 - clock.now().second)
    answers = [await call(processes[n % 2], key.secret) for n in range(4)]
    assert [outcome(answer) for answer in answers] == [(200, "")] * 2 + [(429, "key_rate_limit_exceeded")] * 2
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert 0 < int(answers[3].headers["retry-after"]) <= 60
    later = await call(processes[0], other.secret)
    # Two of the key's, and this one: what the key's own pace refused used nothing of the workspace's.
    assert (later.status, later.headers["x-ratelimit-remaining-requests"]) == (200, "57")


async def test_a_budget_lowers_the_ceiling_and_names_what_fits(processes: list[Process], key: NewApiKey) -> None:
    await in_thread(lambda: change(key, budget=Budget(CENT // 10, BudgetPeriod.MONTH)))
    lowered = await call(processes[0], key.secret, max_tokens=None)
    assert lowered.status == 200
    ceiling = int(lowered.headers["x-lumyx-max-tokens"])
    refused = await call(processes[0], key.secret, max_tokens=ceiling + 500)
    assert outcome(refused) == (403, "key_budget_exceeded")
    message = refused.json()["error"]["message"]
    resets = (clock.now().replace(day=1) + dt.timedelta(days=32)).strftime("%Y-%m-01T00:00:00Z")
    for words in ("The budget of this API key is $0.001 a month", "max_tokens up to ", resets, "/dashboard/api-keys"):
        assert words in message
    assert refused.json()["error"]["type"] == "authorization_error"
    quote = await call(processes[0], key.secret, path="/api/v1/quote", max_tokens=ceiling + 500)
    assert (quote.json()["affordable"], quote.json()["refusal"]) == (False, "key_budget_exceeded")
    assert f"max_tokens up to {quote.json()['affordable_max_tokens']} fits" in message


async def test_200_requests_at_once_on_two_gateways_never_exceed_a_budget_of_a_cent(
    processes: list[Process], key: NewApiKey
) -> None:
    await in_thread(lambda: set_limits(key.row.workspace_id, requests_per_minute=0))
    await in_thread(lambda: change(key, budget=Budget(CENT, BudgetPeriod.DAY)))
    answers = await asyncio.gather(
        *[call(processes[n % 2], key.secret, max_tokens=400, model=MODEL) for n in range(200)]
    )
    codes = {outcome(answer) for answer in answers}
    assert codes == {(200, ""), (403, "key_budget_exceeded")}
    use = await in_thread(lambda: BudgetUse.objects.get())
    assert use.held == 0
    assert 0 < use.spent <= CENT


async def test_a_test_key_reaches_the_sandbox_for_nothing_and_nothing_else(
    processes: list[Process], key: NewApiKey
) -> None:
    workspace = key.row.workspace
    test = await in_thread(
        lambda: create_api_key(workspace=workspace, name="t", created_by=workspace.owner, is_test=True)
    )
    assert test.secret.startswith("lx-test-")
    assert test.row.prefix == test.secret[:16]
    for model in (MODEL, FREE):
        answer = await call(processes[0], test.secret, model=model)
        assert answer.status == 200
        assert answer.headers["x-lumyx-charge"] == "0"
    assert outcome(await call(processes[0], test.secret, model="real/model")) == (404, "model_not_found")

    def books() -> tuple[Any, ...]:
        holds = list(Hold.objects.values_list("amount", "state", "actual", "quota_subject"))
        events = list(UsageEvent.objects.values_list("charge", "flags", "is_free", "absorbed"))
        audit = audit_charges(workspace.pk)
        return holds, events, DailyQuota.objects.count(), balance_of(workspace.pk).posted, audit.wrong, audit.unpriced

    holds, events, quotas, posted, wrong, unpriced = await in_thread(books)
    assert holds == [(0, "settled", 0, None)] * 2
    assert events == [(0, "test_key", True, 0)] * 2
    assert (quotas, posted, wrong, unpriced) == (0, 10 * 10**9, [], 0)
    assert (await look(processes[0], test.secret)).json()["data"]["is_test"] is True


async def test_a_live_key_pays_for_sandbox_models_as_before(processes: list[Process], key: NewApiKey) -> None:
    answer = await call(processes[0], key.secret)
    assert answer.headers["x-lumyx-charge"] != "0"


async def test_a_key_tells_about_itself_and_about_no_secret(processes: list[Process], key: NewApiKey) -> None:
    options = {"requests_per_minute": 9, "allowed_models": ["sandbox/*"], "allowed_addresses": ["0.0.0.0/0"]}
    expires_at = clock.now().replace(microsecond=0) + dt.timedelta(days=3)
    await in_thread(lambda: change(key, **options, expires_at=expires_at, budget=Budget(CENT, BudgetPeriod.TOTAL)))
    await call(processes[0], key.secret, peer="198.51.100.1")
    client = Client(method="GET", path="/api/v1/key", headers=[("x-api-key", key.secret)])
    client.scope["client"] = ("198.51.100.1", 1)
    await client.run(processes[0].gateway_app)
    told = client.json()["data"]
    assert told["name"] == "k"
    assert told["prefix"] == key.row.prefix
    assert told["expires_at"] == expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (told["requests_per_minute"], told["allowed_models"]) == (9, ["sandbox/*"])
    assert told["workspace"] == {
        "tier": "free",
        "requests_per_minute": 60,
        "free_requests_per_day": 25,
        "free_requests_left_today": 25,
    }
    budget = told["budget"]
    assert (budget["amount"], budget["period"], budget["resets_at"], budget["held"]) == ("0.01", "total", None, "0")
    assert int(budget["left_nano"]) == CENT - (await in_thread(lambda: BudgetUse.objects.get())).spent
    assert told["member_budget"] is None
    assert key.secret[11:] not in client.body.decode()


async def test_asking_about_nobody_is_refused(processes: list[Process]) -> None:
    client = await Client(method="GET", path="/api/v1/key").run(processes[0].gateway_app)
    assert outcome(client) == (401, "missing_api_key")
    assert outcome(await Client(path="/api/v1/key").run(processes[0].gateway_app)) == (405, "method_not_allowed")


async def test_with_redis_down_admission_still_knows_the_key(key: NewApiKey, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    process = Process()
    await process.open()
    try:
        store = process.gateway_app.gateway.store  # type: ignore[union-attr]
        await eventually(lambda: store._principals.lifetime > 10 and store._admissions._link.is_up, seconds=15)
        await eventually(lambda: store._snapshot is not None, seconds=15)
        assert outcome(await call(process, key.secret)) == (200, "")
        store._changed = lambda topic: None  # type: ignore[method-assign]
        await in_thread(lambda: demote(key))
        assert outcome(await call(process, key.secret)) == (403, "key_maker_lost_access")
    finally:
        await process.close()
