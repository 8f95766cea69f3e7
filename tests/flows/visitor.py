"""A person at the site of a running gateway, without a browser: pages and forms over HTTP, with their cookies and tokens."""

import re
from collections.abc import Mapping
from typing import Any

import httpx

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    """One person's browser, on one or several gateways of an installation: the session is a cookie."""

    def __init__(self, origin: str) -> None:
        self.http = httpx.Client(base_url=origin, follow_redirects=False, timeout=30)

    def sign_in(self, email: str, password: str) -> httpx.Response:
        """Sign in by password."""
        return self.send("/login", {"login": email, "password": password}, page="/login")

    def see(self, path: str, **more: Any) -> httpx.Response:
        """Open a page."""
        return self.http.get(path, **more)

    def send(self, path: str, fields: Mapping[str, Any], *, page: str) -> httpx.Response:
        """Send a form that is on a page."""
        found = _TOKEN.search(self.see(page).text)
        token = str(found[1] if found else self.http.cookies.get("csrftoken", ""))
        origin = str(self.http.base_url).rstrip("/")
        headers = {"Referer": f"{origin}{page}", "Origin": origin, "X-CSRFToken": token}
        return self.http.post(path, data={**fields, "csrfmiddlewaretoken": token}, headers=headers)

    def at(self, origin: str) -> "Visitor":
        """Return the same person, with the same session, at another gateway."""
        other = Visitor(origin)
        for cookie in self.http.cookies.jar:
            other.http.cookies.set(cookie.name, cookie.value or "")
        return other

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
