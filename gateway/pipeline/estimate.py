"""What is billed where an upstream reported no usage: a count of our own, which never comes to more than was set aside.

The input's is a tokenizer's, once, when the answer is over; the output's is by its size, which is all that is kept of it
(docs/decisions/0011-counting-tokens.md).
"""

from copy import replace

from billing.rating import TokenUsage
from gateway.pipeline.admit import Budget
from gateway.pipeline.exchange import Exchange
from gateway.protocols.embeddings import EmbeddingsRequest
from gateway.protocols.request_tokens import estimated_tokens


def own_count(exchange: Exchange, by_size: TokenUsage) -> TokenUsage:
    """Return our count for an answer of which ``by_size`` is the estimate by its bytes."""
    request = exchange.request
    if isinstance(request, EmbeddingsRequest):
        return by_size  # it is written into the answer already, and is less than its bound
    budget = Budget(exchange)
    ceiling = budget.wanted if exchange.max_tokens is None else exchange.max_tokens
    return replace(
        by_size,
        input=min(estimated_tokens(request), budget.input_upper),
        output=min(by_size.output, ceiling * budget.choices),
    )
