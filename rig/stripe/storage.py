"""The fake's state in a file, so that a restart keeps its customers."""

import json
import os
import secrets
from pathlib import Path

from rig.stripe.state import State

KEPT = ("objects", "behaviours", "frozen_at", "shift_s", "last_number", "after_retries", "base_url")


def save(state: State, path: Path) -> None:
    """Write the state; the file is replaced whole, and only its owner may read it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    data = {name: getattr(state, name) for name in KEPT}
    data["replies"] = {key: list(reply) for key, reply in state.replies.items()}
    fresh.write_text(json.dumps(data))
    fresh.replace(path)


def load(state: State, path: Path) -> None:
    """Read what was saved; addresses of pages follow the port that is served now.

    Where nothing was saved, ids begin somewhere: who remembers those of another file meets none of them again.
    """
    if not path.exists():
        state.last_number = secrets.randbelow(10**11)
        return
    text = path.read_text()
    kept = json.loads(text)
    kept = json.loads(text.replace(f'"{kept["base_url"]}', f'"{state.base_url}'))
    for name in KEPT:
        setattr(state, name, kept[name])
    state.replies = {key: (asked, status, body) for key, (asked, status, body) in kept["replies"].items()}
