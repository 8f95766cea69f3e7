"""Who sends a request to the management API: a management key, and what its maker may do now. Fails closed."""

from django.conf import settings
from django.http import HttpRequest

from accounts.roles import Permission, role_allows
from accounts.selectors.management_keys import Bearer, bearer_of
from accounts.services.management_keys import note_management_key_use
from gateway.errors import DO_NOT_RETRY, ApiError
from lumyx.lib import crypto

HOW = "Send a management key as `Authorization: Bearer lm-…`. They are made at /dashboard/management-keys."
READS = frozenset({"GET", "HEAD"})


def _refusal(code: str, message: str) -> ApiError:
    return ApiError(401, code, message, headers=[DO_NOT_RETRY, (b"www-authenticate", b"Bearer")])


def authenticate(request: HttpRequest) -> Bearer:
    """Return whose key a request carries.

    Raises ApiError: 401 for no key that works, 403 for an API key, and for a workspace that is stopped.
    """
    header = request.headers.get("authorization", "").strip()
    if not header:
        raise _refusal("missing_api_key", f"No management key was sent. {HOW}")
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer":
        raise _refusal("invalid_api_key", f"The Authorization header must use the Bearer scheme. {HOW}")
    if secret.startswith(crypto.API_KEY_PREFIX):
        # Said without a look-up: whether the key exists is nobody's business here.
        raise ApiError(
            403,
            "management_key_required",
            f"This is an API key: it calls models, and manages nothing. {HOW}",
            headers=[DO_NOT_RETRY],
        )
    if not crypto.management_key_is_well_formed(secret):
        raise _refusal("invalid_api_key", f"Invalid management key. {HOW}")
    bearer = bearer_of(crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER))
    if bearer is None:
        raise _refusal("invalid_api_key", f"Invalid management key. {HOW}")
    _check_standing(bearer)
    note_management_key_use(bearer.key)
    return bearer


def _check_standing(bearer: Bearer) -> None:
    state = bearer.key.state
    if state == "revoked":
        raise _refusal("revoked_api_key", f"This management key was revoked. {HOW}")
    if state == "expired":
        raise _refusal("expired_api_key", f"This management key has expired. {HOW}")
    if not bearer.role:
        raise _refusal(
            "revoked_api_key",
            "Whoever made this management key has left the workspace. Ask an owner or admin for a new one.",
        )
    if bearer.key.workspace.is_suspended:
        raise ApiError(403, "workspace_suspended", "This workspace is suspended. Ask the operator of this service.")


def check_right(bearer: Bearer, *, method: str, permission: Permission) -> None:
    """Raise ApiError 403 scope_missing for what neither the key nor its maker's role allows."""
    if bearer.key.is_read_only and method not in READS:
        raise ApiError(
            403,
            "scope_missing",
            "This management key may only read. Use one that may change things.",
            headers=[DO_NOT_RETRY],
        )
    if not role_allows(bearer.role, permission):
        raise ApiError(
            403,
            "scope_missing",
            f"Whoever made this management key has the role {bearer.role} now, which does not allow this. "
            "Use a key of an owner or admin.",
            headers=[DO_NOT_RETRY],
        )
