"""The words in which JSON schemas of the data plane are written. Pure."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
USD: Schema = {"type": "string", "description": "US dollars, a decimal number.", "examples": ["0.000754"]}
NANO: Schema = {"type": "string", "description": "Billionths of a US dollar, an integer.", "examples": ["754000"]}


def ref(name: str) -> Schema:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def array_of(item: Schema, **more: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item, **more}


def open_object(properties: dict[str, Schema], *, required: tuple[str, ...] = (), about: str = "") -> Schema:
    """Return the schema of an object that may have other fields, too."""
    described: Schema = {"description": about} if about else {}
    needed: Schema = {"required": list(required)} if required else {}
    return {"type": "object", **described, "properties": properties, **needed, "additionalProperties": True}


def nullable(schema: Schema) -> Schema:
    """Return a schema that null fits, too."""
    return {"anyOf": [schema, {"type": "null"}]}
