"""Which addresses under /api/v1 are the management API's: the rest is the data plane's, and never reaches Django. Pure."""

API = "/api/v1/"
#: The first part of each address.
NAMES = frozenset(
    {"workspace", "keys", "members", "invitations", "usage", "generations", "credits", "audit-log", "openapi.json"}
)


def is_management(path: str) -> bool:
    """Tell whether a path belongs to the management API."""
    return path.startswith(API) and path.removeprefix(API).partition("/")[0] in NAMES
