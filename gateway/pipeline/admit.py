"""Stage 2: may this request run, and is it paid for. Nothing reaches an upstream that was not admitted here.

Order: the model and the key's right to it, capabilities, pace (Redis, may fail open; the key's own before the workspace's), then
the daily quota, the hold and the budgets of key and member in one PostgreSQL transaction (fails closed).
"""

import asyncio
from copy import replace

from billing.rating import affordable_output, hold_for
from billing.types import Admission, Admitted, QuotaClaim, Refusal
from gateway.errors import ApiError, Header, retry_after, unavailable
from gateway.limits.minute import Asked, MinuteLimiter, Pace
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.permit import check_model
from gateway.pipeline.refusals import refused
from gateway.pipeline.route import usable_routes
from gateway.protocols.embeddings import EmbeddingsRequest, tokens_upper_bound
from gateway.protocols.generation import input_upper_bound
from gateway.store import Store
from gateway.types import Principal
from gateway.upstreams.profiles import profile_of
from lumyx.lib import clock


class StaleKeyError(Exception):
    """The key's row has changed since its principal was read. Nothing was admitted: read it again, and ask again."""


class Budget:
    """The bounds of what an answer may use: tokens in, tokens out a choice, and what that costs at most."""

    def __init__(self, exchange: Exchange) -> None:
        request, model = exchange.request, exchange.served_model()
        self.rates = model.rates
        self.choices = request.n
        self.input_upper = _input_upper(exchange)
        self.ceiling = min(model.max_output_tokens or model.context_window, model.context_window)
        self.asked = request.max_tokens
        self.wanted = min(self.asked, self.ceiling) if self.asked is not None else self.ceiling
        #: What the whole answer that is wanted may cost, in nano-USD: the hold that is asked for.
        self.most = self.amount(self.wanted)

    def amount(self, tokens: int) -> int:
        """Return the hold in nano-USD for ``tokens`` of output a choice."""
        return hold_for(input_upper=self.input_upper, output_max=tokens * self.choices, rates=self.rates)

    @property
    def floor(self) -> int:
        """The smallest hold that will do: all of it for an explicit limit, else what pays for one token."""
        return self.most if self.asked is not None else self.amount(1)

    def ceiling_for(self, held: int) -> int:
        """Return the output tokens a choice that a hold of ``held`` nano-USD lets the answer have."""
        return self.affordable(held) if held < self.most else self.wanted

    def affordable(self, amount: int) -> int:
        """Return the output tokens a choice that ``amount`` nano-USD pays for."""
        most = self.wanted * self.choices
        return (
            affordable_output(amount=amount, input_upper=self.input_upper, rates=self.rates, at_most=most)
            // self.choices
        )


def _input_upper(exchange: Exchange) -> int:
    request, model = exchange.request, exchange.served_model()
    if isinstance(request, EmbeddingsRequest):
        # Each input has a context window of its own.
        return tokens_upper_bound(request)
    # An upstream refuses more input than its context window holds, so no input can cost more than that.
    image_tokens = max((profile_of(route.upstream.provider).image_tokens for route in exchange.routes), default=0)
    bound = input_upper_bound(request, image_tokens=image_tokens)
    return model.context_window if request.has_opaque_parts else min(bound, model.context_window)


async def admit(exchange: Exchange, *, store: Store, minute: MinuteLimiter, lease: float) -> None:
    """Admit a request or raise the ApiError that says why not.

    Sets ``held``, ``max_tokens`` (when lowered), and the rate-limit headers. Raises StoreUnavailableError.
    """
    model = exchange.served_model()
    examine(exchange)
    own = await keep_own_pace(exchange.principal, minute=minute) if exchange.principal.key_requests_per_minute else None
    asked = _ask_pace(exchange, minute)
    if asked is not None and not asked.has_room:
        _keep_pace(exchange, await asked.answer(), own)
        asked = None
    elif asked is None and own is not None:
        _keep_pace(exchange, None, own)
    budget = Budget(exchange)
    admission = admission_for(exchange, budget, lease=lease)
    admitted = await store.admit(admission)
    if asked is not None:
        # With room to spare both were asked at once; the books are not asked in vain but by a sudden crowd.
        try:
            _keep_pace(exchange, await asked.answer(), own)
        except (ApiError, asyncio.CancelledError) as error:
            store.take_back(admission, admitted, error if isinstance(error, ApiError) else unavailable())
            raise
    if admitted.refusal is Refusal.KEY_CHANGED:
        raise StaleKeyError
    if model.is_free:
        exchange.headers.extend(quota_headers(exchange, admitted))
    if admitted.refusal is not None:
        refusal = refused(admitted, exchange=exchange, budget=budget)
        refusal.headers.extend(exchange.headers)  # the limit is told on 200 and 429 alike
        raise refusal
    whole = admitted.held == admission.amount
    exchange.admission = admission if whole else replace(admission, amount=admitted.held)
    _lower_ceiling(exchange, budget)


def examine(exchange: Exchange) -> None:
    """Set the routes that can take a request. Raises ApiError for one that its model or its workspace cannot serve."""
    model = exchange.served_model()
    check_model(
        exchange.request,
        model=model,
        principal=exchange.principal,
        kind=exchange.protocol.kind,
        site_url=exchange.site_url,
    )
    exchange.routes = usable_routes(model, exchange.request)


def admission_for(exchange: Exchange, budget: Budget, *, lease: float) -> Admission:
    """Return what the ledger is asked for: the hold, and a place in the daily quota where the model is free."""
    model, principal = exchange.served_model(), exchange.principal
    return Admission(
        request_id=exchange.id,
        workspace_id=principal.workspace_id,
        api_key_id=principal.api_key_id,
        model=model.public_id,
        amount=budget.most,
        floor=budget.floor,
        ttl=lease,
        quota=QuotaClaim(principal.quota_subject, principal.daily_requests)
        if model.is_free and not principal.is_test
        else None,
        key_version=principal.key_version,
        has_budget=principal.has_budget and budget.most > 0,
    )


async def keep_pace(principal: Principal, *, minute: MinuteLimiter) -> list[Header]:
    """Count a request that is neither held nor charged for; return the headers of its window. Raises ApiError 429."""
    own = await keep_own_pace(principal, minute=minute)
    pace = await _window(principal, minute).answer() if principal.requests_per_minute else None
    return _window_of(pace, own)


async def keep_own_pace(principal: Principal, *, minute: MinuteLimiter) -> Pace | None:
    """Count a request against its key's own pace; None where it has none. Raises ApiError 429.

    It is asked first and by itself, so that what it refuses uses nothing of the workspace's minute.
    """
    if principal.key_requests_per_minute == 0:
        return None
    pace = await minute.ask(f"k{principal.api_key_id}", limit=principal.key_requests_per_minute).answer()
    if not pace.allowed:
        raise _too_fast(pace, "key_rate_limit_exceeded", "this API key")
    return pace


def _lower_ceiling(exchange: Exchange, budget: Budget) -> None:
    """Tell upstream and client when an answer may be shorter than what was asked for, or than the model allows."""
    tokens = budget.ceiling_for(exchange.held)
    if tokens < (budget.asked if budget.asked is not None else budget.ceiling):
        exchange.max_tokens = tokens
        exchange.headers.append((b"x-lumyx-max-tokens", str(tokens).encode()))


def _ask_pace(exchange: Exchange, minute: MinuteLimiter) -> Asked | None:
    principal = exchange.principal
    return None if principal.requests_per_minute == 0 else _window(principal, minute)


def _window(principal: Principal, minute: MinuteLimiter) -> Asked:
    return minute.ask(f"w{principal.workspace_id}", limit=principal.requests_per_minute)


def _keep_pace(exchange: Exchange, pace: Pace | None, own: Pace | None) -> None:
    headers = _window_of(pace, own)
    if not exchange.served_model().is_free:
        exchange.headers.extend(headers)


def _window_of(pace: Pace | None, own: Pace | None) -> list[Header]:
    """Return the headers of the tighter of two windows, the workspace's and the key's own; none where there is no limit."""
    if pace is not None and not pace.allowed:
        raise _too_fast(pace, "rate_limit_exceeded", "your tier")
    windows = [window for window in (pace, own) if window is not None]
    return _pace_headers(min(windows, key=lambda window: window.remaining)) if windows else []


def _pace_headers(pace: Pace) -> list[Header]:
    return _limit_headers(pace.limit, pace.remaining, format_duration(pace.reset))


def _too_fast(pace: Pace, code: str, whose: str) -> ApiError:
    return ApiError(
        429,
        code,
        f"You have sent {pace.limit} requests this minute, the limit of {whose}. Try again in {pace.reset} s.",
        headers=[*_pace_headers(pace), retry_after(pace.reset)],
    )


def quota_headers(exchange: Exchange, admitted: Admitted) -> list[Header]:
    """Return the three headers of a free model: the daily limit; none where it is unlimited."""
    limit = exchange.principal.daily_requests
    if limit == 0 or (admitted.quota_remaining is None and admitted.refusal is not Refusal.QUOTA_EXCEEDED):
        return []
    seconds = int(clock.until_midnight(admitted.at or clock.now()).total_seconds())
    return _limit_headers(limit, admitted.quota_remaining or 0, format_duration(seconds))


def _limit_headers(limit: int, remaining: int, reset: str) -> list[Header]:
    return [
        (b"x-ratelimit-limit-requests", str(limit).encode()),
        (b"x-ratelimit-remaining-requests", str(remaining).encode()),
        (b"x-ratelimit-reset-requests", reset.encode()),
    ]


def format_duration(seconds: int) -> str:
    """Return seconds in OpenAI's form: "6h12m0s", "12m0s", "59s"."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minute}m{second}s"
    return f"{minute}m{second}s" if minute else f"{second}s"
