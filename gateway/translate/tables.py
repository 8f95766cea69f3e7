"""What chat completions and Messages say in different words: stop reasons, and how hard to think. Both directions share these."""

#: Why an answer ended, in the words of Messages, and in those of chat completions.
FINISH_REASONS = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "pause_turn": "stop",
    "refusal": "content_filter",
    "model_context_window_exceeded": "length",
}
#: The other way round. ``function_call`` is what calls were before there were tools.
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}

#: The fewest tokens that a budget for thinking may have (Messages refuses less).
MIN_BUDGET = 1_024
#: Effort in words, and the budget of tokens that stands for it. "none" is thinking turned off.
BUDGETS = {
    "none": 0,
    "minimal": 1_024,
    "low": 4_096,
    "medium": 16_384,
    "high": 32_768,
    "xhigh": 32_768,
    "max": 32_768,
}
#: What a budget amounts to, the largest first. "minimal" is left out: many models know nothing below "low".
_EFFORTS = ((32_768, "high"), (16_384, "medium"))


def finish_reason_of(stop_reason: str | None) -> str:
    """Return the finish reason for a stop reason of Messages; one that we do not know ended the answer all the same."""
    return FINISH_REASONS.get(stop_reason or "", "stop")


def stop_reason_of(finish_reason: str | None) -> str:
    """Return the stop reason for a finish reason of chat completions; one that we do not know ended the turn."""
    return STOP_REASONS.get(finish_reason or "", "end_turn")


def capped_budget(budget: int, *, max_tokens: int) -> int:
    """Return the budget as it fits below ``max_tokens``; 0, thinking turned off, where too little room is left."""
    fitting = min(budget, max_tokens - 1)
    return fitting if fitting >= MIN_BUDGET else 0


def effort_of_budget(budget: int) -> str:
    """Return the effort for a budget of tokens: the nearest whose own budget is not above it, and at least "low"."""
    return next((effort for least, effort in _EFFORTS if budget >= least), "low")
