"""Server-sent events, reading side: bytes as they come from the network in, data payloads of complete events out.

Follows the WHATWG rules (LF, CR and CRLF; comments; data over several lines; a byte order mark), except that events without
data and events with empty data are dropped alike: no protocol of ours uses them. Fails closed: an event that does not end
within ``max_event`` bytes is a failure of the upstream.
"""

from gateway.protocols.failures import FailureKind, UpstreamFailure

#: One image in a data URL may come as one event, so the cap is generous.
MAX_EVENT = 8 * 1024 * 1024
#: A comment line: every SSE client skips it, every proxy sees life.
KEEP_ALIVE = b": keep-alive\n\n"
_BOM = b"\xef\xbb\xbf"


class SseParser:
    """Takes a stream of bytes apart; one per stream."""

    __slots__ = ("_carry", "_carry_size", "_ends_in_cr", "_head", "_max_event")

    def __init__(self, *, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        #: Bytes of an event that has not ended; a list, so that a huge event is joined once and not at every read.
        self._carry: list[bytes] = []
        self._carry_size = 0
        #: The last byte was CR and ended a line; an LF that follows belongs to it.
        self._ends_in_cr = False
        #: The first bytes, held until it is known whether they are a byte order mark; None afterwards.
        self._head: bytes | None = b""

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished event are held."""
        return bool(self._carry or self._head)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data payloads of the events that ``data`` completes, in order.

        Raises UpstreamFailure (invalid) for an event above the cap.
        """
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._head = data
                return []
            self._head = None
            data = data.removeprefix(_BOM)
        if self._ends_in_cr or 0x0D in data:
            data = self._normalised(data)
        if not data:
            return []
        if self._carry:
            # An end of event needs a line end; without one in ``data`` nothing can be complete.
            if 0x0A not in data:
                self._keep(data)
                return []
            self._carry.append(data)
            data = b"".join(self._carry)
            self._carry.clear()
            self._carry_size = 0
        end = data.rfind(b"\n\n")
        if end < 0:
            self._keep(data)
            return []
        if end + 2 < len(data):
            self._keep(data[end + 2 :])
        if data.startswith(b"data: "):
            # Nearly always a read is a row of one-line events, "data: {...}"; then one split takes it apart.
            payloads = data[6:end].split(b"\n\ndata: ")
            if not [payload for payload in payloads if 0x0A in payload or not payload]:
                return self._checked(payloads)
        events = [_payload_of(event) for event in data[:end].split(b"\n\n")]
        return self._checked([payload for payload in events if payload])

    def finish(self) -> list[bytes]:
        """Return what a stream that has ended still holds: the last event, if its blank line alone was missing.

        The standard drops an unfinished event. We take one whose last line is complete or whose data is ``[DONE]``: there
        are servers that end so, and a payload cut in its middle is no valid JSON and fails at the next step anyway.
        """
        rest = b"".join(self._carry)
        self._carry.clear()
        self._carry_size = 0
        payload = _payload_of(rest)
        return [payload] if payload and (rest.endswith(b"\n") or payload == b"[DONE]") else []

    def _normalised(self, data: bytes) -> bytes:
        if self._ends_in_cr and data.startswith(b"\n"):
            data = data[1:]
            if not data:
                self._ends_in_cr = False
                return data
        if data:
            self._ends_in_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _checked(self, payloads: list[bytes]) -> list[bytes]:
        if payloads and len(max(payloads, key=len)) > self._max_event:
            raise self._too_large()
        return payloads

    def _keep(self, data: bytes) -> None:
        self._carry.append(data)
        self._carry_size += len(data)
        if self._carry_size > self._max_event:
            raise self._too_large()

    def _too_large(self) -> UpstreamFailure:
        return UpstreamFailure(FailureKind.INVALID, f"an event of its stream is larger than {self._max_event} bytes")


def _payload_of(event: bytes) -> bytes:
    """Return the data of one event, its lines joined by LF; empty if it has none."""
    values = []
    for line in event.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(values)
