"""Which addresses an upstream may have: nothing inside our own network unless the operator allows it.

Checked twice: at save by the text of the URL, and at connect by the addresses that its name really resolves to. Fails closed:
an address that cannot be read is refused.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

#: Azure's host agent has a public-looking address that only machines of its own network reach.
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Names that lead inside by definition (RFC 6761, RFC 6762) or by custom of the clouds.
_INSIDE_NAMES = ("localhost", "local", "internal", "lan", "home.arpa", "localdomain")


class ForbiddenAddressError(ValueError):
    """The URL or address may not be an upstream's; the text says why and what would allow it."""


def host_is_private(ip: str) -> bool:
    """Whether an IP address is anything but a plain public one: private, loopback, link-local, shared, multicast, metadata."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            address = inner
    return not address.is_global or address.is_multicast or address.is_reserved or address in _METADATA


def check_base_url(url: str, *, allow_private: bool) -> None:
    """Check an upstream's base URL at save and before each connect. Raises ForbiddenAddressError.

    Names are resolved at connect only (``gateway.upstreams.client``): what they lead to may change in between.
    """
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ForbiddenAddressError("The base URL may hold no blanks, control characters or letters outside ASCII.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ForbiddenAddressError(f"The base URL cannot be read: {error}.") from None
    if parts.scheme not in ("http", "https"):
        raise ForbiddenAddressError("The base URL must start with https:// or http://.")
    if not parts.hostname or port == 0:
        raise ForbiddenAddressError("The base URL names no host.")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenAddressError("The base URL may not hold a user name or password; use the credential instead.")
    if parts.query or parts.fragment:
        raise ForbiddenAddressError("The base URL may not hold a query or a fragment.")
    if allow_private:
        return
    host = parts.hostname.rstrip(".").lower()
    address = _address_in(host)
    if address is not None:
        if host_is_private(address):
            raise ForbiddenAddressError(f"{host} is an address inside a private network; {_HOW_TO_ALLOW}")
    elif "." not in host or host.endswith(tuple(f".{name}" for name in _INSIDE_NAMES)):
        raise ForbiddenAddressError(f"{host} is a name inside a private network; {_HOW_TO_ALLOW}")


_HOW_TO_ALLOW = "set allow_private_network on the upstream if that is meant."


def _address_in(host: str) -> str | None:
    """Return the IP address that a host is written as, also in the old forms (``127.1``, ``0x7f000001``, ``2130706433``)."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for (mapped, 6to4, Teredo, NAT64), None if it stands for itself."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
