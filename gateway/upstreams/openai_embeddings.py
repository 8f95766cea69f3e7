"""The adapter for embeddings of upstreams that speak OpenAI's protocol: the same servers as for chat, at another path."""

from io import BytesIO

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.upstreams.client import MAX_ANSWER
from gateway.upstreams.openai_chat import OpenAIChatCall


class OpenAIEmbeddingsCall(OpenAIChatCall):
    """One call for embeddings."""

    path = "/embeddings"

    async def read(self) -> bytes:
        """Return the whole answer's body. Raises UpstreamFailure."""
        # Grows in place and is given out without a copy: to join 60 MB would hold everybody up.
        answer, body = self._started(), BytesIO()
        while data := await answer.readany():
            body.write(data)
            if body.tell() > MAX_ANSWER:
                raise UpstreamFailure(FailureKind.INVALID, f"its answer is larger than {MAX_ANSWER} bytes")
        self._complete = True
        return body.getvalue()
