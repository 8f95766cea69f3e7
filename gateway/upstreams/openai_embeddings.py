"""The adapter for embeddings of upstreams that speak OpenAI's protocol: the same servers as for chat, at another path."""

from gateway.upstreams.openai_chat import OpenAIChatCall


class OpenAIEmbeddingsCall(OpenAIChatCall):
    """One call for embeddings."""

    path = "/embeddings"
