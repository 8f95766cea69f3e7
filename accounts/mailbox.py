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
#: What the backend calls its files. Nothing else opens: no folder, no dot, no slash.
FILE_NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]+\.log")
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
    files = sorted((path for path in folder.iterdir() if FILE_NAME.fullmatch(path.name)), reverse=True)
    return [_read(path) for path in files[:NEWEST]]


def message_named(name: str) -> DevelopmentMessage | None:
    """Return the message in a file, or None: unknown, not a message's name, or not in development."""
    folder = _folder()
    if folder is None or not FILE_NAME.fullmatch(name):
        return None
    path = folder / name
    return _read(path) if path.is_file() else None


def newest_message_to(address: str) -> DevelopmentMessage | None:
    """Return the newest message to an address, for the link on the page after sign-up."""
    return next((message for message in newest_messages() if message.to.lower() == address.lower()), None)


def _read(path: Path) -> DevelopmentMessage:
    """Read a file's first message: allauth sends one message through each connection, so a file holds one."""
    raw = SEPARATOR.split(path.read_bytes())[0]
    parsed = email.message_from_bytes(raw, EmailMessage, policy=email.policy.default)
    body = parsed.get_body(("plain",))
    return DevelopmentMessage(
        name=path.name,
        to=str(parsed["to"] or ""),
        subject=str(parsed["subject"] or ""),
        at=dt.datetime.fromtimestamp(path.stat().st_mtime, tz=dt.UTC),
        text=str(body.get_content()) if body is not None else "",
    )
