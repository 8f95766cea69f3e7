"""Answers of real providers' forms, and what they must amount to: ``NAME.sse`` or ``NAME.json``, and ``NAME.case.json`` beside it.

The bodies and the expected values were written by hand from what the providers document and send; nothing in them was made by the
code that they judge. A case says:

- ``provider``, ``what``: whose form it is, and what is special about it
- ``status`` (200), ``content_type``, ``ending`` (``clean``, ``cut``: the connection is reset, ``stall``: silence)
- ``text``, ``reasoning``, ``tools`` (id, name, arguments decoded; a text where they are no JSON), ``finish`` in the words of chat
  completions, ``stop_reason`` in those of Messages where the recording is one; ``signatures`` and ``redacted`` of its thinking
- ``usage``: disjoint classes, null where none is reported; ``flags``: what had to be put right in it
- ``failure``: how the call must fail (a FailureKind); then ``text`` is what had come out before
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
CHAT, MESSAGES = "chat", "messages"


@dataclass(frozen=True)
class Recording:
    """A recorded answer and its case."""

    name: str
    body: bytes
    is_stream: bool
    case: dict[str, Any]

    @property
    def protocol(self) -> str:
        """Its folder: ``chat`` or ``messages``."""
        return self.name.partition("/")[0]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.case.get("status", 200))

    @property
    def content_type(self) -> str:
        """The media type that it came with."""
        return str(self.case.get("content_type", "text/event-stream" if self.is_stream else "application/json"))

    @property
    def ending(self) -> str:
        """How its connection ended."""
        return str(self.case.get("ending", "clean"))

    @property
    def fails(self) -> bool:
        """Whether the call must fail."""
        return "failure" in self.case


def load(name: str) -> Recording:
    """Return a recording by its name, ``chat/openai-stream-text``."""
    case = json.loads((FOLDER / f"{name}.case.json").read_text())
    for ending, is_stream in ((".sse", True), (".json", False), (".txt", False)):
        path = FOLDER / f"{name}{ending}"
        if path.exists():
            return Recording(name, path.read_bytes(), is_stream, case)
    raise FileNotFoundError(name)


def names(protocol: str) -> list[str]:
    """Return the names of all recordings of a protocol."""
    return sorted(
        f"{protocol}/{path.name.removesuffix('.case.json')}" for path in (FOLDER / protocol).glob("*.case.json")
    )
