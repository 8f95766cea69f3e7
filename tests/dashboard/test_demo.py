"""The demo that ``make run`` seeds: it works at once, happens once, and mends what was lost."""

import io
import json
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.models import ApiKey, User
from accounts.selectors.principals import principal_row
from billing.models import CreditGrant
from billing.selectors.ledger import balance_of
from dashboard.flows import demo
from dashboard.flows.demo import Demo, seed_demo
from gateway.models import Price
from gateway.selectors.catalog import load_snapshot
from lumyx.lib import crypto
from lumyx.lib.money import NANO_PER_USD

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own Ollama is not part of the test."""
    monkeypatch.setattr(demo, "_ollama_catalog", lambda: None)


def seed(folder: Path, **environ: str) -> Demo:
    return seed_demo(folder=folder, environ=environ)


def works(secret: str) -> bool:
    row = principal_row(crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER))
    return row is not None and not row.revoked and row.email_verified


def test_a_fresh_database_gets_a_sign_in_credit_a_key_and_models(tmp_path: Path) -> None:
    made = seed(tmp_path)
    user = authenticate(username=made.email, email=made.email, password=made.password)
    assert user is not None
    row = ApiKey.objects.get()
    assert works(made.api_key)
    assert balance_of(row.workspace_id).available == 10 * NANO_PER_USD
    assert made.model in load_snapshot().models
    assert made.notes == []


def test_a_second_start_changes_nothing_and_tells_the_same(tmp_path: Path) -> None:
    first, second = seed(tmp_path), seed(tmp_path)
    assert (first.password, first.api_key) == (second.password, second.api_key)
    assert (User.objects.count(), ApiKey.objects.count(), CreditGrant.objects.exclude(kind="overdraft").count()) == (
        1,
        1,
        1,
    )


def test_the_secrets_are_in_one_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    made = seed(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
    assert (tmp_path / "demo.json").stat().st_mode & 0o777 == 0o600
    assert made.api_key in (tmp_path / "demo.json").read_text()
    assert made.api_key not in repr(made)


def test_without_its_file_there_is_a_new_password_and_key_for_the_same_person(tmp_path: Path) -> None:
    first = seed(tmp_path)
    (tmp_path / "demo.json").unlink()
    second = seed(tmp_path)
    assert second.password != first.password
    assert User.objects.get().check_password(second.password)
    assert works(second.api_key)
    assert CreditGrant.objects.exclude(kind="overdraft").count() == 1


def test_a_revoked_key_is_replaced(tmp_path: Path) -> None:
    first = seed(tmp_path)
    ApiKey.objects.update(revoked_at="2026-01-01T00:00:00Z")
    second = seed(tmp_path)
    assert second.api_key != first.api_key
    assert works(second.api_key)


def test_what_was_edited_in_the_admin_survives_the_next_start(tmp_path: Path) -> None:
    seed(tmp_path)
    prices = Price.objects.count()
    edited = load_snapshot().models["sandbox/paid"]
    model = Price.objects.filter(model__public_id="sandbox/paid").get().model
    model.display_name = "Mine"
    model.save()
    seed(tmp_path)
    assert edited.display_name != load_snapshot().models["sandbox/paid"].display_name == "Mine"
    assert Price.objects.count() == prices


def test_keys_of_providers_add_their_models_or_say_what_is_missing(tmp_path: Path) -> None:
    made = seed(tmp_path, OPENAI_API_KEY="sk-not-real", ANTHROPIC_API_KEY="sk-ant-not-real")
    models = load_snapshot().models
    assert "openai/gpt-4.1-mini" in models
    assert "anthropic/claude-haiku-4.5" in models
    assert any("ANTHROPIC_API_KEY is set" in note for note in made.notes)
    assert "not-real" not in (tmp_path / "demo.json").read_text()


def test_a_local_ollama_adds_its_models_for_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the fixture above hides it

    def answer(url: str, **_options: object) -> httpx.Response:
        return httpx.Response(200, json={"models": [{"name": "tiny:1b"}]}, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", answer)
    made = seed(tmp_path)
    model = load_snapshot().models["ollama/tiny:1b"]
    assert model.is_free
    assert any("Ollama" in note for note in made.notes)


@pytest.mark.parametrize(
    "reply",
    [httpx.ConnectError("no"), httpx.Response(500), httpx.Response(200, json={"x": 1}), httpx.Response(200, text="<")],
)
def test_whatever_else_listens_on_ollamas_port_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: httpx.Response | Exception
) -> None:
    monkeypatch.undo()

    def answer(url: str, **_options: object) -> httpx.Response:
        if isinstance(reply, Exception):
            raise reply
        reply.request = httpx.Request("GET", url)
        return reply

    monkeypatch.setattr(httpx, "get", answer)
    assert seed(tmp_path).notes == []


def test_the_command_prints_json_and_refuses_outside_development(tmp_path: Path, settings: Settings) -> None:
    settings.LOCAL_DIR = tmp_path
    with pytest.raises(CommandError, match="development"):
        call_command("demo")
    settings.DEBUG = True
    printed = io.StringIO()
    call_command("demo", "--json", stdout=printed)
    assert works(json.loads(printed.getvalue().splitlines()[-1])["api_key"])
