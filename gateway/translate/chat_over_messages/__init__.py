"""Chat completion clients, served by Messages upstreams."""

from gateway.translate.chat_over_messages.request import messages_body_for_chat
from gateway.translate.chat_over_messages.stream import ChatOverMessages
from gateway.translate.chat_over_messages.whole import chat_answer_from_message
from gateway.translate.pair import Pair

PAIR = Pair(messages_body_for_chat, ChatOverMessages, chat_answer_from_message)

__all__ = ["PAIR", "ChatOverMessages", "chat_answer_from_message", "messages_body_for_chat"]
