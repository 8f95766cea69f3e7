"""Who is behind the work that is being done now: set where work comes in, read where it is written down.

A context variable, so that services need not be handed it through every layer; outside of a request it is a command's or a task's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """``kind`` is one of accounts.models.ActorKind; ``actor_id`` the user's or the key's; ``address`` an IP address."""

    kind: str = "system"
    actor_id: int | None = None
    address: str | None = None


_NOBODY = Origin()
_current: ContextVar[Callable[[], Origin]] = ContextVar("origin", default=lambda: _NOBODY)


def current_origin() -> Origin:
    """Return who is behind what is done now."""
    return _current.get()()


@contextmanager
def acting_as(find: Callable[[], Origin]) -> Iterator[None]:
    """Let work inside of the block be the origin's that ``find`` returns; it is asked only when something is written down."""
    token = _current.set(find)
    try:
        yield
    finally:
        _current.reset(token)
