"""Why an answer ended: a chat upstream's finish reason, and what else it says of it, as a stop reason of Messages."""

from typing import Any

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.messages_over_chat.chunks import Choice
from gateway.translate.tables import FINISH_REASONS, stop_reason_of

#: The upstream broke off: no answer, even though it calls this a finish.
_BROKE_OFF = frozenset({"error", "abort", "insufficient_system_resource"})
#: Words of single providers, beside the protocol's own.
_OTHERS = {
    "model_length": "model_context_window_exceeded",
    "safety": "refusal",
    "recitation": "refusal",
    "prohibited_content": "refusal",
    "blocklist": "refusal",
}
_CUTS = frozenset({"max_tokens", "model_context_window_exceeded"})


class Ending:
    """What an upstream has said so far of how its answer ends."""

    __slots__ = ("_matched", "_reason", "_stop_sequences")

    def __init__(self, stop_sequences: tuple[str, ...]) -> None:
        self._stop_sequences = stop_sequences
        self._reason: str | None = None
        self._matched: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether there was a finish reason."""
        return self._reason is not None

    @property
    def is_cut(self) -> bool:
        """Whether a limit on its length cut the answer."""
        return self._stop_reason() in _CUTS

    def note(self, choice: Choice) -> None:
        """Read a choice that has a finish reason. Raises UpstreamFailure for one that says that the upstream broke off."""
        reason = str(choice.finish_reason).lower()
        if reason in _BROKE_OFF:
            raise UpstreamFailure(FailureKind.SERVER_ERROR, f"its answer ended with {reason[:40]!r}")
        self._reason = reason
        for stop in (choice.stop_reason, choice.matched_stop):
            if isinstance(stop, str) and stop in self._stop_sequences:
                self._matched = stop

    def told(self, *, has_calls: bool, is_refusal: bool) -> dict[str, Any]:
        """Return ``stop_reason`` and ``stop_sequence``, in accord with what came out."""
        reason = self._stop_reason()
        if is_refusal:
            reason = "refusal"
        elif reason in {"end_turn", "stop_sequence", "pause_turn", "tool_use"}:
            # Several upstreams call it "stop" when tools were called. A stop string is one only if we know which.
            reason = "tool_use" if has_calls else "stop_sequence" if self._matched is not None else "end_turn"
        return {"stop_reason": reason, "stop_sequence": self._matched if reason == "stop_sequence" else None}

    def _stop_reason(self) -> str:
        given = self._reason or ""
        # Some upstreams, and servers between us and them, speak of the end as Messages does.
        return given if given in FINISH_REASONS else _OTHERS.get(given) or stop_reason_of(given)
