"""What the mock upstream says in every protocol: its counts, its text, and the frame of HTTP around an answer."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from rig.pacing import Pacer, http_chunk

PROMPT_TOKENS, COMPLETION_TOKENS = 250, 150
NO_NONCE = b"0" * 12
#: What fills the whole answer up to 1 KB.
FILLER = b"the quick brown fox jumps over the lazy dog " * 17

_WHOLE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Answers(NamedTuple):
    """One protocol's answers as they go over the wire; where there is ``%s`` something belongs.

    Each event of a stream is a chunk of HTTP of its own, as a server sends them that writes what it has.
    """

    #: A whole answer, for a nonce of twelve digits.
    whole: bytes
    #: The head of a stream and its events up to the first text, which is the nonce.
    start: bytes
    #: The event with a piece of text, without HTTP around it. The text needs no escaping.
    text: bytes
    #: The events after the last text, and the end of the body.
    end: bytes


def make_answers(*, whole: bytes, opening: Sequence[bytes], text: bytes, closing: Sequence[bytes]) -> Answers:
    """Return a protocol's answers: a body with ``%s`` for the nonce, and the events of a stream (``text`` with ``%s``)."""
    first = text % b"nonce-%s"
    return Answers(
        whole=_WHOLE_HEAD % len(whole % NO_NONCE) + whole,
        start=b"".join([_STREAM_HEAD, *map(http_chunk, opening), b"%x\r\n%b\r\n" % (len(first % NO_NONCE), first)]),
        text=text,
        end=b"".join([*map(http_chunk, closing), _LAST_CHUNK]),
    )


@cache
def burst_of(answers: Answers, chunks: int) -> bytes:
    """Return ``chunks`` pieces of text and the end of their stream."""
    return http_chunk(answers.text % b"token ") * chunks + answers.end


@cache
def pacer_of(answers: Answers, rate: int) -> Pacer:
    """Return the one pacer of all streams of a protocol that have ``rate`` chunks a second."""
    return Pacer(rate, event=answers.text, end=answers.end)
