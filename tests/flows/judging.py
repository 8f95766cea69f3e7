"""The judges at work: a strict upstream, a catalog with models on it by both protocols, and every official client run once.

Each client does all its jobs in one run of its program (``judges``), through a tap that keeps what it was sent; tests read the
results. All that is asked, and what must come of it, is in ``features``.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.strict import CREDENTIAL, StrictUpstream
from tests.flows import features, nodejs, pythons
from tests.flows.features import CHAT, FAULTS, FEATURES, LIES, MESSAGES, MODELS
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.tap import Tap

JUDGES = Path(__file__).resolve().parent / "judges"
RUN_SECONDS, AT_ONCE = 120, 3
#: Beside the word that is in all that is the upstream's own.
WORDS_OF_THE_UPSTREAM = (b"engine", b"maintenance", b"upstream connect", b"Incorrect API key", b"Provider disconnected")
EMBEDDERS = ("judge/embed", "judge/embed-floats", "judge/embed-base64")
FAULTY = {"openai_chat": "judge/faulty-chat", "anthropic_messages": "judge/faulty-claude"}
FREE = "judge/free"

UPSTREAM = """
[[upstreams]]
name = "{name}"
provider = "{provider}"
protocol = "{protocol}"
base_url = "{url}"
credential = "{credential}"
allow_private_network = true
first_byte_timeout = 5.0
idle_timeout = 0.7
"""
MODEL = """
[[models]]
id = "{id}"
display_name = "Judge"
kind = "{kind}"
context_window = 200000
tags = {tags}
{price}
[[models.routes]]
upstream = "{upstream}"
model = "{model}"
"""
CHAT_MODEL = 'max_output_tokens = 16000\n[models.price]\ninput = "1.00"\noutput = "2.00"\ncache_read = "0.10"\ncache_write = "1.25"'
FREE_MODEL = "max_output_tokens = 16000\nfree = true"
EMBEDDING_MODEL = '[models.price]\ninput = "1.00"\noutput = "0.00"'
TAGS = ["streaming", "vision", "tools", "reasoning"]


def catalog_for(strict: StrictUpstream) -> str:
    """Return the judges' catalog. The upstream's own model names say whose they are, as its credential does."""
    upstreams = [
        ("judge-chat", "openai-compatible", "openai_chat", strict.chat_url),
        ("judge-router", "openrouter", "openai_chat", strict.chat_url),
        ("judge-claude", "anthropic", "anthropic_messages", strict.messages_url),
        ("judge-faulty-chat", "openai-compatible", "openai_chat", strict.chat_url),
        ("judge-faulty-claude", "anthropic", "anthropic_messages", strict.messages_url),
    ]
    models = [
        *((f"judge/{name}", "chat", CHAT_MODEL, f"judge-{name}", name) for name in ("chat", "router", "claude")),
        *((f"judge/{name}", "chat", CHAT_MODEL, f"judge-{name}", name) for name in ("faulty-chat", "faulty-claude")),
        (FREE, "chat", FREE_MODEL, "judge-chat", "free"),
        *((name, "embedding", EMBEDDING_MODEL, "judge-chat", name.partition("/")[2]) for name in EMBEDDERS),
    ]
    parts = [
        UPSTREAM.format(name=name, provider=provider, protocol=protocol, url=url, credential=CREDENTIAL)
        for name, provider, protocol, url in upstreams
    ]
    parts += [
        MODEL.format(
            id=public,
            kind=kind,
            tags=json.dumps(TAGS if kind == "chat" else []),
            price=price,
            upstream=upstream,
            model=f"{strict.mark}-{name}",
        )
        for public, kind, price, upstream, name in models
    ]
    return "".join(parts)


@dataclass(frozen=True)
class Client:
    """An official client: its protocol, and the command that runs its program."""

    name: str
    protocol: str
    command: Callable[[], list[str]]


def _python(program: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, str(JUDGES / program)]


def _older_python(program: str) -> Callable[[], list[str]]:
    return lambda: [str(pythons.install()), str(JUDGES / program)]


CLIENTS = (
    Client("openai-python", CHAT, _python("openai_client.py")),
    Client("openai-python-2", CHAT, _older_python("openai_client.py")),
    Client("openai-node", CHAT, lambda: nodejs.command_for(JUDGES / "openai_client.mjs")),
    Client("anthropic-python", MESSAGES, _python("anthropic_client.py")),
    Client("anthropic-python-0", MESSAGES, _older_python("anthropic_client.py")),
    Client("anthropic-node", MESSAGES, lambda: nodejs.command_for(JUDGES / "anthropic_client.mjs")),
)


@dataclass(frozen=True)
class Keys:
    """The workspaces of one client: one for what works, one whose upstream lies, one with a daily quota of one."""

    main: Tenant
    lied_to: Tenant
    free: Tenant


def jobs_for(client: Client, keys: Keys) -> list[dict[str, Any]]:
    """Return all jobs of a client."""
    jobs = list(_matrix_jobs(client.protocol))
    protocol, main = client.protocol, features.plain(client.protocol, MODELS["openai_chat"], "plain")
    jobs += _failing_jobs(protocol, keys)
    jobs.append({"id": "wrong key", "kind": "whole", "params": main, "key": "lx-wrong", "retries": True})
    jobs.append({"id": "wrong model", "kind": "whole", "params": {**main, "model": "no/such"}, "retries": True})
    spent = {**main, "model": FREE}
    jobs.append({"id": "spent quota", "kind": "twice", "params": spent, "key": keys.free.key, "retries": True})
    jobs.append({"id": "models", "kind": "models", "model": MODELS["openai_chat"]})
    if protocol == MESSAGES:
        for model in MODELS.values():
            params = {
                name: value for name, value in features.plain(protocol, model, "plain").items() if name != "max_tokens"
            }
            jobs.append(_job("count", model, "count", params=params))
        for model in MODELS.values():
            effort = {
                **features.params_for(FEATURES["thinking"], MESSAGES, model),
                "extra_body": {"reasoning_effort": "low"},
            }
            jobs.append(_job("effort", model, "whole", params={k: v for k, v in effort.items() if k != "thinking"}))
        return jobs
    for model in MODELS.values():
        jobs.append(_job("parse", model, "parse", params=features.plain(protocol, model, "schema")))
        jobs += [_job(name, model, "helper", params=_params(name, protocol, model)) for name in ("text", "three tools")]
    return jobs + list(_embedding_jobs())


def _failing_jobs(protocol: str, keys: Keys) -> Iterator[dict[str, Any]]:
    for model in FAULTY.values():
        for kind in ("whole", "stream"):
            for word in FAULTS:
                if (word, kind) != ("stalls", "whole"):
                    yield _job(word, model, kind, params=features.plain(protocol, model, word))
            for word in LIES:
                yield _job(word, model, kind, params=features.plain(protocol, model, word), key=keys.lied_to.key)


def _matrix_jobs(protocol: str) -> Iterator[dict[str, Any]]:
    for name, feature in FEATURES.items():
        for model in features.upstreams_of(feature):
            for mode in ("whole", "stream"):
                params = features.params_for(feature, protocol, model)
                kind = "converse" if feature.kind == "converse" else mode
                job = {"kind": kind, "params": params, "stream": mode == "stream", "results": list(feature.results)}
                yield {"id": f"{name} | {model} | {mode}", **job}


def _embedding_jobs() -> Iterator[dict[str, Any]]:
    inputs: dict[str, Any] = {"text": "a", "texts": ["a", "b"], "tokens": [1, 2, 3], "token lists": [[1, 2], [3]]}
    for model in EMBEDDERS:
        for name, given in inputs.items():
            yield _job(f"embed {name}", model, "embed", params={"model": model, "input": given})
        yield _job("embed floats", model, "embed", params={"model": model, "input": "a", "encoding_format": "float"})


def _params(name: str, protocol: str, model: str) -> dict[str, Any]:
    return features.params_for(FEATURES[name], protocol, model)


def _job(name: str, model: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"id": f"{name} | {model} | {kind}", "kind": kind, **more}


class Court:
    """All clients' results, as they come in."""

    def __init__(self, gateway: Gateway, installation: Installation, strict: StrictUpstream) -> None:
        self.strict = strict
        self.tap = Tap(gateway.port)
        self.keys = {client.name: _keys_for(installation) for client in CLIENTS}
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._runs: dict[str, Future[dict[str, Any]]] = {
            client.name: self._pool.submit(self._run, client, self.keys[client.name]) for client in CLIENTS
        }

    def results_of(self, name: str) -> dict[str, Any]:
        """Return the results of a client, waiting for them."""
        return self._runs[name].result()

    def close(self) -> None:
        """Wait for what still runs, and stop listening."""
        self._pool.shutdown()
        self.tap.close()

    def _run(self, client: Client, keys: Keys) -> dict[str, Any]:
        base_url = f"http://127.0.0.1:{self.tap.port}/api/v1"
        done = subprocess.run(
            [*client.command(), base_url, keys.main.key],
            input=json.dumps(jobs_for(client, keys)),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{client.name}: {done.stderr[-3000:]}"
        results: dict[str, Any] = json.loads(done.stdout)["results"]
        return results


def _keys_for(installation: Installation) -> Keys:
    free = installation.new_tenant(credits_usd=None)
    installation.manage("workspace", "limits", free.slug, "--daily", "1")
    return Keys(installation.new_tenant(), installation.new_tenant(), free)


def wait_for_models(gateway: Gateway) -> None:
    """Return when the running gateway knows the judges' catalog."""
    deadline = time.monotonic() + 5
    while FREE not in urllib.request.urlopen(f"{gateway.base_url}/models", timeout=5).read().decode():
        assert time.monotonic() < deadline, "the running gateway does not know the judges' models"
        time.sleep(0.05)
