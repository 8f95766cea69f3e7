"""Who takes what a stream of an upstream brings."""

from typing import Protocol


class Taker(Protocol):
    """Takes the data payloads of a stream, those of one network read at a time, where they arrive: with no task to wake."""

    def take(self, payloads: list[bytes]) -> bool:
        """Take payloads; False: ``catch_up`` is to be awaited before there are more. Raises UpstreamFailure."""
        ...

    async def catch_up(self) -> bool:
        """Do what could not be done at once; return whether more is wanted. Raises UpstreamFailure."""
        ...


async def hand_over(payloads: list[bytes], taker: Taker) -> bool:
    """Give payloads to a taker; return whether it wants more. Raises UpstreamFailure."""
    return taker.take(payloads) or await taker.catch_up()
