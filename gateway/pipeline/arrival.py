"""A request as it came in, and where from. Pure.

Whose address it is, is the peer's word alone: a header is believed as far as ``TRUSTED_PROXY_COUNT`` proxies have written it, each
of which appends whom it saw. Fails closed: what cannot be told is no address, and no list of networks holds it.
"""

import uuid
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from gateway.http import Line, Receive, Send
from lumyx.lib.ids import uuid7

type Address = IPv4Address | IPv6Address


class Arrival(msgspec.Struct):
    """A request as it came in: its headers, and the two ends of its connection."""

    headers: Iterable[tuple[bytes, bytes]]
    receive: Receive
    send: Send
    line: Line | None = None
    #: What stands behind the question mark of its address.
    query: bytes = b""
    id: uuid.UUID = msgspec.field(default_factory=uuid7)
    #: The body has come in to its end, or there is none.
    is_read: bool = False
    #: Whom the server saw at the other end: a client, or a proxy of ours; "" on a socket without addresses.
    peer: str = ""


def client_address(arrival: Arrival, *, proxies: int) -> Address | None:
    """Return the client's address behind so many proxies of ours; None where it cannot be told."""
    if proxies <= 0:
        return _address_in(arrival.peer)
    seen = [part for name, value in arrival.headers if name == b"x-forwarded-for" for part in value.split(b",")]
    # Fewer entries than proxies: it did not come through all of them, or one does not say whom it saw.
    return _address_in(seen[-proxies].decode("latin-1")) if len(seen) >= proxies else None


def _address_in(text: str) -> Address | None:
    """Return the address in "203.0.113.7", "203.0.113.7:4711", "2001:db8::1" or "[2001:db8::1]:4711"."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
