"""The mock upstream's answers as Anthropic's Messages: one block of text."""

from rig.answers import COMPLETION_TOKENS, FILLER, PROMPT_TOKENS, make_answers

_USAGE = (
    b'"usage":{"input_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":%%d}'
    % PROMPT_TOKENS
)
_HEAD = b'{"id":"msg_mock","type":"message","role":"assistant","model":"mock",'
_WHOLE = (
    _HEAD
    + b'"content":[{"type":"text","text":"nonce-%s '
    + FILLER
    + b'"}],"stop_reason":"end_turn","stop_sequence":null,'
    + _USAGE % COMPLETION_TOKENS
    + b"}"
)
_START = _HEAD + b'"content":[],"stop_reason":null,"stop_sequence":null,' + _USAGE % 1 + b"}"


def _event(name: bytes, fields: bytes = b"") -> bytes:
    return b'event: %b\ndata: {"type":"%b"%b}\n\n' % (name, name, fields)


MESSAGES = make_answers(
    whole=_WHOLE,
    opening=(
        _event(b"message_start", b',"message":' + _START),
        _event(b"content_block_start", b',"index":0,"content_block":{"type":"text","text":""}'),
    ),
    text=_event(b"content_block_delta", b',"index":0,"delta":{"type":"text_delta","text":"%s"}'),
    closing=(
        _event(b"content_block_stop", b',"index":0'),
        _event(
            b"message_delta",
            b',"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":%d}'
            % COMPLETION_TOKENS,
        ),
        _event(b"message_stop"),
    ),
)
