"""Where a call goes, and what its head says."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote, urlsplit

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.upstreams.addresses import ForbiddenAddressError, check_base_url


@dataclass(frozen=True, slots=True)
class Target:
    """Where connections lead. Those that may lead inside our network are kept apart from those that may not."""

    host: str
    port: int
    is_tls: bool
    allow_private: bool


class Auth(StrEnum):
    """How a provider wants its credential: what stands before it in the header's line."""

    BEARER = "Authorization: Bearer "
    API_KEY = "Api-Key: "
    X_API_KEY = "X-Api-Key: "


@lru_cache(maxsize=1024)
def address_and_head(
    method: str,
    base_url: str,
    path: str,
    credential: str,
    accept: str,
    allow_private: bool,
    auth: Auth = Auth.BEARER,
    headers: str = "",
) -> tuple[Target, bytes]:
    """Return where a call goes, and its request line and headers but for the length. Raises UpstreamFailure."""
    try:
        check_base_url(base_url, allow_private=allow_private)
    except ForbiddenAddressError as error:
        raise UpstreamFailure(FailureKind.PRIVATE_ADDRESS, str(error)) from None
    if credential and not (credential.isascii() and credential.isprintable()):
        raise UpstreamFailure(FailureKind.AUTH, "its credential holds characters that no header may hold")
    parts = urlsplit(base_url)
    is_tls = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if is_tls else 80)
    shown = f"[{host}]" if ":" in host else host
    lines = [
        f"{method} {quote(parts.path.rstrip('/') + path, safe='/%:@!$&()*+,;=~?')} HTTP/1.1",
        f"Host: {shown if port == (443 if is_tls else 80) else f'{shown}:{port}'}",
        *([f"{auth}{credential}"] if credential else []),
        f"Accept: {accept}",
        "Accept-Encoding: identity",
        "User-Agent: lumyx",
        *(["Content-Type: application/json"] if method == "POST" else []),
    ]
    return Target(host, port, is_tls, allow_private), ("".join(f"{line}\r\n" for line in lines) + headers).encode(
        "ascii"
    )
