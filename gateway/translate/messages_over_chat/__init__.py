"""Messages clients served by chat completions upstreams: requests, streams and whole answers.

What a chat upstream cannot be told is refused by name, or stands in ``request.DROPPED`` with the reason why it may be left out.
What comes back becomes content blocks; a chat answer's citations and log probabilities, which only a chat client can ask for,
have no place among them.
"""

from gateway.translate.messages_over_chat.request import chat_body_for_messages
from gateway.translate.messages_over_chat.stream import MessagesOverChat
from gateway.translate.messages_over_chat.whole import message_from_chat_answer
from gateway.translate.pair import Pair

PAIR = Pair(body=chat_body_for_messages, stream=MessagesOverChat, whole=message_from_chat_answer)

__all__ = ["PAIR", "MessagesOverChat", "chat_body_for_messages", "message_from_chat_answer"]
