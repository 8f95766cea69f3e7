"""What ``make run`` finds in its database: a person, a workspace with credit, a working API key, and models that answer.

Everything happens once: a second start changes nothing, and prints the same key and password from ``.local/demo.json`` (mode
0600, the only place that has them). Development only.
"""

import hashlib
import json
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from django.conf import settings

from accounts.selectors.principals import principal_row
from accounts.selectors.users import user_by_email
from accounts.selectors.workspaces import workspaces_of
from accounts.services.apikeys import create_api_key
from accounts.services.users import create_user, set_password
from accounts.services.workspaces import create_workspace
from billing.services import ledger
from billing.services.tiers import ensure_tiers
from gateway.selectors.catalog import load_snapshot
from gateway.services.catalog import apply_catalog
from lumyx.lib import crypto
from lumyx.lib.money import usd_to_nano

if TYPE_CHECKING:
    from accounts.models import User, Workspace

EMAIL, WORKSPACE, CREDIT = "demo@lumyx.local", "Demo", "10"
MODEL = "sandbox/paid"
OLLAMA = "http://127.0.0.1:11434"
OLLAMA_TIMEOUT = 0.3
OLLAMA_CONTEXT, OLLAMA_OUTPUT = 8192, 4096


@dataclass
class Demo:
    """What a newcomer needs to sign in and to call."""

    email: str = EMAIL
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    model: str = MODEL
    #: What was added because of the surroundings, and what is not supported yet.
    notes: list[str] = field(default_factory=list)


def seed_demo(*, folder: Path, environ: Mapping[str, str] = os.environ) -> Demo:
    """Make what is missing of the demo and return it.

    Args:
        folder: where demo.json keeps the password and the key's secret.
        environ: where keys of providers are looked up.
    """
    kept = _read(folder)
    demo = Demo(password=kept.get("password", ""), api_key=kept.get("api_key", ""))
    ensure_tiers()
    demo.notes, catalogs = _apply_catalogs(kept.get("catalogs", {}), environ=environ)
    user = _ensure_user(demo)
    workspace = _ensure_workspace(user)
    ledger.grant(
        workspace_id=workspace.pk,
        kind="paid",
        amount=usd_to_nano(CREDIT),
        source=f"demo:{workspace.pk}",
        note="Credit of the demo",
    )
    _ensure_key(demo, workspace=workspace, user=user)
    _write(folder, {**asdict(demo), "catalogs": catalogs})
    return demo


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "demo.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _write(folder: Path, values: Mapping[str, Any]) -> None:
    fresh = folder / "demo.json.new"
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(values, indent=1))
    fresh.replace(folder / "demo.json")


def _ensure_user(demo: Demo) -> "User":
    user = user_by_email(EMAIL)
    if user is None:
        demo.password = secrets.token_urlsafe(9)
        return create_user(EMAIL, password=demo.password, verified=True, name="Demo")
    if not demo.password:  # its file was removed
        demo.password = secrets.token_urlsafe(9)
        set_password(user, password=demo.password)
    return user


def _ensure_workspace(user: "User") -> "Workspace":
    found = workspaces_of(user)
    return found[0] if found else create_workspace(WORKSPACE, owner=user)


def _ensure_key(demo: Demo, *, workspace: "Workspace", user: "User") -> None:
    """Keep the stored key while it works; make another when it was revoked or belongs to an older database."""
    if demo.api_key:
        row = principal_row(crypto.api_key_digest(demo.api_key, pepper=settings.LUMYX_API_KEY_PEPPER))
        if row is not None and not row.revoked and row.workspace_id == workspace.pk:
            return
    demo.api_key = create_api_key(workspace=workspace, name="Demo", created_by=user).secret


def _apply_catalogs(applied: Mapping[str, str], *, environ: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Apply each catalog that is new or has changed since the last start: what was edited in the admin stays."""
    notes, catalogs = [], {"demo": _catalog_file("catalog.toml")}
    for provider in ("openai", "anthropic"):
        if environ.get(_key_of(provider)):
            catalogs[provider] = _catalog_file(f"{provider}.toml")
            notes.append(f"{_key_of(provider)} is set: the models {provider}/… are in the catalog.")
    local = _ollama_catalog()
    if local:
        catalogs["ollama"] = local
        notes.append(f"Ollama answers at {OLLAMA}: its models ollama/… are in the catalog, free.")
    known = {model.public_id for model in load_snapshot(with_credentials=False).models.values()}
    digests = {}
    for name, data in catalogs.items():
        digests[name] = hashlib.sha256(json.dumps([data, environ.get(_key_of(name))]).encode()).hexdigest()
        is_there = all(model["id"] in known for model in data["models"])
        if applied.get(name) != digests[name] or not is_there:
            apply_catalog(data, environ=environ)
    return notes, digests


def _key_of(provider: str) -> str:
    return f"{provider.upper()}_API_KEY"


def _catalog_file(name: str) -> dict[str, Any]:
    return tomllib.loads((settings.BASE_DIR / "gateway" / "demo" / name).read_text())


def _ollama_catalog() -> dict[str, Any] | None:
    """Return the models of an Ollama on this machine as a catalog, or None if none answers at once."""
    try:
        answer = httpx.get(f"{OLLAMA}/api/tags", timeout=OLLAMA_TIMEOUT, trust_env=False).raise_for_status().json()
        names = [str(model["name"]) for model in answer["models"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    upstream = {
        "name": "ollama",
        "provider": "openai-compatible",
        "protocol": "openai_chat",
        "base_url": f"{OLLAMA}/v1",
    }
    models = [
        {
            "id": f"ollama/{name}",
            "display_name": name,
            "description": "Runs on this machine, in Ollama.",
            "context_window": OLLAMA_CONTEXT,
            "max_output_tokens": OLLAMA_OUTPUT,
            "tags": ["streaming"],
            "free": True,
            "routes": [{"upstream": "ollama", "model": name}],
        }
        for name in names
    ]
    return {"upstreams": [{**upstream, "allow_private_network": True}], "models": models} if models else None
