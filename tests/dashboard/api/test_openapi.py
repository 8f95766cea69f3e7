"""The description of the API: it names every endpoint, and what the endpoints do is what it says.

schemathesis sends what the description allows, and what it does not, to the running application.
"""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from django.conf import LazySettings
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from pytest_django.live_server_helper import LiveServer
from schemathesis.specs.openapi.checks import positive_data_acceptance

from dashboard.api.paths import NAMES, is_management
from dashboard.api.routes import management_patterns
from gateway.app import GETS, ONE_MODEL, POSTS
from tests.dashboard.api.conftest import BASE, Managed, management_key
from tests.factories import make_api_key, make_cast
from tests.project.sources import ROOT

OPENAPI = f"{BASE}/openapi.json"
METHODS = ("get", "post", "patch", "delete")


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    """Return the description as anybody gets it."""
    response = client.get(OPENAPI)
    assert response.status_code == 200
    assert response["Cache-Control"] == "public, max-age=300"
    found: dict[str, Any] = response.json()
    return found


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Return path and method of each operation."""
    return {(path, method) for path, item in document["paths"].items() for method in item}


def test_it_is_openapi_3_1_with_whole_references_and_unique_names(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in document["components"]["schemas"]
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names)) == len(operations(document))
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_it_names_every_endpoint_of_the_data_plane(document: dict[str, Any]) -> None:
    served = {(f"{BASE}{path}", "post") for path in POSTS} | {(f"{BASE}{path}", "get") for path in GETS}
    served.add((f"{BASE}{ONE_MODEL}{{id}}", "get"))
    assert {operation for operation in operations(document) if not is_management(operation[0])} == served


def test_it_names_every_endpoint_of_the_management_api(document: dict[str, Any]) -> None:
    served = {
        (f"{BASE}/{re.sub(r'<(?:\w+:)?(\w+)>', r'{\1}', str(pattern.pattern))}", method)
        for pattern in management_patterns
        for method in METHODS
        if hasattr(pattern.callback.view_class, method)  # type: ignore[attr-defined]
    }
    assert {operation for operation in operations(document) if is_management(operation[0])} == served


def test_the_guide_lists_the_same_endpoints(document: dict[str, Any]) -> None:
    text = (ROOT / "docs/guide/management-api.md").read_text()
    listed = {(path, method.lower()) for method, path in re.findall(r"^\| `(\w+) (\S+)` \|", text, re.MULTILINE)}
    assert listed - {(OPENAPI, "get")} == {
        operation for operation in operations(document) if is_management(operation[0])
    }


def test_only_the_management_api_leaves_the_data_plane() -> None:
    first_parts = {str(pattern.pattern).split("/")[0] for pattern in management_patterns}
    assert first_parts | {"openapi.json"} == NAMES
    for path in [*POSTS, *GETS, "/models/a", "/keysmith", "/key"]:
        assert not is_management(f"{BASE}{path}"), path
    for path in ("/api/v1/keys", "/api/v1/keys/lx-1", "/api/v1/keys/", "/api/v1/openapi.json"):
        assert is_management(path), path
    for path in ("/api/v1", "/api/keys", "/api/v1/v1/keys", "/keys"):
        assert not is_management(path), path


def test_it_is_read_only(client: Client) -> None:
    response = client.post(OPENAPI)
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.fixture
def unhurried(settings: LazySettings) -> Iterator[None]:
    """Let a key ask as often as it likes, in this test's own transaction."""
    settings.LUMYX_MANAGEMENT_PER_MINUTE = 1_000_000
    # As Django's own test client does: a request would end the connection that the test's rows are seen through.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)
    cache.clear()


def test_what_the_endpoints_do_is_what_the_description_says(
    managed: Managed, document: dict[str, Any], unhurried: None
) -> None:
    secret = management_key(managed.workspace, managed.cast.alice).secret
    described = {**document, "paths": {path: item for path, item in document["paths"].items() if is_management(path)}}
    schema = schemathesis.openapi.from_dict(described)
    schema.app = get_wsgi_application()
    asked = 0

    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        strategy = operation.as_strategy()

        @hypothesis_settings(
            max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
        )
        @given(case=strategy)
        def check(case: Any) -> None:
            nonlocal asked
            asked += 1
            # What is valid by its shape may still be refused by a rule (a role that is not the maker's to give), with a 400.
            case.call_and_validate(
                headers={"Authorization": f"Bearer {secret}"}, excluded_checks=[positive_data_acceptance]
            )

        check()
    assert asked > 10 * len(operations(described)) / 2


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_client_that_is_generated_from_it_lists_keys(
    live_server: LiveServer, tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = make_cast()
    prefix = make_api_key(cast.workspace, name="seen").row.prefix
    secret = management_key(cast.workspace, cast.alice).secret
    description = tmp_path / "openapi.json"
    description.write_bytes(Client().get(OPENAPI).content)
    program = Path(sys.executable).parent / "openapi-python-client"
    subprocess.run(
        [
            program,
            "generate",
            "--path",
            description,
            "--output-path",
            tmp_path / "out",
            "--meta",
            "none",
            "--fail-on-warning",
        ],
        check=True,
        capture_output=True,
        timeout=120,
        # It formats what it made with the ruff beside it.
        env={**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    shutil.move(tmp_path / "out", tmp_path / "lumyx_generated_client")
    monkeypatch.syspath_prepend(str(tmp_path))
    generated = importlib.import_module("lumyx_generated_client")
    list_keys = importlib.import_module("lumyx_generated_client.api.keys.list_keys")
    with generated.AuthenticatedClient(base_url=live_server.url, token=secret) as client:
        page = list_keys.sync(client=client)
    assert [(key.name, key.prefix) for key in page.data] == [("seen", prefix)]
    assert page.has_more is False
