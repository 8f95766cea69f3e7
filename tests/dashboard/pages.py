"""Reads pages as a browser would: which addresses they name, and what the strict policy would refuse to run."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from tomllib import loads

from django.conf import settings

from gateway.services.catalog import apply_catalog

#: What anybody may open. Each is checked for links, policy and structure.
PUBLIC_PAGES = (
    "/",
    "/models",
    "/models?q=nothing-has-this-name",
    "/pricing",
    "/docs",
    "/docs/quickstart",
    "/docs/chat-completions",
    "/docs/models",
    "/docs/errors",
    "/docs/limits",
    "/docs/billing",
    "/login",
    "/signup",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/done/",
    "/accounts/password/reset/key/0-none/",
    "/accounts/confirm-email/",
    "/accounts/confirm-email/none/",
    "/accounts/inactive/",
    "/no-such-page",
)

ADDRESS_ATTRIBUTES = ("href", "src", "action", "hx-get", "hx-post")


class Page(HTMLParser):
    """A parsed page: its addresses, ids, headings, and everything that the policy forbids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.labelled: dict[str, dict[str, str]] = {}
        self.inline: list[str] = []
        self.title = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        values = {name: value or "" for name, value in attrs}
        self._open.append(tag)
        self.addresses += [(name, values[name]) for name in ADDRESS_ATTRIBUTES if name in values]
        if "id" in values:
            self.ids.append(values["id"])
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(tag)
        if tag == "input":
            self.labelled[values.get("name", "")] = values
        if tag == "style" or (tag == "script" and "src" not in values and values.get("type") != "application/json"):
            self.inline.append(tag)
        self.inline += [name for name in values if name == "style" or name.startswith(("on", "hx-on"))]
        if any(value.strip().lower().startswith("javascript:") for value in values.values()):
            self.inline.append("javascript:")

    def handle_data(self, data: str) -> None:
        """Keep the title."""
        if self._open and self._open[-1] == "title":
            self.title += data

    def handle_endtag(self, tag: str) -> None:
        """Leave a tag."""
        while self._open and self._open.pop() != tag:
            pass


def text_of(page: str) -> str:
    """Return a page's text as a reader copies it."""
    return unescape(re.sub(r"<[^>]+>", "", page))


def fill_catalog(extra: str = "") -> None:
    """Write the demo catalog, and further models in the catalog file's form."""
    demo = (Path(settings.BASE_DIR) / "gateway" / "demo" / "catalog.toml").read_text()
    apply_catalog(loads(demo + "\n" + extra))
