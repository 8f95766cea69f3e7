"""How a Messages upstream is asked to think, for a chat request: by its effort, or by ``thinking`` as some clients send it.

Thinking is left off, rather than the request refused, where the upstream would refuse it: with a tool that must be used, with
an answer that the client began itself, in the middle of a turn whose tool calls came without their thinking (a client that
does not send ``reasoning_details`` back), and where fewer than 1,024 tokens are left for it. A model that always thinks is not
told to stop; it is told to think little.
"""

from typing import Any, NamedTuple

from gateway.protocols.anthropic_models import Ways
from gateway.protocols.anthropic_thinking import ADAPTIVE, BUDGETS, MODEL_EFFORTS, capped_budget
from gateway.translate.chat_over_messages.shapes import Thinking, invalid, missing

_KINDS = ("enabled", "adaptive", "between_tools", "disabled")
_DISPLAYS = (None, "summarized", "omitted")


class Asked(NamedTuple):
    """The fields that ask for thinking."""

    thinking: dict[str, Any] | None = None
    effort: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether the model is to think."""
        return self.thinking is not None and self.thinking["type"] in ("enabled", "adaptive")


NOTHING_ASKED = Asked()
_OFF = Asked({"type": "disabled"})
_LITTLE = Asked(effort="low")


class Setting(NamedTuple):
    """What else of the request decides."""

    max_tokens: int
    #: No way of thinking is accepted: a forced tool, an answer that the client began.
    is_ruled_out: bool
    #: The turn goes on after tool calls that came without their thinking: no budget is accepted.
    is_mid_turn: bool


def asked_thinking(given: Thinking | None, effort: str | None, ways: Ways, setting: Setting) -> Asked:
    """Return what to ask of the upstream. Raises RequestShapeError. What the client says itself goes before its effort."""
    if effort is not None and effort not in BUDGETS:
        wanted = ", ".join(f'"{name}"' for name in BUDGETS)
        raise invalid("reasoning_effort", f'must be one of {wanted}, it is "{effort[:40]}".')
    if given is not None:
        return _as_given(given, ways, setting)
    if effort is None:
        return NOTHING_ASKED
    if effort == "none":
        return _OFF if ways.can_rest else _LITTLE
    if setting.is_ruled_out:
        return NOTHING_ASKED
    if ways.thinking == "adaptive":
        return Asked(dict(ADAPTIVE), MODEL_EFFORTS[effort])
    return _with_budget({"type": "enabled"}, BUDGETS[effort], setting)


def _as_given(given: Thinking, ways: Ways, setting: Setting) -> Asked:
    if given.type not in _KINDS:
        raise invalid("thinking.type", f'must be "enabled", "adaptive" or "disabled", it is "{given.type[:40]}".')
    if given.display not in _DISPLAYS:
        raise invalid("thinking.display", 'must be "summarized" or "omitted".')
    if given.type == "enabled" and given.budget_tokens is None:
        raise missing("thinking.budget_tokens")
    if given.type == "disabled":
        return _OFF if ways.can_rest else _LITTLE
    asked: dict[str, Any] = {"type": given.type}
    if given.type == "between_tools":
        return Asked(asked)
    if setting.is_ruled_out:
        return NOTHING_ASKED
    if given.display is not None:
        asked["display"] = given.display
    if given.type == "adaptive":
        return Asked(asked)
    return _with_budget(asked, given.budget_tokens or 0, setting)


def _with_budget(asked: dict[str, Any], budget: int, setting: Setting) -> Asked:
    fitting = capped_budget(budget, setting.max_tokens)
    if fitting is None or setting.is_mid_turn:
        return NOTHING_ASKED
    return Asked(asked | {"budget_tokens": fitting})
