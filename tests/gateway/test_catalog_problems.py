"""A catalog file that is wrong: one error lists everything, each with its place, and nothing is applied."""

from typing import Any

import pytest

from gateway.models import CatalogModel, Upstream
from gateway.services.catalog import apply_catalog
from gateway.services.catalog_fields import CatalogError
from tests.gateway.test_catalog_apply import FILE, SECRET, changed

UPSTREAM = 'upstreams[0] "openai"'
MODEL = 'models[0] "plus"'

#: path in the good file, value, the problem as it is told
WRONG: list[tuple[str, Any, str]] = [
    ("upstream", [], "catalog.upstream: unknown key (known: upstreams, models)"),
    ("models", {}, "catalog.models: must be a list, not {}"),
    ("upstreams.0", "openai", "upstreams[0]: must be a table"),
    ("upstreams.0.colour", 1, f"{UPSTREAM}.colour: unknown key"),
    ("upstreams.0.provider", None, f"{UPSTREAM}.provider: must be text in quotes, not None"),
    ("upstreams.0.provider", "open ai", f"{UPSTREAM}.provider: 'open ai' is not valid: use letters"),
    ("upstreams.0.name", "x" * 61, ".name: must have 1 to 60 characters"),
    (
        "upstreams.0.protocol",
        "grpc",
        f"{UPSTREAM}.protocol: 'grpc' is not one of: openai_chat, anthropic_messages, sandbox",
    ),
    ("upstreams.0.base_url", "", f"{UPSTREAM}.base_url: is missing"),
    ("upstreams.0.base_url", "ftp://api.openai.com", ".base_url: The base URL must start with https://"),
    ("upstreams.0.base_url", "https://", ".base_url: The base URL names no host"),
    ("upstreams.0.base_url", "https://me:pw@api.openai.com", ".base_url: The base URL may not hold a user name"),
    ("upstreams.0.base_url", "https://api.openai.com/v1?x=1", ".base_url: The base URL may not hold a query"),
    ("upstreams.0.base_url", "https://api.openai.com/v1#x", ".base_url: The base URL may not hold a query"),
    ("upstreams.0.base_url", "https://api.openai.com/v1?", ".base_url: must have no query and no fragment"),
    ("upstreams.0.base_url", "https://api.openai.com/v1/", ".base_url: must not end with a slash"),
    ("upstreams.0.base_url", "https://api.openai.com/a b", ".base_url: must be plain ASCII"),
    ("upstreams.0.base_url", "http://127.0.0.1:9/v1", "set allow_private_network"),
    ("upstreams.0.base_url", "http://2130706433/v1", "set allow_private_network"),
    ("upstreams.0.base_url", "http://[::ffff:10.0.0.1]/v1", "set allow_private_network"),
    ("upstreams.0.base_url", "http://169.254.169.254", "set allow_private_network"),
    ("upstreams.0.base_url", "http://localhost:11434/v1", "set allow_private_network"),
    ("upstreams.0.allow_private_network", "yes", f"{UPSTREAM}.allow_private_network: must be true or false, not 'yes'"),
    ("upstreams.0.connect_timeout", 0, f"{UPSTREAM}.connect_timeout: 0 must be seconds above 0"),
    ("upstreams.0.total_timeout", float("nan"), f"{UPSTREAM}.total_timeout: nan must be seconds above 0"),
    ("upstreams.0.idle_timeout", True, f"{UPSTREAM}.idle_timeout: must be a number, not True"),
    ("upstreams.0.credential", "", f"{UPSTREAM}.credential: is empty"),
    ("upstreams.0.credential_env", "KEY", f"{UPSTREAM}: give credential or credential_env, not both"),
    (
        "upstreams.1.base_url",
        "https://x.example.com",
        'upstreams[1] "sandbox".base_url: the sandbox answers in process',
    ),
    ("upstreams.1.credential", "x", 'upstreams[1] "sandbox": the sandbox takes no credential'),
    ("upstreams.1.name", "openai", 'upstreams: "openai" is there more than once'),
    ("models.0.id", "-bad", "models[0] \"-bad\".id: '-bad' is not valid: A model id has letters"),
    ("models.0.id", "a b", "A model id has letters"),
    ("models.0.id", "a\n", "A model id has letters"),
    ("models.0.id", "gratis", 'models: "gratis" is there more than once'),
    ("models.0.kind", "image", f"{MODEL}.kind: 'image' is not one of: chat, embedding"),
    ("models.0.kind", "embedding", f"{MODEL}.max_output_tokens: an embedding model generates no tokens"),
    ("models.0.context_window", 0, f"{MODEL}.context_window: 0 must be from 1 to 2147483647"),
    ("models.0.context_window", 2**31, f"{MODEL}.context_window: 2147483648 must be from"),
    ("models.0.context_window", 10.5, f"{MODEL}.context_window: must be a whole number, not 10.5"),
    ("models.0.max_output_tokens", 1001, f"{MODEL}.max_output_tokens: 1001 is more than context_window, 1000"),
    ("models.0.tags", ["Tools"], f"{MODEL}.tags: 'Tools' is not valid"),
    ("models.0.tags", ["tools", "tools"], f"{MODEL}.tags: names one twice"),
    ("models.0.tags", "tools", f"{MODEL}.tags: must be a list, not 'tools'"),
    ("models.0.supports_streaming", False, f'{MODEL}.supports_streaming: the tag "streaming" says the opposite'),
    ("models.0.description", "a\x00b", f"{MODEL}.description: must have"),
    ("models.0.display_name", "x" * 121, f"{MODEL}.display_name: must have 1 to 120 characters"),
    ("models.0.price", {}, f"{MODEL}.price.input: is missing"),
    ("models.0.price", {"input": "1"}, f"{MODEL}.price.output: is missing"),
    ("models.0.price.input", "0.0000000001", f"{MODEL}.price.input: '0.0000000001' has more than nine decimals"),
    ("models.0.price.input", "-1", f"{MODEL}.price.input: '-1' is below zero"),
    ("models.0.price.input", -1, f"{MODEL}.price.input: -1 is below zero"),
    ("models.0.price.input", 0.5, f'{MODEL}.price.input: write the price as text, "0.5"'),
    ("models.0.price.input", "1e3", f"{MODEL}.price.input: '1e3' is not a price"),
    ("models.0.price.input", "NaN", f"{MODEL}.price.input: 'NaN' is not a price"),
    ("models.0.price.input", "99999999999", f"{MODEL}.price.input: '99999999999' is not an amount that can be stored"),
    ("models.0.price.input", True, f"{MODEL}.price.input: must be a price in US dollars"),
    ("models.0.price.image", "1", f"{MODEL}.price.image: unknown key (known: input, output, cache_read, cache_write)"),
    ("models.0.free", True, f"{MODEL}.price: a free model has no price"),
    ("models.1.free", False, 'models[1] "gratis".price: is missing: give the price, or say free = true'),
    ("models.0.routes.0.upstream", "nowhere", f'{MODEL}.routes[0].upstream: there is no upstream "nowhere"'),
    ("models.0.routes.0.model", "", f"{MODEL}.routes[0].model: must have 1 to 200 characters"),
    ("models.0.routes.0.model", "a\tb", f"{MODEL}.routes[0].model: 'a\\tb' is not valid: no control characters"),
    ("models.0.routes.0.priority", -1, f"{MODEL}.routes[0].priority: -1 must be from 0 to 32767"),
    ("models.0.routes.0.weight", 0, f"{MODEL}.routes[0].weight: 0 must be from 1"),
    ("models.0.routes.0.region", "eu", f"{MODEL}.routes[0].region: unknown key"),
    ("models.0.routes.0.cost", "0.5", f"{MODEL}.routes[0].cost: must be a table"),
    ("models.0.routes.0.cost", {"input": "1"}, f"{MODEL}.routes[0].cost.output: is missing"),
    (
        "models.0.routes.0.cost",
        {"input": 0.5, "output": "1"},
        f'{MODEL}.routes[0].cost.input: write the price as text, "0.5"',
    ),
    (
        "models.0.routes.0.cost",
        {"input": "1", "output": "1", "image": "1"},
        f"{MODEL}.routes[0].cost.image: unknown key (known: input, output, cache_read, cache_write)",
    ),
    ("models.1.routes.0.cost", {"input": "-1", "output": "1"}, ".routes[0].cost.input: '-1' is below zero"),
    ("models.0.routes.1", FILE["models"][0]["routes"][0], f'{MODEL}: "sandbox → echo" is there more than once'),
    ("models.0.budget", 5, f"{MODEL}.budget: unknown key"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "value", "problem"), WRONG, ids=[f"{path}={value!r:.30}" for path, value, _ in WRONG])
def test_a_wrong_value_is_told_with_its_place_and_nothing_is_applied(path: str, value: object, problem: str) -> None:
    with pytest.raises(CatalogError) as caught:
        apply_catalog(changed(path, value))
    assert any(problem in line for line in caught.value.problems), caught.value.problems
    assert not Upstream.objects.exists()
    assert not CatalogModel.objects.exists()


@pytest.mark.django_db
def test_every_problem_of_a_file_is_in_one_error_and_no_secret_is() -> None:
    data = changed("models.0.price.input", "x")
    data["upstreams"][0]["base_url"] = "nonsense"
    data["models"][1]["routes"][0]["weight"] = "heavy"
    with pytest.raises(CatalogError) as caught:
        apply_catalog(data)
    assert len(caught.value.problems) == 3
    text = str(caught.value)
    assert text.startswith("The catalog has 3 problems; nothing was changed:\n  - ")
    assert SECRET not in text


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["sk secret with spaces", 7777777, "sk-\n"])
def test_a_bad_credential_is_not_echoed(value: object) -> None:
    with pytest.raises(CatalogError, match="credential") as caught:
        apply_catalog(changed("upstreams.0.credential", value))
    assert str(value) not in str(caught.value)
    assert "7777" not in str(caught.value)


@pytest.mark.django_db
def test_a_private_address_is_taken_when_the_operator_allows_it() -> None:
    data = changed("upstreams.0.base_url", "http://127.0.0.1:11434/v1")
    data["upstreams"][0]["allow_private_network"] = True
    apply_catalog(data)
    assert Upstream.objects.get(name="openai").allow_private_network


@pytest.mark.django_db
def test_an_embedding_model_needs_no_output_price() -> None:
    data = changed("models.0", {"id": "e", "kind": "embedding", "context_window": 9, "price": {"input": "0.1"}})
    apply_catalog(data)
    row = CatalogModel.objects.get(public_id="e")
    assert (row.max_output_tokens, row.supports_streaming) == (None, False)
