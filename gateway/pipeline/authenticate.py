"""Stage 1: who is calling. Works from the headers alone, before a byte of the body is read.

Fails closed; an outage is a 503 (StoreUnavailableError passes through), never a 401.
"""

from collections.abc import Iterable

from gateway.errors import DO_NOT_RETRY, ApiError
from gateway.pipeline.arrival import Arrival, client_address
from gateway.store import Store
from gateway.types import Principal
from lumyx.lib import clock
from lumyx.lib.crypto import MANAGEMENT_KEY_PREFIX

HOW = "Send your API key as `Authorization: Bearer lx-…`. Keys are made at /dashboard/api-keys."


def _refusal(code: str, message: str) -> ApiError:
    # Without the header, some agents retry a 401 for most of a minute.
    return ApiError(401, code, message, headers=[DO_NOT_RETRY, (b"www-authenticate", b"Bearer")])


def find_secret(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key that the headers carry, in either style that SDKs use; None when there is none.

    Raises:
        ApiError: 401 conflicting_api_keys for two different keys, invalid_api_key for another scheme than Bearer.
    """
    found: set[str] = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, credential = value.strip().partition(b" ")
            if scheme.lower() != b"bearer":
                raise _refusal("invalid_api_key", f"The Authorization header must use the Bearer scheme. {HOW}")
            found.add(credential.strip().decode("latin-1"))
        elif name == b"x-api-key":
            found.add(value.strip().decode("latin-1"))
    found.discard("")
    if len(found) > 1:
        raise _refusal("conflicting_api_keys", "Two different API keys were sent at once. Send one of them.")
    return next(iter(found), None)


async def authenticate(arrival: Arrival, *, store: Store, proxies: int) -> Principal:
    """Return the principal of a request that came through so many proxies of ours.

    Raises ApiError (401, 403) and StoreUnavailableError.
    """
    principal = await authenticate_if_given(arrival, store=store, proxies=proxies)
    if principal is None:
        raise _refusal("missing_api_key", f"No API key was sent. {HOW}")
    return principal


async def authenticate_if_given(arrival: Arrival, *, store: Store, proxies: int) -> Principal | None:
    """Return the principal, or None when no key was sent; a key that is sent must be right."""
    secret = find_secret(arrival.headers)
    if secret is None:
        return None
    if secret.startswith(MANAGEMENT_KEY_PREFIX):
        raise _refusal("invalid_api_key", f"This is a management key: it calls no models. {HOW}")
    principal = await store.principal(secret)
    if principal is None:
        raise _refusal("invalid_api_key", "Invalid API key")
    check_standing(principal)
    if principal.networks:
        _check_address(arrival, principal, proxies=proxies)
    return principal


def check_standing(principal: Principal) -> None:
    """Raise the ApiError that a key's or workspace's state calls for."""
    if principal.secret_ends_at is not None and principal.secret_ends_at <= clock.now():
        raise rotated()
    if principal.orphaned:
        raise orphaned()
    if principal.revoked:
        raise revoked()
    if principal.expires_at is not None and principal.expires_at <= clock.now():
        raise expired()
    if principal.disabled:
        raise disabled()
    if principal.closing:
        raise closing()
    if principal.suspended:
        raise suspended()


def _check_address(arrival: Arrival, principal: Principal, *, proxies: int) -> None:
    address = client_address(arrival, proxies=proxies)
    if address is None or not any(address in network for network in principal.networks):
        seen = "an address that cannot be told" if address is None else str(address)
        raise ApiError(
            403,
            "ip_not_allowed",
            f"This API key may not be used from {seen}. Add the address to the key at /dashboard/api-keys, "
            "or use another key.",
            headers=[DO_NOT_RETRY],
        )


def rotated() -> ApiError:
    """Return the 401 of a secret whose time after a rotation is over."""
    return _refusal(
        "rotated_api_key", "This API key was rotated, and this secret has ended. Use the one that took its place."
    )


def orphaned() -> ApiError:
    """Return the 403 of a key whose maker may not manage keys any more."""
    return ApiError(
        403,
        "key_maker_lost_access",
        "Whoever made this API key has left the workspace, or may not manage keys any more. "
        "Ask an owner, admin or developer of the workspace for a key of theirs.",
        headers=[DO_NOT_RETRY],
    )


def disabled() -> ApiError:
    """Return the 401 of a key that is switched off."""
    return _refusal("disabled_api_key", "This API key is switched off. It is switched on at /dashboard/api-keys.")


def revoked() -> ApiError:
    """Return the 401 of a revoked key."""
    return _refusal("revoked_api_key", "This API key was revoked. Make a new one at /dashboard/api-keys.")


def expired() -> ApiError:
    """Return the 401 of a key past its expiry."""
    return _refusal(
        "expired_api_key", "This API key has expired. Give it a later end, or make a new one, at /dashboard/api-keys."
    )


def closing() -> ApiError:
    """Return the 403 of a workspace that is being deleted."""
    return ApiError(
        403,
        "workspace_closed",
        "This workspace is being deleted, so its keys are refused. Its owner can take that back at /dashboard/workspace.",
    )


def suspended() -> ApiError:
    """Return the 403 of a suspended workspace."""
    return ApiError(403, "workspace_suspended", "This workspace is suspended. Ask the operator of this service.")
