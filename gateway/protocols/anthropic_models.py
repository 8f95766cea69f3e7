"""What the models behind Messages upstreams take and what they refuse, by the version in their names.

Every rule here is a 400 that a request of good faith would meet: Claude 4.7 and later refuse a budget for thinking, and
temperature and top_p; from 4.1 on temperature and top_p refuse each other; Fable and Mythos always think. A name without a
version is taken for a model that takes everything.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

#: "claude-sonnet-4-5-20250929", "claude-opus-4.7", "claude-3-7-sonnet-latest", "claude-opus-5": eight digits are a date.
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
_ALWAYS_THINKING = re.compile(r"claude-(?:fable|mythos)")


class Ways(NamedTuple):
    """What a model takes."""

    #: It is asked to think by a budget of tokens, or by an effort ("adaptive").
    thinking: Literal["budget", "adaptive"] = "budget"
    #: Of temperature and top_p it takes both, one at a time, or none.
    sampling: Literal["both", "one", "none"] = "both"
    #: Its thinking can be turned off.
    can_rest: bool = True


@lru_cache(maxsize=256)
def ways_of(model: str) -> Ways:
    """Return the ways of the upstream's model."""
    name = model.lower()
    if _ALWAYS_THINKING.search(name):
        return Ways("adaptive", "none", can_rest=False)
    found = _VERSION.search(name)
    if not found:
        return Ways()
    version = (int(found[1]), int(found[2] or 0))
    if version >= (4, 7):
        return Ways("adaptive", "none")
    return Ways("budget", "one" if version >= (4, 1) else "both")
