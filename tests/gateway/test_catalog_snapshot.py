"""The catalog in memory: with credentials for the request path, without them for pages that only list models."""

import pytest

from gateway.selectors import catalog
from gateway.selectors.catalog import load_snapshot
from gateway.services.catalog import apply_catalog

pytestmark = pytest.mark.django_db

DATA = {
    "upstreams": [
        {
            "name": "main",
            "provider": "openai",
            "protocol": "openai_chat",
            "base_url": "https://api.example.com/v1",
            "credential": "sk-upstream-secret",
        }
    ],
    "models": [
        {
            "id": "one",
            "display_name": "One",
            "context_window": 1000,
            "max_output_tokens": 100,
            "price": {"input": "0.50", "output": "1.50"},
            "routes": [{"upstream": "main", "model": "x"}],
        }
    ],
}


def test_the_request_path_gets_the_credential_and_a_listing_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    apply_catalog(DATA)
    full = load_snapshot().models["one"]
    assert full.routes[0].upstream.credential == "sk-upstream-secret"
    assert "sk-upstream-secret" not in repr(full)

    monkeypatch.setattr(catalog, "credential_of", lambda upstream: pytest.fail("a listing opened a credential"))
    listed = load_snapshot(with_credentials=False).models["one"]
    assert listed.routes[0].upstream.credential == ""
    assert (listed.rates, listed.public_id) == (full.rates, full.public_id)
