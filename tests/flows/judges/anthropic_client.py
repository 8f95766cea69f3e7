"""Does jobs with anthropic-python, whatever its major, and tells what its user sees. See the package's docstring."""

import json
import sys
import time
from typing import Any

import anthropic
from anthropic import Anthropic


def seen_usage(usage: Any) -> dict[str, Any]:
    """Return the usage in disjoint classes."""
    return {
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_input_tokens or 0,
        "cache_write": usage.cache_creation_input_tokens or 0,
        "output": usage.output_tokens,
    }


def seen_message(message: Any) -> dict[str, Any]:
    """Return a message as its user reads it."""
    blocks = message.content
    return {
        "text": "".join(block.text for block in blocks if block.type == "text"),
        "reasoning": "".join(block.thinking for block in blocks if block.type == "thinking"),
        "tools": [
            {"id": block.id, "name": block.name, "arguments": block.input}
            for block in blocks
            if block.type == "tool_use"
        ],
        "order": [block.type for block in blocks],
        "signed": [bool(block.signature) for block in blocks if block.type == "thinking"],
        "finish": message.stop_reason,
        "stop_sequence": message.stop_sequence,
        "usage": seen_usage(message.usage),
        "id": message.id,
        "model": message.model,
        "request_id": getattr(message, "_request_id", None),
    }


def read_stream(client: Anthropic, params: dict[str, Any], seen: dict[str, Any]) -> Any:
    """Let the library put a stream together; ``seen`` holds the text that came if it fails."""
    seen.update({"text": "", "events": []})
    with client.messages.stream(**params) as stream:
        for event in stream:
            seen["events"].append(event.type)
            if event.type == "text":
                seen["text"] += event.text
        return stream.get_final_message()


def ask(client: Anthropic, params: dict[str, Any], *, stream: bool, seen: dict[str, Any]) -> Any:
    """Ask once, whole or streamed."""
    return read_stream(client, params, seen) if stream else client.messages.create(**params)


def sent_back(block: Any) -> dict[str, Any]:
    """Return a block as its user sends it back: the fields that the API takes."""
    fields = {
        "text": ("type", "text"),
        "thinking": ("type", "thinking", "signature"),
        "redacted_thinking": ("type", "data"),
        "tool_use": ("type", "id", "name", "input"),
    }
    return {name: getattr(block, name) for name in fields[block.type]}


def converse(client: Anthropic, job: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """Ask, give the tools' results back together with what the assistant said, and ask again."""
    params, stream = job["params"], job["stream"]
    first = ask(client, params, stream=stream, seen=seen)
    said = {"role": "assistant", "content": [sent_back(block) for block in first.content]}
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": text}
        for call, text in zip(calls, job["results"], strict=True)
    ]
    messages = [*params["messages"], said, {"role": "user", "content": results}]
    second = ask(client, {**params, "messages": messages}, stream=stream, seen={})
    return {"first": seen_message(first), **seen_message(second)}


def models(client: Anthropic, job: dict[str, Any]) -> dict[str, Any]:
    """List the models and retrieve one."""
    one = client.models.retrieve(job["model"])
    return {
        "ids": [model.id for model in client.models.list()],
        "one": one.id,
        "name": one.display_name,
        "type": one.type,
    }


def do(client: Anthropic, job: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """Do one job."""
    match job["kind"]:
        case "whole" | "stream" as kind:
            message = ask(client, job["params"], stream=kind == "stream", seen=seen)
            return {"events": seen.get("events", []), **seen_message(message)}
        case "converse":
            return converse(client, job, seen)
        case "count":
            return {"input_tokens": client.messages.count_tokens(**job["params"]).input_tokens}
        case "models":
            return models(client, job)
        case "twice":
            client.messages.create(**job["params"])
            return seen_message(client.messages.create(**job["params"]))
        case other:
            raise ValueError(other)


def told(error: Exception) -> dict[str, Any]:
    """Return an exception as its catcher sees it."""
    body = getattr(error, "body", None)
    inner = body.get("error", {}) if isinstance(body, dict) else {}
    return {
        "class": type(error).__name__,
        "is_api_error": isinstance(error, anthropic.APIError) and not isinstance(error, anthropic.APIConnectionError),
        "status": getattr(error, "status_code", None),
        "code": inner.get("code"),
        "type": inner.get("type"),
        "request_id": getattr(error, "request_id", None),
        "message": str(error),
    }


def main() -> None:
    """Do all jobs, with one client for each way to call."""
    base_url, key = sys.argv[1:3]
    clients: dict[tuple[str, bool], Anthropic] = {}
    results = {}
    for job in json.load(sys.stdin):
        way = (job.get("key") or key, bool(job.get("retries")))
        if way not in clients:
            options: dict[str, Any] = {} if way[1] else {"max_retries": 0}
            clients[way] = Anthropic(base_url=base_url, api_key=way[0], **options)
        seen: dict[str, Any] = {}
        began = time.monotonic()
        try:
            result = do(clients[way], job, seen)
        except Exception as error:  # whatever the library raises is the result
            result = {**seen, "error": told(error)}
        results[job["id"]] = {**result, "seconds": time.monotonic() - began}
    sys.stdout.write(json.dumps({"version": anthropic.__version__, "results": results}))


if __name__ == "__main__":
    main()
