"""Admission: holds that no answer can exceed, ceilings that are told, refusals in the contract's words."""

import asyncio
import datetime as dt
import uuid
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating import Rates, TokenUsage, charge_for
from billing.types import Admission, Admitted, Refusal
from gateway.errors import ApiError
from gateway.limits.minute import MinuteLimiter, Pace
from gateway.pipeline.admit import Budget, admit, format_duration
from gateway.pipeline.exchange import Exchange
from gateway.store import Store
from tests.gateway.asgi import Client
from tests.gateway.exchanges import PRINCIPAL, make_exchange, make_model

EVENING = dt.datetime(2026, 11, 22, 17, 48, 0, tzinfo=dt.UTC)


class Ledger:
    """Answers admissions as told, granting any hold up to ``available``."""

    def __init__(
        self, *, available: int = 10**12, refusal: Refusal | None = None, remaining: int | None = None
    ) -> None:
        self.available = available
        self.refusal = refusal
        self.remaining = remaining
        self.asked: list[Admission] = []
        self.taken_back: list[tuple[Admission, int]] = []

    def take_back(self, admission: Admission, admitted: Admitted, error: ApiError) -> None:
        self.taken_back.append((admission, error.status))

    async def admit(self, admission: Admission) -> Admitted:
        self.asked.append(admission)
        held = min(admission.amount, self.available)
        refusal = self.refusal
        if refusal is None and held < admission.floor:
            refusal = Refusal.INSUFFICIENT_CREDITS
        return Admitted(
            admission.request_id,
            refusal=refusal,
            held=0 if refusal else held,
            available=self.available,
            quota_remaining=self.remaining,
            at=EVENING,
        )


class Minute:
    """A pace limiter that gives one answer."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace(allowed=True, limit=60, remaining=59, reset=30)
        self.asked = 0

    has_room = False

    def ask(self, subject: str, *, limit: int) -> "Minute":
        self.asked += 1
        return self

    async def answer(self) -> Pace:
        return self.pace


async def _admit(exchange: Exchange, ledger: Ledger, minute: Minute | None = None) -> Exchange:
    exchange.admission = None
    await admit(exchange, store=cast(Store, ledger), minute=cast(MinuteLimiter, minute or Minute()), lease=45.0)
    return exchange


def headers(exchange_or_error: Any) -> dict[str, str]:
    """Return headers as text."""
    return {name.decode(): value.decode() for name, value in exchange_or_error.headers}


async def test_an_explicit_limit_is_held_in_full_and_sent_as_it_is() -> None:
    ledger = Ledger()
    exchange = await _admit(make_exchange(Client(), max_tokens=100), ledger)
    asked = ledger.asked[0]
    assert asked.amount == asked.floor == exchange.held
    assert asked.amount >= 100 * 1500
    assert exchange.max_tokens is None
    assert "x-lumyx-max-tokens" not in headers(exchange)


async def test_without_a_limit_the_ceiling_is_lowered_to_what_is_affordable_and_told() -> None:
    full = Ledger()
    await _admit(make_exchange(Client()), full)
    budget = full.asked[0]
    poor = Ledger(available=budget.amount - 500 * 1500)
    exchange = await _admit(make_exchange(Client()), poor)
    assert exchange.max_tokens == 500
    assert headers(exchange)["x-lumyx-max-tokens"] == "500"


async def test_a_limit_above_the_models_own_is_lowered_and_told() -> None:
    exchange = await _admit(make_exchange(Client(), max_tokens=50_000), Ledger())
    assert exchange.max_tokens == 1_000
    assert headers(exchange)["x-lumyx-max-tokens"] == "1000"


async def test_an_explicit_limit_that_does_not_fit_is_402_and_names_the_one_that_does() -> None:
    full = Ledger()
    await _admit(make_exchange(Client(), max_tokens=1000), full)
    poor = Ledger(available=full.asked[0].amount - 400 * 1500)
    with pytest.raises(ApiError) as caught:
        await _admit(make_exchange(Client(), max_tokens=1000), poor)
    assert (caught.value.status, caught.value.code) == (402, "insufficient_credits")
    assert "max_tokens up to 600" in caught.value.message


async def test_nothing_affordable_is_402() -> None:
    with pytest.raises(ApiError) as caught:
        await _admit(make_exchange(Client()), Ledger(available=5))
    assert (caught.value.status, caught.value.code) == (402, "insufficient_credits")
    assert "/dashboard/credits" in caught.value.message


async def test_a_free_model_shows_the_daily_limit_in_the_three_headers() -> None:
    model = make_model(is_free=True, rates=Rates(0, 0))
    exchange = await _admit(make_exchange(Client(), model=model), Ledger(remaining=24))
    assert exchange.held == 0
    shown = headers(exchange)
    assert shown["x-ratelimit-limit-requests"] == "25"
    assert shown["x-ratelimit-remaining-requests"] == "24"
    assert shown["x-ratelimit-reset-requests"] == "6h12m0s"


async def test_a_spent_daily_quota_is_the_contracts_429() -> None:
    model = make_model(is_free=True, rates=Rates(0, 0))
    exchange = make_exchange(Client(), model=model)
    with pytest.raises(ApiError) as caught:
        await _admit(exchange, Ledger(refusal=Refusal.QUOTA_EXCEEDED, remaining=0))
    error = caught.value
    assert (error.status, error.code) == (429, "daily_quota_exceeded")
    assert error.message == (
        "You have used all 25 free requests for today. Resets at 00:00 UTC, in 6h12m. Upgrade: /pricing"
    )
    assert headers(error)["x-should-retry"] == "false"
    assert "retry-after" not in headers(error)
    assert headers(exchange)["x-ratelimit-remaining-requests"] == "0"


async def test_a_paid_model_shows_the_minutes_window() -> None:
    exchange = make_exchange(Client())
    exchange.principal = replace(PRINCIPAL, requests_per_minute=60)
    await _admit(exchange, Ledger(), Minute(Pace(allowed=True, limit=60, remaining=41, reset=17)))
    assert headers(exchange)["x-ratelimit-limit-requests"] == "60"
    assert headers(exchange)["x-ratelimit-remaining-requests"] == "41"
    assert headers(exchange)["x-ratelimit-reset-requests"] == "17s"


async def test_too_fast_is_429_with_a_short_retry_and_asks_for_no_hold() -> None:
    exchange, ledger = make_exchange(Client()), Ledger()
    exchange.principal = replace(PRINCIPAL, requests_per_minute=60)
    with pytest.raises(ApiError) as caught:
        await _admit(exchange, ledger, Minute(Pace(allowed=False, limit=60, remaining=0, reset=9)))
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert headers(caught.value)["retry-after"] == "9"
    assert ledger.asked == []


async def test_with_room_to_spare_both_are_asked_and_a_sudden_crowd_gives_its_hold_back() -> None:
    exchange, ledger = make_exchange(Client()), Ledger()
    exchange.principal = replace(PRINCIPAL, requests_per_minute=60)
    minute = Minute(Pace(allowed=False, limit=60, remaining=0, reset=9))
    minute.has_room = True
    with pytest.raises(ApiError) as caught:
        await _admit(exchange, ledger, minute)
    assert caught.value.code == "rate_limit_exceeded"
    (asked,) = ledger.asked
    assert ledger.taken_back == [(asked, 429)]


async def test_a_client_that_leaves_while_the_pace_is_asked_leaves_no_hold() -> None:
    class Slow(Minute):
        has_room = True

        async def answer(self) -> Pace:
            await asyncio.sleep(30)
            return self.pace

    exchange, ledger = make_exchange(Client()), Ledger()
    exchange.principal = replace(PRINCIPAL, requests_per_minute=60)
    task = asyncio.create_task(_admit(exchange, ledger, Slow()))
    while not ledger.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.taken_back == [(ledger.asked[0], 503)]


async def test_no_limit_of_pace_asks_nobody_and_shows_nothing() -> None:
    minute = Minute()
    exchange = await _admit(make_exchange(Client()), Ledger(), minute)
    assert minute.asked == 0
    assert "x-ratelimit-limit-requests" not in headers(exchange)


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (Refusal.KEY_REVOKED, 401, "revoked_api_key"),
        (Refusal.KEY_EXPIRED, 401, "expired_api_key"),
        (Refusal.WORKSPACE_SUSPENDED, 403, "workspace_suspended"),
        (Refusal.WALLET_FROZEN, 402, "wallet_frozen"),
        (Refusal.INSUFFICIENT_CREDITS, 402, "insufficient_credits"),
    ],
)
async def test_what_the_transaction_refuses_is_told_with_its_code(refusal: Refusal, status: int, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        await _admit(make_exchange(Client()), Ledger(refusal=refusal))
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    ("changes", "fields", "status", "code"),
    [
        ({"kind": "embedding"}, {}, 400, "wrong_model_kind"),
        ({"supports_streaming": False}, {"stream": True}, 400, "model_lacks_streaming"),
        ({"tags": ()}, {"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "model_lacks_tools"),
        (
            {"tags": ()},
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
            400,
            "model_lacks_vision",
        ),
        ({"tags": ()}, {"reasoning_effort": "low"}, 400, "model_lacks_reasoning"),
        ({"tags": ()}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, 400, "model_lacks_reasoning"),
        ({"tags": ("uncensored",)}, {}, 403, "policy_not_accepted"),
    ],
)
async def test_what_a_model_cannot_do_is_said_before_anything_is_counted(
    changes: dict[str, Any], fields: dict[str, Any], status: int, code: str
) -> None:
    ledger, minute = Ledger(), Minute()
    exchange = make_exchange(Client(), **{"stream": False, **fields})
    exchange.model = make_model(**changes)
    with pytest.raises(ApiError) as caught:
        await _admit(exchange, ledger, minute)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert ledger.asked == []
    assert minute.asked == 0


async def test_a_part_that_no_size_bounds_is_held_as_a_full_context_window() -> None:
    ledger = Ledger()
    part = {"type": "file", "file": {"file_data": "JVBERi0x"}}
    await _admit(make_exchange(Client(), max_tokens=1, messages=[{"role": "user", "content": [part]}]), ledger)
    assert ledger.asked[0].amount == 8_000 * 500 + 1500


async def test_an_image_is_held_at_the_dearest_of_its_upstreams() -> None:
    ledger = Ledger()
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}]
    model = make_model(context_window=1_000_000)
    exchange = make_exchange(Client(), model=model, max_tokens=1, messages=[{"role": "user", "content": content}])
    await _admit(exchange, ledger)
    assert 50_000 * 500 <= ledger.asked[0].amount < 51_000 * 500


async def test_a_free_model_needs_a_verified_address() -> None:
    exchange = make_exchange(Client(), model=make_model(is_free=True, rates=Rates(0, 0)))
    exchange.principal = replace(PRINCIPAL, email_verified=False)
    with pytest.raises(ApiError) as caught:
        await _admit(exchange, Ledger())
    assert (caught.value.status, caught.value.code) == (403, "email_not_verified")


rates = st.builds(
    Rates,
    input=st.integers(0, 10**11),
    output=st.integers(0, 10**11),
    cache_read=st.none() | st.integers(0, 10**11),
    cache_write=st.none() | st.integers(0, 10**11),
)


@given(rates=rates, n=st.integers(1, 8), limit=st.integers(1, 1000), data=st.data())
def test_no_answer_within_the_ceiling_can_cost_more_than_its_hold(
    rates: Rates, n: int, limit: int, data: st.DataObject
) -> None:
    exchange = make_exchange(Client(), n=n, max_tokens=limit)
    exchange.model = make_model(rates=rates)
    budget = Budget(exchange)
    bound = budget.input_upper
    cuts = sorted(data.draw(st.lists(st.integers(0, bound), min_size=3, max_size=3)))
    used = TokenUsage(input=cuts[0], cache_read=cuts[1] - cuts[0], cache_write=cuts[2] - cuts[1], output=limit * n)
    assert charge_for(used, rates) <= budget.amount(budget.wanted)


@given(rates=rates, available=st.integers(0, 10**13), n=st.integers(1, 8))
def test_a_lowered_ceiling_is_always_paid_for_by_the_hold_it_was_lowered_to(
    rates: Rates, available: int, n: int
) -> None:
    exchange = make_exchange(Client(), n=n)
    exchange.model = make_model(rates=rates)
    budget = Budget(exchange)
    tokens = budget.affordable(available)
    assert tokens <= budget.wanted
    if tokens:
        assert budget.amount(tokens) <= available


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m0s"), (3599, "59m59s"), (3600, "1h0m0s"), (22320, "6h12m0s")]
)
def test_durations_are_written_as_openai_writes_them(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_request_id_is_32_hexadecimal_digits() -> None:
    exchange = make_exchange(Client())
    assert uuid.UUID(hex=exchange.request_id) == exchange.id
    assert exchange.response_id == f"chatcmpl-{exchange.request_id}"


async def test_one_request_to_a_free_model_is_one_answer() -> None:
    ledger = Ledger()
    with pytest.raises(ApiError) as caught:
        await _admit(make_exchange(Client(), model=make_model(is_free=True), n=2), ledger)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_parameter")
    assert ledger.asked == []
    await _admit(make_exchange(Client(), model=make_model(is_free=True), n=1), ledger)
    await _admit(make_exchange(Client(), n=2), ledger)
