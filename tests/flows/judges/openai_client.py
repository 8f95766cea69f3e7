"""Does jobs with openai-python, whatever its major, and tells what its user sees. See the package's docstring."""

import json
import sys
import time
from typing import Any

import openai
import pydantic
from openai import OpenAI


class City(pydantic.BaseModel):
    """What structured output is parsed into."""

    city: str
    people: int


def seen_message(message: Any) -> dict[str, Any]:
    """Return a message as its user reads it."""
    return {
        "text": message.content or "",
        "refusal": message.refusal or "",
        "reasoning": getattr(message, "reasoning_content", None) or "",
        "details": getattr(message, "reasoning_details", None) or [],
        "tools": [
            {"id": call.id, "name": call.function.name, "arguments": json.loads(call.function.arguments)}
            for call in message.tool_calls or []
        ],
    }


def seen_usage(usage: Any) -> dict[str, Any] | None:
    """Return the usage in disjoint classes."""
    if usage is None:
        return None
    details = usage.prompt_tokens_details
    read = (details.cached_tokens if details else 0) or 0
    written = (getattr(details, "cache_write_tokens", 0) if details else 0) or 0
    prompt = usage.prompt_tokens - read - written
    return {"input": prompt, "cache_read": read, "cache_write": written, "output": usage.completion_tokens}


def seen_answer(answer: Any) -> dict[str, Any]:
    """Return a whole answer as its user reads it."""
    (choice,) = answer.choices
    return {
        **seen_message(choice.message),
        "finish": choice.finish_reason,
        "usage": seen_usage(answer.usage),
        "id": answer.id,
        "model": answer.model,
        "request_id": getattr(answer, "_request_id", None),
    }


def read_stream(client: OpenAI, params: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """Read a stream chunk by chunk into ``seen``, which holds what came if it fails."""
    seen.update({"text": "", "reasoning": "", "refusal": "", "details": [], "usage": None, "finish": None, "chunks": 0})
    calls: dict[int, dict[str, Any]] = {}
    details: dict[int, dict[str, Any]] = {}
    with client.chat.completions.create(**params, stream=True, stream_options={"include_usage": True}) as stream:
        for chunk in stream:
            seen["chunks"] += 1
            seen["id"], seen["model"] = chunk.id, chunk.model
            seen["usage"] = seen_usage(chunk.usage) or seen["usage"]
            for choice in chunk.choices:
                delta = choice.delta
                seen["text"] += delta.content or ""
                seen["refusal"] += delta.refusal or ""
                seen["reasoning"] += getattr(delta, "reasoning_content", None) or ""
                for detail in getattr(delta, "reasoning_details", None) or []:
                    known = details.setdefault(detail["index"], {**detail, "text": ""})
                    known.update({name: value for name, value in detail.items() if name != "text"})
                    known["text"] += detail.get("text") or ""
                for part in delta.tool_calls or []:
                    call = calls.setdefault(part.index, {"id": part.id, "name": part.function.name, "arguments": ""})
                    call["arguments"] += part.function.arguments or ""
                seen["finish"] = choice.finish_reason or seen["finish"]
    seen["tools"] = [{**call, "arguments": json.loads(call["arguments"])} for call in calls.values()]
    for detail in details.values():
        if detail["type"] != "reasoning.text":
            detail.pop("text")
    seen["details"] = list(details.values())
    return seen


def use_helper(client: OpenAI, params: dict[str, Any]) -> dict[str, Any]:
    """Let the library put a stream together."""
    with client.chat.completions.stream(**params, stream_options={"include_usage": True}) as stream:
        stream.until_done()
        return seen_answer(stream.get_final_completion())


def parse(client: OpenAI, params: dict[str, Any]) -> dict[str, Any]:
    """Let the library make a schema and parse the answer."""
    answer = client.chat.completions.parse(**params, response_format=City)
    parsed = answer.choices[0].message.parsed
    return {**seen_answer(answer), "parsed": parsed.model_dump() if parsed else None}


def ask(client: OpenAI, params: dict[str, Any], *, stream: bool, seen: dict[str, Any]) -> dict[str, Any]:
    """Ask once, whole or streamed."""
    return read_stream(client, params, seen) if stream else seen_answer(client.chat.completions.create(**params))


def converse(client: OpenAI, job: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """Ask, give the tools' results back together with what the assistant said, and ask again."""
    params, stream = job["params"], job["stream"]
    first = ask(client, params, stream=stream, seen=seen)
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
        }
        for call in first["tools"]
    ]
    said: dict[str, Any] = {"role": "assistant", "content": first["text"] or None, "tool_calls": calls}
    if first["details"]:
        said["reasoning_details"] = first["details"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": text}
        for call, text in zip(calls, job["results"], strict=True)
    ]
    second = {**params, "messages": [*params["messages"], said, *results]}
    return {"first": dict(first), **ask(client, second, stream=stream, seen={})}


def embed(client: OpenAI, job: dict[str, Any]) -> dict[str, Any]:
    """Ask for embeddings; without an encoding the library asks for base64 and unpacks it."""
    answer = client.embeddings.create(**job["params"])
    vectors = [item.embedding for item in answer.data]
    return {"vectors": vectors, "model": answer.model, "input": answer.usage.prompt_tokens}


def models(client: OpenAI, job: dict[str, Any]) -> dict[str, Any]:
    """List the models and retrieve one."""
    return {"ids": [model.id for model in client.models.list()], "one": client.models.retrieve(job["model"]).id}


def do(client: OpenAI, job: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """Do one job."""
    match job["kind"]:
        case "whole" | "stream" as kind:
            return ask(client, job["params"], stream=kind == "stream", seen=seen)
        case "helper":
            return use_helper(client, job["params"])
        case "parse":
            return parse(client, job["params"])
        case "converse":
            return converse(client, job, seen)
        case "embed":
            return embed(client, job)
        case "models":
            return models(client, job)
        case "twice":
            ask(client, job["params"], stream=False, seen=seen)
            return ask(client, job["params"], stream=False, seen=seen)
        case other:
            raise ValueError(other)


def told(error: Exception) -> dict[str, Any]:
    """Return an exception as its catcher sees it."""
    return {
        "class": type(error).__name__,
        "is_api_error": isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError),
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "code", None),
        "type": getattr(error, "type", None),
        "request_id": getattr(error, "request_id", None),
        "message": str(error),
    }


def main() -> None:
    """Do all jobs, with one client for each way to call."""
    base_url, key = sys.argv[1:3]
    clients: dict[tuple[str, bool], OpenAI] = {}
    results = {}
    for job in json.load(sys.stdin):
        way = (job.get("key") or key, bool(job.get("retries")))
        if way not in clients:
            options: dict[str, Any] = {} if way[1] else {"max_retries": 0}
            clients[way] = OpenAI(base_url=base_url, api_key=way[0], **options)
        seen: dict[str, Any] = {}
        began = time.monotonic()
        try:
            result = do(clients[way], job, seen)
        except Exception as error:  # whatever the library raises is the result
            result = {**seen, "error": told(error)}
        results[job["id"]] = {**result, "seconds": time.monotonic() - began}
    sys.stdout.write(json.dumps({"version": openai.__version__, "results": results}))


if __name__ == "__main__":
    main()
