"""Images and files of chat completions as images and documents of Messages: what a data URL holds, and whether it is sound."""

import binascii
import string
from typing import Any

from msgspec import Raw

from gateway.translate.chat_over_messages.shapes import File, invalid, missing, unsupported

#: Letters of base64 become 0, all else 1: a translation and a search for one byte run at the speed of memory.
_IS_FOREIGN = bytes(chr(byte) not in f"{string.ascii_letters}{string.digits}+/" for byte in range(256))
_SLICE = 64 * 1024
#: Images that Messages upstreams read, and a name that is in use for one of them.
_IMAGES = {name: name for name in ("image/jpeg", "image/png", "image/gif", "image/webp")} | {"image/jpg": "image/jpeg"}
_PDF = "application/pdf"
#: Documents that are text, beside all of ``text/…``.
_TEXTS = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})
#: What a PDF begins with, in base64: data without a type is known by it.
_PDF_MARK = "JVBERi0"
_TEXT_ENDINGS = (".txt", ".md", ".csv", ".json", ".xml", ".html", ".yaml", ".yml")


def image_block(url: str, where: str) -> dict[str, Any]:
    """Return the image block for a URL or a data URL."""
    if url[:5].lower() != "data:":
        return {"type": "image", "source": {"type": "url", "url": _checked_url(url, where)}}
    media_type, start = _head_of(url, where)
    if media_type not in _IMAGES:
        kinds = "JPEG, PNG, GIF and WebP"
        raise unsupported(where, f'this model takes images in {kinds}, not "{media_type[:80]}". Convert it.')
    return {"type": "image", "source": _base64_source(_IMAGES[media_type], url, start, where)}


def file_block(file: File, where: str) -> dict[str, Any]:
    """Return the document block, or the image block, for a file that is in the request."""
    if file.file_id is not None and file.file_data is None:
        raise unsupported(where, "this model cannot fetch files by file_id. Send the file itself as file_data.")
    given = file.file_data
    if given is None:
        raise missing(f"{where}.file.file_data")
    where_data = f"{where}.file.file_data"
    if given[:5].lower() == "data:":
        media_type, start = _head_of(given, where_data)
    elif given[:8].lower().startswith(("https://", "http://")):
        return _titled({"type": "document", "source": {"type": "url", "url": given}}, file)
    else:
        media_type, start = _guessed_type(file, given, where_data), 0
    if media_type in _IMAGES:
        return {"type": "image", "source": _base64_source(_IMAGES[media_type], given, start, where_data)}
    if media_type == _PDF:
        return _titled({"type": "document", "source": _base64_source(_PDF, given, start, where_data)}, file)
    if media_type.startswith("text/") or media_type in _TEXTS:
        text = _decoded_text(given[start:], where_data)
        source = {"type": "text", "media_type": "text/plain", "data": text}
        return _titled({"type": "document", "source": source}, file)
    raise unsupported(where, f'this model takes PDF and text files, not "{media_type[:80]}". Send its text instead.')


def _titled(block: dict[str, Any], file: File) -> dict[str, Any]:
    if file.filename:
        block["title"] = file.filename
    return block


def _checked_url(url: str, where: str) -> str:
    if url[:8].lower().startswith(("https://", "http://")):
        return url
    raise invalid(where, "must be an http(s) URL or a data URL.")


def _head_of(url: str, where: str) -> tuple[str, int]:
    """Return the media type of a data URL, and where its base64 data starts."""
    comma = url.find(",")
    media_type, *parameters = url[5 : max(comma, 5)].split(";")
    if comma < 0 or not parameters or parameters[-1].strip().lower() != "base64":
        raise invalid(where, "must be a data URL of the form data:<media type>;base64,<data>.")
    return media_type.strip().lower(), comma + 1


def _base64_source(media_type: str, text: str, start: int, where: str) -> dict[str, Any]:
    """Return the source whose data stands in ``text`` from ``start`` on: it may be megabytes, and is copied but once."""
    end = len(text) - text.endswith("=") - text.endswith("==")
    if end <= start or (len(text) - start) % 4 or not text.isascii() or not _is_base64(text, start, end):
        raise invalid(where, "holds data that is not valid base64.")
    # Base64 needs no escapes: as it is, it is JSON.
    return {"type": "base64", "media_type": media_type, "data": Raw(f'"{text[start:]}"')}


def _is_base64(text: str, start: int, end: int) -> bool:
    slices = (text[at : min(at + _SLICE, end)] for at in range(start, end, _SLICE))
    return not any(1 in letters.encode().translate(_IS_FOREIGN) for letters in slices)


def _guessed_type(file: File, data: str, where: str) -> str:
    if data.startswith(_PDF_MARK):
        return _PDF
    if (file.filename or "").lower().endswith(_TEXT_ENDINGS):
        return "text/plain"
    raise invalid(where, "must be a data URL, so that its media type is known: data:<media type>;base64,<data>.")


def _decoded_text(data: str, where: str) -> str:
    try:
        text = binascii.a2b_base64(data.encode(), strict_mode=True).decode()
    except ValueError:  # both of base64 and of UTF-8
        raise invalid(where, "holds data that is not text in UTF-8, encoded as base64.") from None
    if not text.strip() or "\x00" in text:
        raise invalid(where, "holds no text, or a NUL character.")
    return text
