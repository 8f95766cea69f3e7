"""Development mail: the messages that Django's file backend wrote instead of sending. Closed outside development."""

import datetime as dt
import email
import email.policy
import re
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from django.conf import settings

FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
#: What the backend calls its files, and the place of a message in its file, counted from 1 and left out for the first: two
#: connections of one second can have one name. Nothing else opens: no folder, no dot, no slash.
MESSAGE_NAME = re.compile(r"(?P<file>[0-9]{8}-[0-9]{6}-[0-9]+\.log)(?:\.(?P<place>[1-9][0-9]{0,3}))?")
SEPARATOR = re.compile(rb"^-{79}$", re.MULTILINE)
LINK = re.compile(r"https?://[^\s<>\"]+")
NEWEST = 100


@dataclass(frozen=True, slots=True)
class DevelopmentMessage:
    """One message as a page shows it; ``text`` is cut into (text, is_link) pieces by ``pieces``."""

    name: str
    to: str
    subject: str
    at: dt.datetime
    text: str
    #: As a mail program shows it; empty where there is none.
    html: str = ""

    @property
    def links(self) -> list[str]:
        """The addresses that the message holds, in order."""
        return LINK.findall(self.text)

    @property
    def pieces(self) -> list[tuple[str, bool]]:
        """The text in pieces, each with whether it is a link."""
        pieces, end = [], 0
        for match in LINK.finditer(self.text):
            pieces += [(self.text[end : match.start()], False), (match[0], True)]
            end = match.end()
        return [(piece, is_link) for piece, is_link in [*pieces, (self.text[end:], False)] if piece]


def _folder() -> Path | None:
    """Return where messages are written, or None unless both DEBUG and the file backend are on."""
    mailer: dict[str, Any] = settings.MAILERS["default"]
    if not settings.DEBUG or mailer["BACKEND"] != FILE_BACKEND:
        return None
    return Path(mailer["OPTIONS"]["file_path"])


def is_open() -> bool:
    """Tell whether development mail may be shown."""
    return _folder() is not None


def newest_messages() -> list[DevelopmentMessage]:
    """Return the newest messages, newest first; none outside development."""
    folder = _folder()
    if folder is None or not folder.is_dir():
        return []
    files = sorted((path for path in folder.iterdir() if MESSAGE_NAME.fullmatch(path.name)), reverse=True)
    return [message for path in files[:NEWEST] for message in reversed(_read(path))][:NEWEST]


def message_named(name: str) -> DevelopmentMessage | None:
    """Return the message in a file, or None: unknown, not a message's name, or not in development."""
    folder = _folder()
    match = MESSAGE_NAME.fullmatch(name)
    if folder is None or match is None:
        return None
    path = folder / match["file"]
    return next((message for message in _read(path) if message.name == name), None) if path.is_file() else None


def newest_message_to(address: str) -> DevelopmentMessage | None:
    """Return the newest message to an address, for the link on the page after sign-up."""
    return next((message for message in newest_messages() if message.to.lower() == address.lower()), None)


def _read(path: Path) -> list[DevelopmentMessage]:
    """Read a file's messages, oldest first."""
    parts = [part for part in SEPARATOR.split(path.read_bytes()) if part.strip()]
    return [
        _parse(part.lstrip(b"\n"), name=path.name if place == 1 else f"{path.name}.{place}", path=path)
        for place, part in enumerate(parts, start=1)
    ]


def _parse(raw: bytes, *, name: str, path: Path) -> DevelopmentMessage:
    parsed = email.message_from_bytes(raw, EmailMessage, policy=email.policy.default)
    text, html = (parsed.get_body((kind,)) for kind in ("plain", "html"))
    return DevelopmentMessage(
        name=name,
        to=str(parsed["to"] or ""),
        subject=str(parsed["subject"] or ""),
        at=dt.datetime.fromtimestamp(path.stat().st_mtime, tz=dt.UTC),
        text=str(text.get_content()) if text is not None else "",
        html=str(html.get_content()) if html is not None else "",
    )
