"""The authorization table of /api: what every caller gets from each endpoint of the data plane and of the management API.

The callers' roles are those that the makers of their keys have now. An endpoint without a row fails. What each column's key is,
and the worlds, are in ``api_callers``.
"""

import json
from typing import Any

import pytest
from django.db import transaction

from dashboard.api.paths import is_management
from dashboard.api.routes import api_patterns
from gateway.app import BASES, GETS, HELLO, HELLOS, ONE_MODEL, POSTS, SHORT_BASE, SHORT_ENDPOINTS
from lumyx.process import Process
from tests.gateway.asgi import Client
from tests.gateway.processes import running_process
from tests.gateway.test_store import in_thread
from tests.project.api_callers import CALLERS, ApiWorld, make_api_world

API = "/api/v1"

#: What a cell means: status and code.
ANSWERS: dict[str, tuple[int, str]] = {
    "ok": (200, ""),
    "made": (201, ""),
    "done": (204, ""),
    "missing": (401, "missing_api_key"),
    "revoked": (401, "revoked_api_key"),
    "expired": (401, "expired_api_key"),
    "stopped": (403, "workspace_suspended"),
    "barred": (403, "key_maker_lost_access"),
    "scope": (403, "scope_missing"),
    "hidden": (404, "not_found"),
}

# In the order of CALLERS: anonymous, other, viewer, billing, developer, admin, owner, revoked, expired, suspended, staff.
ASKS_A_MODEL = "missing ok barred barred ok ok ok revoked expired stopped missing"
ABOUT_ITSELF = ASKS_A_MODEL
OWN_RECEIPT = "missing hidden barred barred ok ok ok revoked expired stopped missing"
#: Without a key it is everybody's; a key that is sent has to be right.
PUBLIC = "ok ok barred barred ok ok ok revoked expired stopped ok"
EVERYBODY = "ok ok ok ok ok ok ok ok ok ok ok"

SEES = "missing ok ok ok ok ok ok revoked expired stopped missing"
SEES_ONE = "missing hidden ok ok ok ok ok revoked expired stopped missing"
SEES_MONEY = "missing ok scope ok scope ok ok revoked expired stopped missing"
SEES_PEOPLE = "missing ok scope scope scope ok ok revoked expired stopped missing"
MAKES_KEYS = "missing made scope scope made made made revoked expired stopped missing"
CHANGES_KEYS = "missing hidden scope scope ok ok ok revoked expired stopped missing"
INVITES = "missing made scope scope scope made made revoked expired stopped missing"
CHANGES_PEOPLE = "missing hidden scope scope scope ok ok revoked expired stopped missing"
REMOVES_PEOPLE = "missing hidden scope scope scope done done revoked expired stopped missing"
CHANGES_ALL = "missing ok scope scope scope ok ok revoked expired stopped missing"
#: Neither a name nor an endpoint: below the management API it is not found by anybody, with whatever key.
NOTHING = "hidden hidden hidden hidden hidden hidden hidden hidden hidden hidden hidden"

CHAT = {"model": "sandbox/paid", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}

#: (method, address) → the cells, and the body. {…} are ids in the workspace of the roles.
DATA_PLANE: dict[tuple[str, str], tuple[str, Any]] = {
    ("POST", "/chat/completions"): (ASKS_A_MODEL, CHAT),
    ("POST", "/messages"): (ASKS_A_MODEL, CHAT),
    ("POST", "/messages/count_tokens"): (ABOUT_ITSELF, CHAT),
    ("POST", "/embeddings"): (ASKS_A_MODEL, {"model": "sandbox/embedding", "input": "Hi"}),
    ("POST", "/quote?protocol=chat"): (ABOUT_ITSELF, CHAT),
    ("GET", "/generation?id={request_id}"): (OWN_RECEIPT, None),
    ("GET", "/key"): (ABOUT_ITSELF, None),
    ("GET", "/models"): (PUBLIC, None),
    ("GET", "/models/sandbox/paid"): (PUBLIC, None),
    ("HEAD", HELLO): (EVERYBODY, None),
}

MANAGEMENT: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", "workspace"): (SEES, None),
    ("PATCH", "workspace"): (CHANGES_ALL, {"name": "changed"}),
    ("GET", "keys"): (SEES, None),
    ("POST", "keys"): (MAKES_KEYS, {"name": "made"}),
    ("GET", "keys/{prefix}"): (SEES_ONE, None),
    ("PATCH", "keys/{prefix}"): (CHANGES_KEYS, {"name": "changed"}),
    ("DELETE", "keys/{prefix}"): (CHANGES_KEYS, None),
    ("POST", "keys/{prefix}/rotate"): (CHANGES_KEYS, {}),
    ("GET", "members"): (SEES, None),
    ("GET", "members/{user_id}"): (SEES_ONE, None),
    ("PATCH", "members/{user_id}"): (CHANGES_PEOPLE, {"role": "viewer"}),
    ("DELETE", "members/{user_id}"): (REMOVES_PEOPLE, None),
    ("GET", "invitations"): (SEES_PEOPLE, None),
    ("POST", "invitations"): (INVITES, {"email": "new@example.com", "role": "viewer"}),
    ("DELETE", "invitations/{invitation_id}"): (REMOVES_PEOPLE, None),
    ("POST", "invitations/{invitation_id}/send"): (CHANGES_PEOPLE, {}),
    ("GET", "usage"): (SEES, None),
    ("GET", "generations"): (SEES, None),
    ("GET", "generations?key={prefix}"): (SEES_ONE, None),
    ("GET", "credits"): (SEES_MONEY, None),
    ("GET", "credits/ledger"): (SEES_MONEY, None),
    ("GET", "audit-log"): (SEES_PEOPLE, None),
    ("GET", "openapi.json"): (EVERYBODY, None),
    ("GET", "keys/a/b/c"): (NOTHING, None),
}


def cells_of(words: str) -> dict[str, tuple[int, str]]:
    """Return what each caller gets."""
    return {caller: ANSWERS[word] for caller, word in zip(CALLERS, words.split(), strict=True)}


def test_every_endpoint_has_a_row_and_every_row_an_endpoint() -> None:
    served = {("POST", path) for path in POSTS} | {("GET", path) for path in GETS}
    rows = {(method, path.partition("?")[0]) for method, path in DATA_PLANE}
    assert rows == served | {("GET", f"{ONE_MODEL}sandbox/paid"), ("HEAD", HELLO)}
    names = {"slug:prefix": "prefix", "int:user_id": "user_id", "int:invitation_id": "invitation_id"}
    endpoints = {("GET", "openapi.json"), ("GET", "keys/a/b/c")}
    for pattern in api_patterns:
        path = str(pattern.pattern)
        for route, name in names.items():
            path = path.replace(f"<{route}>", f"{{{name}}}")
        if view := getattr(pattern.callback, "view_class", None):
            endpoints |= {(method, path) for method in view.needs}
    assert {(method, path.partition("?")[0]) for method, path in MANAGEMENT} == endpoints


@pytest.mark.django_db
def test_the_management_api_answers_as_the_table_says() -> None:
    world = make_api_world()
    wrong = []
    for (method, path), (words, body) in MANAGEMENT.items():
        address = f"{API}/{world.fill(path)}"
        assert is_management(address.partition("?")[0])
        for caller, expected in cells_of(words).items():
            with transaction.atomic():
                response = world.managers[caller].generic(
                    method, address, b"" if body is None else json.dumps(body), content_type="application/json"
                )
                transaction.set_rollback(True)
            found = response.status_code, _code(response.content)
            if found != expected:
                wrong.append(f"{method} {address} by {caller}: {found}, not {expected}")
            if caller in {"anonymous", "other", "staff"} and world.is_told_by(response.content):
                wrong.append(f"{method} {address} tells {caller} about another's workspace")
    assert wrong == []


@pytest.mark.django_db(transaction=True)
async def test_the_data_plane_answers_as_the_table_says() -> None:
    world: ApiWorld = await in_thread(make_api_world)
    wrong = []
    async with running_process() as process:
        for (method, path), (words, body) in DATA_PLANE.items():
            for base in _bases_of(path):
                for caller, expected in cells_of(words).items():
                    client = await _ask(process, world.secrets[caller], method, base, world.fill(path), body)
                    found = client.status, _code(client.body) if client.status != 200 else ""
                    if found != expected:
                        wrong.append(f"{method} {base}{path} by {caller}: {found}, not {expected}")
                    if caller in {"anonymous", "other", "staff"} and world.is_told_by(client.body):
                        wrong.append(f"{method} {base}{path} tells {caller} about another's workspace")
    assert wrong == []


async def _ask(process: Process, secret: str | None, method: str, base: str, path: str, body: Any) -> Client:
    data = b"" if body is None else json.dumps(body).encode()
    headers = [("content-length", str(len(data)))] if data else []
    address, _, query = path.partition("?")
    client = Client(
        method=method,
        path=f"{base}{address}",
        headers=[*headers, *([("authorization", f"Bearer {secret}")] if secret else [])],
        parts=[data],
    )
    client.scope["query_string"] = query.encode()
    return await client.run(process.gateway_app)


def _bases_of(path: str) -> tuple[str, ...]:
    if path == HELLO:
        return tuple(address.removesuffix(HELLO) for address in sorted(HELLOS))
    return (*BASES, SHORT_BASE) if path in SHORT_ENDPOINTS else BASES


def _code(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    error = found.get("error") if isinstance(found, dict) else None
    return str(error["code"]) if isinstance(error, dict) else ""
