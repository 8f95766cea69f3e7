"""Stage 2: may this request run, and is it paid for. Nothing reaches an upstream that was not admitted here.

Order: the model and the key's right to it, capabilities, pace (Redis, may fail open), then the daily quota and the hold in
one PostgreSQL transaction (fails closed).
"""

import asyncio
from copy import replace

from billing.rating import affordable_output, hold_for
from billing.types import Admission, Admitted, QuotaClaim, Refusal
from gateway.errors import DO_NOT_RETRY, ApiError, Header, retry_after, unavailable
from gateway.limits.minute import Asked, MinuteLimiter, Pace
from gateway.pipeline import authenticate
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.permit import check_model
from gateway.pipeline.route import usable_routes
from gateway.protocols.embeddings import EmbeddingsRequest, tokens_upper_bound
from gateway.protocols.generation import input_upper_bound
from gateway.store import Store
from gateway.types import Principal
from gateway.upstreams.profiles import profile_of
from lumyx.lib import clock
from lumyx.lib.money import nano_to_usd


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
    asked = _ask_pace(exchange, minute)
    if asked is not None and not asked.has_room:
        _keep_pace(exchange, await asked.answer())
        asked = None
    budget = Budget(exchange)
    admission = admission_for(exchange, budget, lease=lease)
    admitted = await store.admit(admission)
    if asked is not None:
        # With room to spare both were asked at once; the books are not asked in vain but by a sudden crowd.
        try:
            _keep_pace(exchange, await asked.answer())
        except (ApiError, asyncio.CancelledError) as error:
            store.take_back(admission, admitted, error if isinstance(error, ApiError) else unavailable())
            raise
    if model.is_free:
        exchange.headers.extend(quota_headers(exchange, admitted))
    if admitted.refusal is not None:
        refusal = _refused(admitted, exchange=exchange, budget=budget)
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
        quota=QuotaClaim(principal.quota_subject, principal.daily_requests) if model.is_free else None,
    )


async def keep_pace(principal: Principal, *, minute: MinuteLimiter) -> list[Header]:
    """Count a request that is neither held nor charged for; return the headers of its window. Raises ApiError 429."""
    if principal.requests_per_minute == 0:
        return []
    return _window_of(await _window(principal, minute).answer())


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


def _keep_pace(exchange: Exchange, pace: Pace) -> None:
    headers = _window_of(pace)
    if not exchange.served_model().is_free:
        exchange.headers.extend(headers)


def _window_of(pace: Pace) -> list[Header]:
    headers = _limit_headers(pace.limit, pace.remaining, format_duration(pace.reset))
    if not pace.allowed:
        raise _too_fast(pace, headers)
    return headers


def _too_fast(pace: Pace, headers: list[Header]) -> ApiError:
    return ApiError(
        429,
        "rate_limit_exceeded",
        f"You have sent {pace.limit} requests this minute, the limit of your tier. Try again in {pace.reset} s.",
        headers=[*headers, retry_after(pace.reset)],
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


def _refused(admitted: Admitted, *, exchange: Exchange, budget: Budget) -> ApiError:
    match admitted.refusal:
        case Refusal.KEY_REVOKED:
            return authenticate.revoked()
        case Refusal.KEY_EXPIRED:
            return authenticate.expired()
        case Refusal.WORKSPACE_SUSPENDED:
            return authenticate.suspended()
        case Refusal.QUOTA_EXCEEDED:
            return _quota_spent(admitted, exchange)
        case Refusal.WALLET_FROZEN:
            return ApiError(
                402, "wallet_frozen", "This workspace's credits are frozen. Ask the operator of this service."
            )
        case _:
            return _too_dear(admitted, budget)


def _quota_spent(admitted: Admitted, exchange: Exchange) -> ApiError:
    # No retry-after: with one, SDKs and agents sleep until midnight.
    at = admitted.at or clock.now()
    minutes = -(-int(clock.until_midnight(at).total_seconds()) // 60)
    left = f"{minutes // 60}h{minutes % 60}m" if minutes >= 60 else f"{minutes}m"
    return ApiError(
        429,
        "daily_quota_exceeded",
        f"You have used all {exchange.principal.daily_requests} free requests for today. "
        f"Resets at 00:00 UTC, in {left}. Upgrade: /pricing",
        headers=[DO_NOT_RETRY],
    )


def _too_dear(admitted: Admitted, budget: Budget) -> ApiError:
    have = nano_to_usd(max(0, admitted.available))
    tokens = budget.affordable(max(0, admitted.available))
    if budget.asked is not None and tokens > 0:
        message = (
            f"max_tokens {budget.asked} may cost up to ${nano_to_usd(budget.most)}, and ${have} is available. "
            f"It covers max_tokens up to {tokens}. Lower it, leave it out, or add credits at /dashboard/credits."
        )
    else:
        message = f"Not enough credits: ${have} is available. Add credits at /dashboard/credits."
    return ApiError(402, "insufficient_credits", message, headers=[DO_NOT_RETRY])
