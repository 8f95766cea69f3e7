"""A browser for the proof of signing in: cookies, forms, and an address that it pretends to come from.

It speaks to the web processes as a trusted proxy does, so ``address`` is what they take for the caller's.
"""

import base64
import hmac
import re
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from proofs.client import Answer, Connection, encode_request

#: A password that nobody would guess, of everybody in the proof.
PASSWORD = "a long password, of everybody here"  # noqa: S105
CSRF = "c" * 32


@dataclass(slots=True)
class Browser:
    """One person's browser, on a connection that others may use too, one after the other."""

    connection: Connection
    address: str
    cookies: dict[str, str] = field(default_factory=lambda: {"csrftoken": CSRF})

    async def get(self, path: str) -> Answer:
        """Open a page."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, fields: Mapping[str, str]) -> Answer:
        """Send a form."""
        body = urlencode({**fields, "csrfmiddlewaretoken": self.cookies["csrftoken"]})
        return await self._ask("POST", path, body.encode())

    async def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = {
            "x-forwarded-for": self.address,
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "accept": "text/html",
        }
        if body is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        answer = await self.connection.ask(encode_request(method, path, headers=headers, body=body))
        self._keep_cookies(answer)
        return answer

    def _keep_cookies(self, answer: Answer) -> None:
        head = bytes(answer.raw).partition(b"\r\n\r\n")[0].decode("latin-1")
        for line in re.findall(r"^set-cookie: (.*?)\r?$", head, re.IGNORECASE | re.MULTILINE):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value

    async def sign_in(self, email: str) -> Answer:
        """Give the right password."""
        return await self.post("/login", {"login": email, "password": PASSWORD})

    async def prove(self) -> Answer:
        """Give the password again, which changes of the account's security ask for."""
        return await self.post("/accounts/reauthenticate/", {"password": PASSWORD})


async def set_up_app(browser: Browser) -> str:
    """Set an authenticator app up in a browser that is signed in; return its secret. Raises ValueError: it did not work."""
    await browser.prove()
    page = (await browser.get("/accounts/2fa/totp/activate/")).body.decode()
    found = re.search(r'translate="no">([A-Z2-7]+)<', page)
    if found is None:
        raise ValueError(f"There is no secret on the page of the app: {page[:500]}")
    # The code before is right too, and leaves the present one unused.
    answer = await browser.post("/accounts/2fa/totp/activate/", {"code": code_of_app(found[1], steps=-1)})
    if answer.status != 302:
        raise ValueError(f"The app could not be set up: {answer.status}")
    return found[1]


def code_of_app(secret: str, *, steps: int = 0) -> str:
    """Return what an authenticator app shows for a secret now, or so many half minutes from now (RFC 6238)."""
    counter = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
