"""The content of a chat message as the blocks of a Messages one. Blank text, which upstreams refuse, is left out."""

from typing import Any

from gateway.translate.chat_over_messages.shapes import CacheControl, ImageUrl, Part, missing, unsupported
from gateway.translate.chat_over_messages.sources import file_block, image_block

type Block = dict[str, Any]

_AUDIO = "this model does not take sound. Send a transcript as text."


def text_blocks(content: str | list[Part] | None, where: str) -> list[Block]:
    """Return the blocks of content that can only be text: of the system, of the assistant."""
    return blocks_of(content, where, only_text=True)


def blocks_of(content: str | list[Part] | None, where: str, *, only_text: bool = False) -> list[Block]:
    """Return the blocks of content of a message at ``where``. Raises RequestShapeError for parts that cannot be told."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content and not content.isspace() else []
    blocks = []
    for index, part in enumerate(content):
        at = f"{where}.content[{index}]"
        block = _block_of(part, at)
        if block is None:
            continue
        if only_text and block["type"] != "text":
            raise unsupported(at, f"a message of this role can hold text only, not {part.type}.")
        if part.cache_control is not None:
            block["cache_control"] = part.cache_control
        blocks.append(block)
    return blocks


def mark_last(blocks: list[Block], marker: CacheControl) -> None:
    """Put a message's own cache marker on its last block, unless that has one."""
    if marker is not None and blocks:
        blocks[-1].setdefault("cache_control", marker)


def _block_of(part: Part, at: str) -> Block | None:
    kind = part.type
    if kind in ("text", "refusal"):
        text = part.text if kind == "text" else part.refusal
        if text is None:
            raise missing(f"{at}.{kind}")
        return {"type": "text", "text": text} if text and not text.isspace() else None
    if kind == "image_url":
        image = part.image_url
        if image is None:
            raise missing(f"{at}.image_url")
        return image_block(image.url if isinstance(image, ImageUrl) else image, at)
    if kind == "file":
        if part.file is None:
            raise missing(f"{at}.file")
        return file_block(part.file, at)
    if kind == "input_audio":
        raise unsupported(at, _AUDIO)
    raise unsupported(at, f'parts of type "{kind[:80]}" cannot be sent to this model. Use text, image_url or file.')
