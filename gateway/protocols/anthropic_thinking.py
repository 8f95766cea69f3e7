"""How much a model is to think: efforts and budgets of thinking tokens, one table for both protocols."""

#: Budgets in tokens by effort. "none" is no thinking; what asks for more than "high" gets as much as that, within the cap.
BUDGETS = {"none": 0, "minimal": 1_024, "low": 4_096, "medium": 16_384, "high": 32_768, "xhigh": 32_768, "max": 32_768}
EFFORTS = tuple(BUDGETS)
#: Efforts as models know them that are asked by effort. "none" turns thinking off.
MODEL_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
#: Asks a model to think as much as it sees fit. Without the second word the newer ones keep their thinking to themselves.
ADAPTIVE = {"type": "adaptive", "display": "summarized"}
#: No Messages upstream takes a smaller budget.
MIN_BUDGET = 1_024
#: Signatures of thinking blocks that we wrote for upstreams of another family; no upstream of this one takes them back.
OUR_SIGNATURE = "lumyx.1."


def capped_budget(budget: int, max_tokens: int | None) -> int | None:
    """Return the budget below the ceiling on output, None where too little is left to think at all."""
    if max_tokens is not None:
        budget = min(budget, max_tokens - 1)
    return budget if budget >= MIN_BUDGET else None


def effort_of(budget: int) -> str:
    """Return the effort that a budget stands for: the nearest that is not above it, at least "low"."""
    return next((name for name in ("high", "medium") if budget >= BUDGETS[name]), "low")


def thinking_for(effort: str, max_tokens: int | None) -> dict[str, str | int]:
    """Return the ``thinking`` object for an effort, switched off where the ceiling on output leaves too little."""
    budget = capped_budget(BUDGETS[effort], max_tokens)
    return {"type": "disabled"} if budget is None else {"type": "enabled", "budget_tokens": budget}
