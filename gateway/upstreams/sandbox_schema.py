"""A minimal instance of a JSON schema: what the sandbox's models answer where a schema is given. Deterministic."""

from typing import Any

#: Deeper than any schema in use; a schema that refers to itself ends here.
MAX_DEPTH = 16
#: Values in one instance: a schema that refers to itself several times would grow without end in width too.
MAX_VALUES = 2_000
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "user@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance_of(schema: Any) -> Any:
    """Return a small value that the schema accepts: of an object, the required properties only.

    Patterns are not solved; ``default``, ``examples``, ``const`` and ``enum`` are used where they are given.
    """
    return _Maker(schema).make(schema, 0)


class _Maker:
    """Makes one instance; knows the whole schema, for references into it."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = MAX_VALUES

    def make(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self._left < 0:
            return None
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        for name in ("enum", "examples"):
            if isinstance(schema.get(name), list) and schema[name]:
                return schema[name][0]
        if isinstance(schema.get("$ref"), str):
            return self.make(_resolved(schema["$ref"], self._root), depth + 1)
        for name in ("oneOf", "anyOf"):
            if isinstance(schema.get(name), list) and schema[name]:
                return self.make(schema[name][0], depth + 1)
        if isinstance(schema.get("allOf"), list):
            schema = _merged(schema, self._root)
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                least = min(_whole(schema.get("minItems"), 0), 64)
                return [self.make(schema.get("items", {}), depth + 1) for _ in range(least)]
            case "string":
                return _string(schema)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
        return None

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        return {name: self.make(properties.get(name, {}), depth + 1) for name in required if isinstance(name, str)}


def _string(schema: dict[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "example")
    least = _whole(schema.get("minLength"), 0)
    most = _whole(schema.get("maxLength"), max(len(text), least))
    return text.ljust(min(least, 4096), "x")[:most]


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    value: int | float = 1
    if isinstance(low, int | float) and value < low:
        value = low
    if isinstance(above, int | float) and value <= above:
        value = above + 1
    if isinstance(high, int | float) and value > high:
        value = high
    if isinstance(below, int | float) and value >= below:
        value = below - 1
    step = schema.get("multipleOf")
    if isinstance(step, int | float) and step > 0 and value % step:
        value = (value // step + 1) * step
    return int(value) if whole else value


def _whole(value: object, default: int) -> int:
    return value if isinstance(value, int) and value >= 0 else default


def _resolved(reference: object, root: Any) -> Any:
    """Return what a reference inside the same document points at, None if it points nowhere."""
    if not isinstance(reference, str):
        return None
    node = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        part = _resolved(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part
        for name, value in (part if isinstance(part, dict) else {}).items():
            if isinstance(value, dict) and isinstance(merged.get(name), dict):
                merged[name] = {**merged[name], **value}
            elif isinstance(value, list) and isinstance(merged.get(name), list):
                merged[name] = [*merged[name], *value]
            else:
                merged[name] = value
    return merged
