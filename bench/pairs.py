"""The pairs of protocols, what an answer costs through each, and how that compares with answers that pass through."""

from collections.abc import Mapping
from typing import NamedTuple

from bench.metering import Figures


class Pair(NamedTuple):
    """A client's protocol and its upstream's."""

    client: str
    upstream: str

    @property
    def is_translated(self) -> bool:
        """Whether the two differ."""
        return self.client != self.upstream

    @property
    def title(self) -> str:
        """The pair in words."""
        return f"{self.client} over {self.upstream}"

    @property
    def key(self) -> str:
        """What the names of its figures begin with."""
        return f"translation.{self.client}_over_{self.upstream}"

    @property
    def same_upstream(self) -> "Pair":
        """The pair that passes through what the same upstream says."""
        return Pair(self.upstream, self.upstream)

    @property
    def same_client(self) -> "Pair":
        """The pair that passes through what the same client gets."""
        return Pair(self.client, self.client)


class Kind(NamedTuple):
    """What is counted: whole answers, paced chunks, chunks of a burst."""

    name: str
    title: str
    unit: str
    form: str
    #: So many units are a second.
    second: float


#: In this order: a translated pair is measured beside the one that passes the same upstream's answers through.
PAIRS = (
    Pair("chat", "chat"),
    Pair("messages", "chat"),
    Pair("chat", "messages"),
    Pair("messages", "messages"),
)
KINDS = (
    Kind("whole", "whole", "ms", "{:.3f}", 1e3),
    Kind("chunk", "paced chunk", "µs", "{:.1f}", 1e6),
    Kind("burst", "burst chunk", "µs", "{:.2f}", 1e6),
)


def figures_of(kind: Kind, costs: Mapping[Pair, float]) -> Figures:
    """Return the figures of one kind, given the processor seconds of one answer or chunk through each pair.

    ``translation.KIND_ratio`` is that of the worse direction; each is compared with the same upstream's answers passed through.
    """
    found: Figures = {f"{pair.key}.{kind.name}_cpu": cost * kind.second for pair, cost in costs.items()}
    worst = 0.0
    for pair, cost in costs.items():
        if pair.is_translated:
            by_upstream = cost / costs[pair.same_upstream]
            found[f"{pair.key}.{kind.name}_by_upstream"] = by_upstream
            found[f"{pair.key}.{kind.name}_by_client"] = cost / costs[pair.same_client]
            worst = max(worst, by_upstream)
    return found | {f"translation.{kind.name}_ratio": worst}
