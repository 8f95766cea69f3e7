"""What chat completions and Messages say in different words, for both directions. Efforts and budgets of thinking have
their table in ``gateway.protocols.anthropic_thinking``.
"""

#: The ``format`` of ``reasoning_details`` that hold thinking blocks of Messages.
DETAILS_FORMAT = "anthropic-claude-v1"
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


def finish_reason_of(stop_reason: str | None) -> str:
    """Return the finish reason for a stop reason of Messages; one that we do not know ended the answer all the same."""
    return FINISH_REASONS.get(stop_reason or "", "stop")


def stop_reason_of(finish_reason: str | None) -> str:
    """Return the stop reason for a finish reason of chat completions; one that we do not know ended the turn."""
    return STOP_REASONS.get(finish_reason or "", "end_turn")
