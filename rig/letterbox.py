"""A mail server that delivers to nobody: what it is sent can be read by the one who runs it. SMTP, as little as Django needs."""

import contextlib
import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import cast


@dataclass(slots=True)
class Letterbox:
    """The messages that came, by the address that they were sent to, oldest first."""

    port: int = 0
    _letters: dict[str, list[EmailMessage]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """What EMAIL_URL has to be for messages to come here."""
        return f"smtp://127.0.0.1:{self.port}?tls=0"

    def put(self, recipients: list[str], data: bytes) -> None:
        """Keep a message."""
        letter = email.message_from_bytes(data, policy=email.policy.default)
        with self._lock:
            for recipient in recipients:
                self._letters.setdefault(recipient.lower(), []).append(letter)

    def texts_to(self, address: str) -> list[str]:
        """Return the texts of the messages to an address."""
        with self._lock:
            letters = list(self._letters.get(address.lower(), []))
        return [_text_of(letter) for letter in letters]


def _text_of(letter: EmailMessage) -> str:
    body = letter.get_body(preferencelist=("plain",))
    return str(body.get_content()) if body is not None else ""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    letterbox: Letterbox


class _Conversation(socketserver.StreamRequestHandler):
    """One connection: every recipient is welcome."""

    def handle(self) -> None:
        """Answer until QUIT, or until the other side is gone."""
        with contextlib.suppress(ConnectionError):
            self._say("220 letterbox")
            recipients: list[str] = []
            while line := self.rfile.readline():
                word = line.strip().decode(errors="replace")
                match word[:4].upper():
                    case "QUIT":
                        self._say("221 bye")
                        return
                    case "RCPT":
                        recipients.append(word.partition("<")[2].partition(">")[0])
                        self._say("250 ok")
                    case "DATA":
                        self._say("354 go on")
                        cast("_Server", self.server).letterbox.put(recipients, self._read_message())
                        recipients = []
                        self._say("250 ok")
                    case _:
                        self._say("250 ok")

    def _read_message(self) -> bytes:
        lines: list[bytes] = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b".").replace(b"\r\n", b"\n"))
        return b"".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextlib.contextmanager
def letterbox() -> Iterator[Letterbox]:
    """Take mail on a free port for the time of the block."""
    with _Server(("127.0.0.1", 0), _Conversation) as server:
        server.letterbox = Letterbox(port=server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.letterbox
        finally:
            server.shutdown()
            thread.join()
