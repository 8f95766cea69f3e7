"""Stripe's form encoding, the refusal of unknown parameters, lists by cursor, and expansion."""

import copy
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from rig.stripe.state import Record, State, StripeError

INVOICE_PAYMENTS = "/v1/invoice_payments"
LIST_PARAMS = frozenset({"limit", "starting_after", "ending_before", "created", "expand"})


def parse_form(text: str) -> Record:
    """Return nested parameters: `a[b]=1` is a dict, `a[0]=1` and `a[]=1` are lists."""
    root: Record = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        keys = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1] or str(len(node))] = value
    return {key: _fold(value) for key, value in root.items()}


def _fold(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    folded = {key: _fold(inner) for key, inner in value.items()}
    if folded and all(key.isdigit() for key in folded):
        return [folded[key] for key in sorted(folded, key=int)]
    return folded


def check_known(params: Record, allowed: Iterable[str], prefix: str = "") -> None:
    """Raise StripeError for the first parameter that is not in `allowed`."""
    for name in params.keys() - set(allowed):
        full = f"{prefix}[{name}]" if prefix else name
        raise StripeError(f"Received unknown parameter: {full}", code="parameter_unknown", param=full)


def require(params: Record, name: str) -> Any:
    """Return a parameter. Raises StripeError when it is missing or empty."""
    if params.get(name) in (None, ""):
        raise StripeError(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return params[name]


def read_amount(value: Any, param: str = "amount") -> int:
    """Return a positive amount in the currency's smallest unit. Raises StripeError."""
    if not re.fullmatch(r"-?[0-9]{1,12}", str(value)):
        raise StripeError(f"Invalid integer: {value}", code="parameter_invalid_integer", param=param)
    if int(value) < 1:
        raise StripeError(
            "This value must be greater than or equal to 1.", code="parameter_invalid_integer", param=param
        )
    return int(value)


def read_time(value: Any, param: str) -> int:
    """Return a moment in Unix seconds. Raises StripeError."""
    if not re.fullmatch(r"[0-9]{1,11}", str(value)):
        raise StripeError(f"Invalid timestamp: {value}", code="parameter_invalid_integer", param=param)
    return int(value)


def is_true(value: Any) -> bool:
    """Return whether a form's flag is set."""
    return str(value).lower() == "true"


def merge_metadata(record: Record, params: Record) -> None:
    """Merge metadata as Stripe does: an empty value removes its key, an empty map removes all."""
    given = params.get("metadata")
    if given is None:
        return
    merged = record.get("metadata", {}) | given if given != "" else {}
    record["metadata"] = {key: value for key, value in merged.items() if value != ""}


def list_page(records: list[Record], params: Record, url: str) -> Record:
    """Return one page of `records`, which are newest first. Raises StripeError for a bad limit or cursor."""
    limit = read_amount(params.get("limit", "10"), "limit")
    if limit > 100:
        raise StripeError("Invalid limit: at most 100.", param="limit")
    bounds = params.get("created", {})
    bounds = bounds if isinstance(bounds, dict) else {"gte": bounds, "lte": bounds}
    check_known(bounds, ("gt", "gte", "lt", "lte"), "created")
    kept = [record for record in records if _is_within(record["created"], bounds)]
    ids = [record["id"] for record in kept]
    for cursor in ("starting_after", "ending_before"):
        if cursor in params and params[cursor] not in ids:
            raise StripeError(f"No such object: '{params[cursor]}'", code="resource_missing", param=cursor)
    if "ending_before" in params:
        before = kept[: ids.index(params["ending_before"])]
        page, more = before[-limit:], len(before) > limit
    else:
        after = kept[ids.index(params["starting_after"]) + 1 :] if "starting_after" in params else kept
        page, more = after[:limit], len(after) > limit
    return {"object": "list", "url": url, "has_more": more, "data": page}


def _is_within(at: int, bounds: Record) -> bool:
    return (
        at > int(bounds.get("gt", -1))
        and at >= int(bounds.get("gte", 0))
        and at < int(bounds.get("lt", at + 1))
        and at <= int(bounds.get("lte", at))
    )


def expand(state: State, answer: Record, paths: list[str]) -> Record:
    """Return a copy of an answer with the ids at `paths` replaced by their objects."""
    answer = copy.deepcopy(answer)
    for path in paths:
        _expand_at(state, answer, path.split("."), path)
    return answer


def _expand_at(state: State, node: Any, keys: list[str], path: str) -> None:
    if isinstance(node, list):
        for item in node:
            _expand_at(state, item, keys, path)
        return
    if isinstance(node, dict) and node.get("object") == "invoice" and keys[0] == "payments":
        rows = [row for row in state.all("invoice_payment") if row["invoice"] == node["id"]]
        node["payments"] = {"object": "list", "data": copy.deepcopy(rows), "has_more": False, "url": INVOICE_PAYMENTS}
    if not isinstance(node, dict) or keys[0] not in node:
        raise StripeError(f"This property cannot be expanded ({path}).", param="expand")
    value = node[keys[0]]
    if isinstance(value, str) and value in state.objects:
        value = node[keys[0]] = copy.deepcopy(state.objects[value])
    if len(keys) > 1 and value is not None:
        _expand_at(state, value, keys[1:], path)
