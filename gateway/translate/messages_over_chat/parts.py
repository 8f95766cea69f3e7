"""Content blocks of Messages as the parts of chat messages."""

from typing import Any

from gateway.protocols.anthropic_content import Block, Source, is_given
from gateway.protocols.wording import RequestShapeError

type Part = dict[str, Any]

#: Between texts that were blocks of their own and become one.
BETWEEN = "\n\n"
_PDF = "application/pdf"


def parts_of(content: str | list[Block], path: str, *, keep_cache: bool) -> list[Part]:
    """Return the parts that a user's content amounts to, in order. Raises RequestShapeError for what no part can say."""
    if isinstance(content, str):
        return [text_part(content)]
    parts: list[Part] = []
    for index, block in enumerate(content):
        parts += parts_of_block(block, f"{path}[{index}]", keep_cache=keep_cache)
    return parts


def parts_of_block(block: Block, path: str, *, keep_cache: bool) -> list[Part]:
    """Return the parts that one block amounts to."""
    kind = block.type
    if kind == "text":
        parts = [text_part(block.text or "")]
    elif kind == "image":
        parts = [_image_part(block, path)]
    elif kind == "document":
        parts = _document_parts(block, path)
    elif kind == "search_result":
        parts = [text_part(_search_text(block, path))]
    elif kind == "tool_reference":
        # What a search for tools found. The upstream has had the tool from the start.
        parts = [text_part(f"The tool {block.tool_name} is available.")]
    else:
        raise unsupported(
            path, f'this model\'s upstream cannot be sent blocks of type "{kind}"', "Leave the block out."
        )
    if keep_cache and parts and is_given(block.cache_control):
        parts[-1]["cache_control"] = block.cache_control
    return parts


def content_of(parts: list[Part]) -> str | list[Part]:
    """Return parts as the content of a message: one string where they are plain text, since not every upstream reads lists."""
    if all(part["type"] == "text" and "cache_control" not in part for part in parts):
        return BETWEEN.join([part["text"] for part in parts])
    return parts


def text_part(text: str) -> Part:
    """Return a part of text."""
    return {"type": "text", "text": text}


def unsupported(path: str, problem: str, advice: str) -> RequestShapeError:
    """Return the error for content that the chat protocol cannot express."""
    return RequestShapeError("unsupported_content", f"{path}: {problem}. {advice}", path)


def _image_part(block: Block, path: str) -> Part:
    source = _source_of(block, path)
    if source.type == "url":
        url = source.url
    elif source.type == "base64":
        url = f"data:{source.media_type};base64,{source.data}"
    else:
        raise unsupported(
            path, f'an image with a source of type "{source.type}" cannot be sent on', "Send it as base64."
        )
    return {"type": "image_url", "image_url": {"url": url}}


def _document_parts(block: Block, path: str) -> list[Part]:
    source = _source_of(block, path)
    about = [text for text in (block.title, block.context) if text]
    if source.type == "text":
        return [text_part(BETWEEN.join([*about, source.data or ""]))]
    if source.type == "content":
        inner = parts_of(source.content or "", f"{path}.source.content", keep_cache=False)
        return [text_part(BETWEEN.join(about)), *inner] if about else inner
    if source.type == "base64" and source.media_type == _PDF:
        name = block.title or "document"
        name = name if name.lower().endswith(".pdf") else f"{name}.pdf"
        file = {"filename": name, "file_data": f"data:{_PDF};base64,{source.data}"}
        before = [text_part(block.context)] if block.context else []
        return [*before, {"type": "file", "file": file}]
    kind = f"{source.type} ({source.media_type})" if source.type == "base64" else source.type
    problem = f'a document with a source of type "{kind}" cannot be sent on'
    raise unsupported(path, problem, "Send a PDF as base64, or the document's text.")


def _search_text(block: Block, path: str) -> str:
    if not isinstance(block.content, list):
        raise RequestShapeError("invalid_parameter", f"{path}.content must be a list of blocks.", f"{path}.content")
    source = block.source if isinstance(block.source, str) else ""
    head = "\n".join(line for line in (block.title, source) if line)
    return BETWEEN.join([head, *(inner.text or "" for inner in block.content)])


def _source_of(block: Block, path: str) -> Source:
    if not isinstance(block.source, Source):
        raise RequestShapeError("invalid_parameter", f"{path}.source must be an object.", f"{path}.source")
    return block.source
