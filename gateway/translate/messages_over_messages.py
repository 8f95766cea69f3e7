"""Messages served by upstreams that speak them too: passed through, byte for byte but for names, limits and usage."""

from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_answer import MessagesRelay, relay_whole_message
from gateway.protocols.anthropic_body import messages_body
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.translate.pair import Pair


def _relay(_request: MessagesRequest, labels: Labels) -> MessagesRelay:
    return MessagesRelay(labels)


PAIR = Pair(messages_body, _relay, relay_whole_message)
