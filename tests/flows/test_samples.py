"""The samples of the public contract run as printed, with Python, Node and cURL: only the host and the key are changed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows import nodejs
from tests.flows.books import Books
from tests.flows.installation import Gateway, Tenant

SAMPLES = Path(__file__).resolve().parent / "samples"
Runner = Callable[..., str]


def _as_printed(name: str, gateway: Gateway, key: str) -> str:
    source = (SAMPLES / name).read_text()
    assert "https://lumyx-ai.site" in source
    return source.replace("https://lumyx-ai.site", gateway.origin).replace("lx-...", key).replace("YOUR_API_KEY", key)


def _run_python(name: str, gateway: Gateway, key: str, folder: Path, *arguments: str) -> str:
    script = folder / f"{name}.py"
    script.write_text(_as_printed(f"{name}.py", gateway, key))
    return _run([sys.executable, str(script), *arguments])


def _run_node(name: str, gateway: Gateway, key: str, folder: Path, *arguments: str) -> str:
    return nodejs.run_script(_as_printed(f"{name}.mjs", gateway, key), *arguments)


def _run_curl(name: str, gateway: Gateway, key: str, folder: Path, *arguments: str) -> str:
    nodejs.require("curl")
    script = folder / f"{name}.sh"
    script.write_text(_as_printed(f"{name}.sh", gateway, key))
    return _run(["sh", str(script), *arguments])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


CLIENTS = [
    pytest.param(_run_python, id="python"),
    pytest.param(_run_node, id="node"),
    pytest.param(_run_curl, id="curl"),
]


def _sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


@pytest.mark.parametrize("run", CLIENTS)
def test_the_chat_sample_answers_and_is_charged_by_the_usage_it_returns(
    run: Runner, gateway: Gateway, tenant: Tenant, books: Books, tmp_path: Path
) -> None:
    before = books.posted(tenant)
    answer = json.loads(run("chat", gateway, tenant.key, tmp_path, str(SAMPLES / "chat.json")))
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["created"] > 1_700_000_000
    assert answer["model"] == "lumyx-plus_v1"
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    assert "Hello" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    # 0.50 and 1.50 dollars per million tokens are 500 and 1,500 nano-dollars a token.
    charge = usage["prompt_tokens"] * 500 + usage["completion_tokens"] * 1500
    assert charge > 0
    assert before - books.posted(tenant) == charge
    assert books.counted(tenant) == (1, charge)


@pytest.mark.parametrize("run", CLIENTS)
def test_the_vision_sample_is_answered(run: Runner, gateway: Gateway, tenant: Tenant, tmp_path: Path) -> None:
    answer = json.loads(run("chat", gateway, tenant.key, tmp_path, str(SAMPLES / "vision.json")))
    assert answer["model"] == "vision-model-id"
    assert "image" in answer["choices"][0]["message"]["content"].lower()


@pytest.mark.parametrize("run", CLIENTS)
def test_the_tools_sample_calls_the_tool(run: Runner, gateway: Gateway, tenant: Tenant, tmp_path: Path) -> None:
    answer = json.loads(run("chat", gateway, tenant.key, tmp_path, str(SAMPLES / "tools.json")))
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"])["location"], str)


def test_the_chat_sample_as_a_stream_ends_with_done(
    gateway: Gateway, tenant: Tenant, books: Books, tmp_path: Path
) -> None:
    body = tmp_path / "stream.json"
    body.write_text(json.dumps({**_sample("chat"), "stream": True}))
    *events, last, rest = _run_curl("stream", gateway, tenant.key, tmp_path, str(body)).split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["model"] for chunk in chunks} == {"lumyx-plus_v1"}
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert "Hello" in text
    assert books.counted(tenant)[0] == 1


@pytest.mark.parametrize("run", CLIENTS)
def test_the_messages_sample_answers_and_is_charged_by_the_usage_it_returns(
    run: Runner, gateway: Gateway, tenant: Tenant, books: Books, tmp_path: Path
) -> None:
    answer = json.loads(run("messages", gateway, tenant.key, tmp_path, str(SAMPLES / "messages.json")))
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "lumyx-plus_v1")
    assert answer["id"].startswith("msg_")
    (block,) = answer["content"]
    assert block["type"] == "text"
    assert "Hello" in block["text"]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)
    charge = answer["usage"]["input_tokens"] * 500 + answer["usage"]["output_tokens"] * 1500
    assert charge > 0
    assert books.counted(tenant) == (1, charge)


@pytest.mark.parametrize("run", CLIENTS)
def test_the_embeddings_sample_is_answered_and_charged_by_the_usage_it_returns(
    run: Runner, gateway: Gateway, tenant: Tenant, books: Books, tmp_path: Path
) -> None:
    answer = json.loads(run("embeddings", gateway, tenant.key, tmp_path, str(SAMPLES / "embeddings.json")))
    assert (answer["object"], answer["model"]) == ("list", "embedding-model-id")
    (entry,) = answer["data"]
    assert (entry["object"], entry["index"]) == ("embedding", 0)
    assert all(isinstance(number, int | float) for number in entry["embedding"])
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    # 0.02 dollars per million tokens are 20 nano-dollars a token.
    assert books.counted(tenant) == (1, 3 * 20)


@pytest.mark.parametrize("run", CLIENTS)
def test_the_models_sample_lists_the_contracts_model_as_printed(
    run: Runner, gateway: Gateway, tenant: Tenant, tmp_path: Path
) -> None:
    answer = json.loads(run("models", gateway, tenant.key, tmp_path))
    wanted = _sample("models-answer")
    assert answer["object"] == wanted["object"]
    (expected,) = wanted["data"]
    (found,) = [entry for entry in answer["data"] if entry["id"] == expected["id"]]
    assert found["object"] == expected["object"]
    assert expected["_meta"].items() <= {**found["_meta"], "pricing": expected["_meta"]["pricing"]}.items()
    assert expected["_meta"]["pricing"].items() <= found["_meta"]["pricing"].items()


@pytest.mark.parametrize(("run", "name"), [(_run_python, "python"), (_run_node, "node")], ids=["python", "node"])
def test_the_error_sample_is_what_a_wrong_key_gets(run: Runner, name: str, gateway: Gateway, tmp_path: Path) -> None:
    seen = json.loads(run("error", gateway, "lx-wrong", tmp_path))
    assert seen["status"] == 401
    assert seen["class"] == "AuthenticationError"
    assert seen["body"]["error"] == _sample("error-answer")["error"]


def test_the_error_sample_is_what_a_wrong_key_gets_with_curl(gateway: Gateway, tmp_path: Path) -> None:
    body, status = _run_curl("error", gateway, "lx-wrong", tmp_path).rsplit("\n", 1)
    assert status == "401"
    assert json.loads(body)["error"] == _sample("error-answer")["error"]
