"""Chat completions served by upstreams that speak them too: passed through, byte for byte but for names, limits and usage."""

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels, WholeAnswer
from gateway.protocols.generation import Target
from gateway.protocols.openai_answer import ChunkRelay, relay_whole
from gateway.protocols.openai_request import ChatRequest, upstream_body
from gateway.protocols.openai_told import stream_end, tell_usage
from gateway.protocols.sse import KEEP_ALIVE
from gateway.translate.pair import Pair


def body_for(request: ChatRequest, target: Target) -> bytes:
    """Return the body for an upstream."""
    profile, max_tokens = target.profile, target.max_tokens
    if max_tokens is None and request.max_tokens_field not in (None, profile.max_tokens_field):
        # An explicit limit in a field that the upstream does not read would be no limit at all.
        max_tokens = None if profile.reads_both_fields else request.max_tokens
    return upstream_body(
        request,
        model=target.model,
        max_tokens=max_tokens,
        force_usage=profile.accepts_stream_options,
        max_tokens_field=profile.max_tokens_field,
        can_reason=target.can_reason,
    )


class ChatOverChat:
    """The AnswerStream of this pair: a ChunkRelay, framed."""

    __slots__ = ("_include_usage", "_labels", "_relay")

    def __init__(self, request: ChatRequest, labels: Labels) -> None:
        # The charge is known at the end only: then the upstream's own report is taken out, and usage told beside it.
        relays_usage = request.include_usage and not request.wants_cost
        self._relay = ChunkRelay(labels.response_id, labels.model, relays_usage, estimated_input=labels.estimated_input)
        self._labels = labels
        self._include_usage = request.include_usage or request.wants_cost

    @property
    def started(self) -> bool:
        """Whether content has come out."""
        return self._relay.started

    @property
    def finished(self) -> bool:
        """Whether every choice that has been seen has its finish reason."""
        return self._relay.finished

    @property
    def flags(self) -> frozenset[str]:
        """What had to be put right in the report of usage."""
        return self._relay.flags

    def feed(self, payload: bytes) -> bytes:
        """Return what goes to the client. Usage that had to be put right is told as it is billed. Raises UpstreamFailure."""
        relay = self._relay
        earlier = relay.usage
        out = relay.feed(payload)
        if out is None:
            return b""
        if relay.usage is not earlier and relay.usage is not None and relay.told_usage and relay.told_wrong:
            out = tell_usage(out, relay.usage)
        return b"data: " + out + b"\n\n"

    def final_usage(self) -> TokenUsage | None:
        """Return the upstream's report, None if there was none."""
        return self._relay.final_usage()

    def estimated_usage(self) -> TokenUsage:
        """Return our own count."""
        return self._relay.estimated_usage()

    def end(self, usage: TokenUsage, cost: int | None = None) -> bytes:
        """Return the usage chunk, where the client asked for one and none came, and the end mark."""
        is_owed = self._include_usage and not self._relay.told_usage
        return stream_end(usage if is_owed else None, self._labels, cost=cost)

    def life_sign(self) -> bytes:
        """Return a comment."""
        return KEEP_ALIVE


def whole_for(body: bytes, request: ChatRequest, labels: Labels) -> WholeAnswer:
    """Return an upstream's whole answer with our names. Raises UpstreamFailure."""
    return relay_whole(body, response_id=labels.response_id, model=labels.model, estimated_input=labels.estimated_input)


PAIR = Pair(body_for, ChatOverChat, whole_for)
