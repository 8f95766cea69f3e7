"""The mock upstream's chat completions."""

from rig.answers import COMPLETION_TOKENS, FILLER, PROMPT_TOKENS, make_answers

_USAGE = (
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'
    % (PROMPT_TOKENS, COMPLETION_TOKENS, PROMPT_TOKENS + COMPLETION_TOKENS)
)  # fmt: skip
_WHOLE = (
    b'{"id":"chatcmpl-mock","object":"chat.completion","created":1700000000,"model":"mock-json","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"nonce-%s ' + FILLER + b'"},"finish_reason":"stop"}],' + _USAGE + b"}"
)
_HEAD = b'data: {"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1700000000,"model":"mock","choices":'

CHAT = make_answers(
    whole=_WHOLE,
    opening=(),
    text=_HEAD + b'[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n',
    closing=(
        _HEAD + b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        _HEAD + b"[]," + _USAGE + b"}\n\n",
        b"data: [DONE]\n\n",
    ),
)
