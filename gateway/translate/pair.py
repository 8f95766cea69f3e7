"""What a translator is: one pair of protocols, the client's and the upstream's."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from gateway.protocols.answers import AnswerStream, Labels, WholeAnswer
from gateway.protocols.generation import Target


class Pair(NamedTuple):
    """How requests of one protocol are served by upstreams of another, or of the same.

    Each takes the client's request as its protocol parsed it (a Generation). Law: folding a translated stream equals translating
    the folded stream.
    """

    #: The body for the upstream. Raises RequestShapeError (unsupported_content) for what the upstream's protocol cannot say.
    body: Callable[[Any, Target], bytes]
    #: The relay for one stream.
    stream: Callable[[Any, Labels], AnswerStream]
    #: The client's answer for an upstream's whole one. Raises UpstreamFailure for an error object, or what is no answer.
    whole: Callable[[bytes, Any, Labels], WholeAnswer]
    #: The same with pauses, for answers so large that others must get to run in between.
    whole_in_steps: Callable[[bytes, Any, Labels], Generator[None, None, WholeAnswer]] | None = None
