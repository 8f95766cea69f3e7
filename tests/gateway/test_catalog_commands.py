"""The operators' commands of this app: catalog, usage and upstream, with --json, exit codes and clear errors."""

import io
import json
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User, Workspace
from gateway.models import CatalogModel, Route, Upstream
from gateway.services.credentials import set_credential
from gateway.services.usage import record_usage
from tests.gateway.records import usage_record

pytestmark = pytest.mark.django_db
FILE = """
[[upstreams]]
name = "sandbox"
provider = "sandbox"
protocol = "sandbox"

[[models]]
id = "m"
context_window = 100
free = true
[[models.routes]]
upstream = "sandbox"
model = "echo"
"""


def run(*words: str) -> dict[str, Any]:
    """Run a command with --json and return the object on its last line."""
    out = io.StringIO()
    call_command(*words, "--json", stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return answer


def run_badly(*words: str) -> tuple[dict[str, Any], str]:
    """Run a command that must fail; return its object and its message."""
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(*words, "--json", stdout=out)
    return json.loads(out.getvalue().splitlines()[-1]), str(caught.value)


def run_for_people(*words: str) -> str:
    """Run a command without --json."""
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write the catalog file."""
    path = tmp_path / "catalog.toml"
    path.write_text(FILE)
    return path


def test_apply_says_what_it_did_and_twice_that_it_did_nothing(file: Path) -> None:
    first = run("catalog", "apply", str(file))
    assert first["created"] == ["upstream sandbox", "model m", "price m v1", "route m → sandbox: echo"]
    again = run("catalog", "apply", str(file))
    assert (again["created"], again["updated"], again["removed"], len(again["unchanged"])) == ([], [], [], 4)
    assert run_for_people("catalog", "apply", str(file)).strip() == "0 created, 0 updated, 0 removed, 4 unchanged."


def test_only_prune_removes(file: Path) -> None:
    run("catalog", "apply", str(file))
    file.write_text(FILE.partition("[[models]]")[0])
    assert run("catalog", "apply", str(file))["removed"] == []
    assert run("catalog", "apply", str(file), "--prune")["removed"] == ["model m"]
    assert not CatalogModel.objects.exists()


def test_a_file_that_is_missing_or_no_toml_or_wrong_is_a_clear_error(file: Path) -> None:
    body, message = run_badly("catalog", "apply", str(file) + ".no")
    assert "No such file or directory" in message
    assert body["error"]["code"] == "failed"
    file.write_text("[[upstreams")
    assert "is not TOML" in run_badly("catalog", "apply", str(file))[1]
    file.write_bytes(b"\xff\xfe")
    assert "is not TOML" in run_badly("catalog", "apply", str(file))[1]
    file.write_text(FILE.replace("echo", "").replace("100", '"100"'))
    _, message = run_badly("catalog", "apply", str(file))
    assert "2 problems" in message
    assert 'models[0] "m".context_window: must be a whole number' in message
    assert not Upstream.objects.exists()


def test_a_file_that_is_nested_without_end_is_a_clear_error(file: Path) -> None:
    file.write_text("models = " + "[" * 20_000 + "]" * 20_000)
    assert "is nested too deeply" in run_badly("catalog", "apply", str(file))[1]


def test_export_prints_a_file_that_applies(file: Path) -> None:
    run("catalog", "apply", str(file))
    text = run_for_people("catalog", "export")
    file.write_text(text)
    assert len(run("catalog", "apply", str(file), "--prune")["unchanged"]) == 4
    assert run("catalog", "export") == tomllib.loads(text)


def test_usage_count_counts_all_or_one_workspace() -> None:
    owner = User.objects.create(email="alice@example.com")
    workspace = Workspace.objects.create(slug="alice", name="Alice", owner=owner)
    assert run("usage", "count") == {"events": 0, "charge": "0"}
    record_usage([usage_record(workspace_id=workspace.pk, charge=5), usage_record(workspace_id=workspace.pk + 1)])
    assert run("usage", "count") == {"events": 2, "charge": "18005"}
    assert run("usage", "count", "--workspace", "alice") == {"events": 1, "charge": "5"}
    assert 'no workspace "bob"' in run_badly("usage", "count", "--workspace", "bob")[1]


def test_usage_audit_finds_a_charge_that_the_ledger_never_took() -> None:
    assert run("usage", "audit") == {"broken": []}
    record_usage([usage_record(workspace_id=7, charge=5)])
    body, message = run_badly("usage", "audit")
    assert body["broken"] == [
        {"invariant": "usage_events_equal_usage_entries", "workspace_id": 7, "events": "5", "entries": "0"}
    ]
    assert "1 difference" in message


# --- upstream test ----------------------------------------------------------------------------------------------------


class Provider(BaseHTTPRequestHandler):
    """A provider that answers /models and /chat/completions for one key."""

    seen: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    override: ClassVar[tuple[int, bytes] | None] = None

    def _answer(self, body: dict[str, Any]) -> None:
        size = int(self.headers.get("content-length") or 0)
        self.seen.append((self.path, json.loads(self.rfile.read(size)) if size else {}))
        status, raw = 200, json.dumps(body).encode()
        if self.override:
            status, raw = self.override
        elif self.headers.get("authorization") != "Bearer sk-right" and not self._is_asked_as_anthropic():
            status, raw = 401, b'{"error": {"message": "wrong key sk-wrong", "type": "x", "code": "invalid_api_key"}}'
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _is_asked_as_anthropic(self) -> bool:
        return self.headers.get("x-api-key") == "sk-right" and self.headers.get("anthropic-version") == "2023-06-01"

    def do_GET(self) -> None:
        """Answer the list of models."""
        self._answer({"object": "list", "data": [{"id": "a"}, {"id": "b"}]})

    def do_POST(self) -> None:
        """Answer a call."""
        if self.path == "/v1/messages":
            self._answer({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "p"}]})
            return
        self._answer({"choices": [{"index": 0, "message": {"role": "assistant", "content": "p"}}]})

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def provider() -> Iterator[Upstream]:
    """Start a provider and store it as an upstream."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Provider.seen, Provider.override = [], None
    row = Upstream(
        name="theirs",
        provider="openai-compatible",
        protocol="openai_chat",
        base_url=f"http://127.0.0.1:{server.server_port}/v1",
        allow_private_network=True,
        first_byte_timeout=2,
    )
    set_credential(row, "sk-right")
    row.save()
    yield row
    server.shutdown()
    thread.join()
    server.server_close()


def route_to(upstream: Upstream, upstream_model: str) -> None:
    """Add a model with a route to an upstream."""
    model = CatalogModel.objects.create(public_id="x", display_name="X", context_window=9)
    Route.objects.create(model=model, upstream=upstream, upstream_model=upstream_model)


def test_an_upstream_without_a_route_is_asked_for_its_models(provider: Upstream) -> None:
    answer = run("upstream", "test", "theirs")
    assert (answer["ok"], answer["status"], answer["detail"]) == (True, 200, "It lists 2 models.")
    assert isinstance(answer["latency_ms"], int)
    assert Provider.seen == [("/v1/models", {})]


def test_an_upstream_with_a_route_gets_a_call_of_one_token(provider: Upstream) -> None:
    route_to(provider, "gpt-x")
    assert run("upstream", "test", "theirs")["ok"] is True
    ((path, body),) = Provider.seen
    assert path == "/v1/chat/completions"
    assert body["model"] == "gpt-x"
    assert 1 in (body.get("max_tokens"), body.get("max_completion_tokens"))


def test_an_upstream_of_messages_is_asked_in_its_own_way(provider: Upstream) -> None:
    provider.protocol, provider.base_url = "anthropic_messages", provider.base_url.removesuffix("/v1")
    provider.save()
    assert run("upstream", "test", "theirs")["ok"] is True
    route_to(provider, "claude-x")
    assert run("upstream", "test", "theirs")["ok"] is True
    (listed, _), (called, body) = Provider.seen
    assert (listed, called) == ("/v1/models", "/v1/messages")
    assert (body["model"], body["max_tokens"]) == ("claude-x", 1)


@pytest.mark.parametrize("with_route", [True, False])
@pytest.mark.parametrize(
    ("override", "status", "detail"),
    [
        ((500, b"boom"), 500, "It failed."),
        ((404, b"{}"), 404, "It knows no such path or model"),
        ((429, b"{}"), 429, "limits us"),
        ((302, b""), 302, "does not answer as this protocol does"),
        ((200, b"<html>"), 200, "does not answer as this protocol does"),
        ((200, b"{}"), 200, "does not answer as this protocol does"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_failing_upstream_is_exit_1_with_its_status_and_what_to_do(
    provider: Upstream, with_route: bool, override: tuple[int, bytes], status: int, detail: str
) -> None:
    if with_route:
        route_to(provider, "gpt-x")
    Provider.override = override
    body, message = run_badly("upstream", "test", "theirs")
    assert (body["ok"], body["status"]) == (False, status)
    assert detail in body["detail"]
    assert message == "theirs does not answer as it should."


def test_a_wrong_credential_is_told_but_not_repeated(provider: Upstream) -> None:
    set_credential(provider, "sk-wrong")
    provider.save()
    body, _ = run_badly("upstream", "test", "theirs")
    assert (body["ok"], body["status"]) == (False, 401)
    assert body["detail"].startswith("It refuses the credential.")
    assert "sk-wrong" not in body["detail"]


def test_an_upstream_that_is_away_or_inside_is_told_apart(provider: Upstream) -> None:
    Upstream.objects.update(allow_private_network=False)
    body, _ = run_badly("upstream", "test", "theirs")
    assert (body["ok"], body["status"]) == (False, None)
    assert "allow_private_network" in body["detail"]
    Upstream.objects.update(allow_private_network=True, base_url="http://127.0.0.1:1/v1")
    body, _ = run_badly("upstream", "test", "theirs")
    assert (body["status"], body["detail"][:28]) == (None, "It could not be reached: che")


def test_the_sandbox_answers_its_test_in_process(file: Path) -> None:
    Upstream.objects.create(name="sandbox", provider="sandbox", protocol="sandbox")
    assert run("upstream", "test", "sandbox")["ok"] is True
    assert "sandbox: echo answered a call." in run_for_people("upstream", "test", "sandbox")


def test_an_upstream_that_does_not_exist_is_named_with_those_that_do() -> None:
    assert 'no upstream "x" (there are: none yet)' in run_badly("upstream", "test", "x")[1]


def test_a_credential_of_another_master_key_is_told(provider: Upstream, settings: Any) -> None:
    settings.LUMYX_ENCRYPTION_KEY = b"z" * 32
    assert "Set it again" in run_badly("upstream", "test", "theirs")[0]["detail"]
