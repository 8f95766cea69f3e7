"""What is wrong with a request, in words that help its sender: msgspec's errors, retold."""

import re
from typing import Literal

import msgspec

_WRONG_TYPE = re.compile(
    r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>[^`]+)`(?: - at `(?:key in )?`?\$(?P<path>[^`]*)`)?"
)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`(?: - at `\$(?P<path>[^`]*)`)?")
_WORDS = {
    "array": "a list",
    "object": "an object",
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
}
#: What a list is a list of, so that the message is of use.
_LISTS = {
    "messages": "a list of objects",
    "tools": "a list of objects",
    "functions": "a list of objects",
    "stop": "a list of strings",
    "content": "a list of parts",
}

type ErrorCode = Literal[
    "invalid_json", "invalid_parameter", "missing_parameter", "unsupported_parameter", "unsupported_content"
]


class RequestShapeError(Exception):
    """The request is malformed; ``message`` is for the client and ``param`` names the field, in the client's own terms."""

    def __init__(self, code: ErrorCode, message: str, param: str | None = None) -> None:
        super().__init__(code, message, param)
        self.code: ErrorCode = code
        self.message = message
        self.param = param


def grammar_error(error: msgspec.DecodeError, body: bytes) -> RequestShapeError:
    """Return the error for a body that is no JSON at all."""
    if not body.strip():
        return RequestShapeError("invalid_json", "The body is empty: send a JSON object.")
    reason = str(error).removeprefix("JSON is malformed: ").rstrip(".")
    return RequestShapeError("invalid_json", f"The body is not valid JSON: {reason[0].lower()}{reason[1:]}.")


def shape_error(error: msgspec.ValidationError) -> RequestShapeError:
    """Return the error for a body whose values are not what the protocol says."""
    text = str(error)
    path = _path_of(text)
    if found := _MISSING.search(text):
        name = f"{path}.{found['name']}" if path else found["name"]
        return RequestShapeError("missing_parameter", f"{name} is missing.", name)
    if found := _WRONG_TYPE.search(text):
        if not path:
            return RequestShapeError("invalid_json", f"The body must be an object, it is {_in_words(found['got'])}.")
        wanted = [kind for kind in found["wanted"].split(" | ") if kind != "null"]
        name = path.rpartition(".")[2]
        words = [_LISTS.get(name, "a list") if kind == "array" else _in_words(kind) for kind in wanted]
        message = f"{path} must be {' or '.join(words)}, it is {_in_words(found['got'])}."
        return RequestShapeError("invalid_parameter", message, path)
    if "out of range" in text.lower():
        return RequestShapeError("invalid_parameter", f"{path or 'A number'} is out of range.", path or None)
    return RequestShapeError("invalid_parameter", f"{path or 'The body'} has the wrong shape.", path or None)


def _in_words(kind: str) -> str:
    return _WORDS.get(kind, kind)


def _path_of(text: str) -> str:
    """Return the field that msgspec complains of, as clients write it: ``messages[0].role``."""
    found = re.search(r"at `\$([^`]*)`|at `key in \$([^`]*)`", text)
    if not found:
        return ""
    return (found[1] or found[2] or "").removeprefix(".").replace("[...]", "[]")
