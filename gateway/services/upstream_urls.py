"""Which base URLs an upstream may have: checked when it is saved, by the catalog file and by the admin alike.

The address is checked again at every connect (gateway.upstreams.client), because a name may come to mean another one.
"""

from gateway.models.catalog import Protocol
from gateway.upstreams.addresses import ForbiddenAddressError, check_base_url


def url_problems(protocol: str, base_url: str, *, allow_private_network: bool) -> list[str]:
    """Return what is wrong with a base URL for a protocol; empty when it can be used."""
    if protocol == Protocol.SANDBOX:
        return ["the sandbox answers in process and takes no URL; leave it out"] if base_url else []
    if not base_url:
        return ['is missing: where the API is, such as "https://api.example.com/v1"']
    problems: list[str] = []
    if not base_url.isascii() or not base_url.isprintable() or " " in base_url or "\\" in base_url:
        problems.append("must be plain ASCII, without spaces and backslashes")
    if base_url.endswith(("?", "#")):
        problems.append("must have no query and no fragment")
    if base_url.endswith("/"):
        problems.append("must not end with a slash")
    try:
        check_base_url(base_url, allow_private=allow_private_network)
    except ForbiddenAddressError as error:
        problems.append(str(error))
    return problems
