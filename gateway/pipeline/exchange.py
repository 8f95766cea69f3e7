"""Everything that is known about one request on its way."""

import datetime as dt
import uuid

import msgspec

from billing.rating import TokenUsage
from billing.types import Admission
from gateway.errors import ApiError, Header
from gateway.http import Line, Send
from gateway.protocols.clients import ClientProtocol
from gateway.protocols.generation import Generation
from gateway.types import ModelInfo, Principal, RouteInfo


class Exchange(msgspec.Struct):
    """One request, from its arrival to its record. Each stage fills in its part; ``client_gone`` may change at any time."""

    id: uuid.UUID
    send: Send
    #: Wall clock for the record, monotonic seconds for durations.
    started_at: dt.datetime
    started: float
    principal: Principal
    protocol: ClientProtocol
    request: Generation
    #: Beta features that the client wants of an upstream that speaks its protocol.
    betas: tuple[str, ...] = ()
    #: The client's connection itself, where the server offers it.
    line: Line | None = None
    #: The site's address, for links in errors.
    site_url: str = ""

    # admit
    model: ModelInfo | None = None
    #: Those of the model's routes that can take this request.
    routes: tuple[RouteInfo, ...] = ()
    headers: list[Header] = msgspec.field(default_factory=list)
    #: The ceiling of output tokens that the hold pays for, when it had to be lowered.
    max_tokens: int | None = None
    #: What was let in, with the hold that it got.
    admission: Admission | None = None

    # dispatch
    route: RouteInfo | None = None
    attempts: int = 0
    #: The answer's head was written; after that, errors are events.
    head_sent: bool = False
    first_token: float | None = None
    produced: bool = False
    client_gone: bool = False

    # settle
    usage: TokenUsage | None = None
    usage_is_estimate: bool = False
    flags: str = ""
    charge: int = 0
    error: ApiError | None = None
    status: int = 200

    @property
    def held(self) -> int:
        """nano-USD set aside; 0 before admission."""
        return 0 if self.admission is None else self.admission.amount

    @property
    def request_id(self) -> str:
        """The id as clients see it: 32 hexadecimal digits."""
        return self.id.hex

    @property
    def response_id(self) -> str:
        """The id inside the answer."""
        return self.protocol.id_prefix + self.id.hex

    def served_model(self) -> ModelInfo:
        """Return the model once it is known; asking earlier is a bug."""
        if self.model is None:
            raise RuntimeError("the model is known only after admission began")
        return self.model
