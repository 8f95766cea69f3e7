"""One upstream's stream on its way to the client: relayed where it arrives, counted, its end held back.

From the finish of an answer on everything waits for the settlement: a client may take it for the end.
"""

from gateway.pipeline.exchange import Exchange
from gateway.pipeline.writer import StreamWriter
from gateway.protocols.answers import AnswerStream
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.upstreams import UpstreamCall
from lumyx.lib import clock

#: Bytes of a stream that are kept back, before its first content or after its finish: as much as a whole answer may have.
MAX_KEPT = 64 * 1024 * 1024


class StreamRelay:
    """Takes what one call brings. ``answer`` knows afterwards what came out."""

    def __init__(self, exchange: Exchange, call: UpstreamCall, answer: AnswerStream, writer: StreamWriter) -> None:
        self.answer = answer
        self._exchange = exchange
        self._call = call
        self._writer = writer
        self._failure: UpstreamFailure | None = None
        self._kept = 0
        # Reasoning that is not shown is billed to us all the same; only the report at the stream's end tells how much it was.
        self._may_stop_early = call.stops_billing_on_cancel and "reasoning" not in exchange.served_model().tags

    async def run(self) -> None:
        """Send the request and relay its answer. Raises UpstreamFailure.

        A stream that broke off or fell silent after the answer had finished is whole: only its end mark is missing.
        """
        await self._call.start()
        try:
            await self._call.pour(self)
        except UpstreamFailure as failure:
            if failure.kind not in (FailureKind.CUT, FailureKind.TIMEOUT) or not self.answer.finished:
                raise

    def take(self, payloads: list[bytes]) -> bool:
        """Relay payloads; False where the client's line is not free, the client has gone, or one of them is a failure."""
        try:
            self._relay(payloads)
        except UpstreamFailure as failure:
            self._failure = failure  # what came before it has come out, and goes to the client first
        answer, exchange = self.answer, self._exchange
        if not exchange.produced and answer.started:
            exchange.produced = True
            exchange.first_token = clock.monotonic()
        if not answer.started or answer.finished:
            if self._kept > MAX_KEPT:
                self._failure = UpstreamFailure(FailureKind.INVALID, "it says nothing, or has ended, and goes on")
            self._kept += sum(map(len, payloads))
        elif not self._writer.push():
            return False
        return self._failure is None and not exchange.client_gone

    async def catch_up(self) -> bool:
        """Write what could not be written at once. Raises UpstreamFailure for what ``take`` found."""
        if self.answer.started and not self.answer.finished:
            await self._writer.flush()
        if self._failure is not None:
            raise self._failure
        return not (self._exchange.client_gone and self._may_stop_early)

    def _relay(self, payloads: list[bytes]) -> None:
        """Keep what the client shall get."""
        feed, hold = self.answer.feed, self._writer.hold
        for payload in payloads:
            out = feed(payload)
            if out:
                hold(out)
