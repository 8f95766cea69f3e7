"""Catalog files for the mock upstream: which models stand on which upstream, in which protocol."""

import tomllib

from rig.catalog import catalog_of


def test_models_may_stand_on_the_same_mock_in_both_protocols() -> None:
    catalog = tomllib.loads(catalog_of(port=81, models=["a", "b"], free_models=["c"], messages_models=["b"]))
    assert [(one["name"], one["protocol"], one["base_url"]) for one in catalog["upstreams"]] == [
        ("mock", "openai_chat", "http://127.0.0.1:81/v1"),
        ("mock-messages", "anthropic_messages", "http://127.0.0.1:81"),
    ]
    routes = {model["id"]: (model["routes"][0]["upstream"], model["routes"][0]["model"]) for model in catalog["models"]}
    assert routes == {
        "a": ("mock", "a"),
        "b": ("mock", "b"),
        "c": ("mock", "c"),
        "messages/b": ("mock-messages", "b"),
    }
    assert [model["free"] for model in catalog["models"]] == [False, False, True, False]


def test_without_models_of_its_own_there_is_no_second_upstream() -> None:
    assert len(tomllib.loads(catalog_of(port=81, models=["a"]))["upstreams"]) == 1
