"""Reads the admin's forms out of their pages, as a browser does: what it would send if nothing was changed."""

from html.parser import HTMLParser


class _Forms(HTMLParser):
    """Collects the fields of a page. Admin pages have one form that matters; the others hold a token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._select = self._textarea = ""
        self._option: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take inputs and chosen options."""
        found = {name: value or "" for name, value in attrs}
        name, is_off = found.get("name", ""), "disabled" in found
        if tag == "input" and name and not is_off and found.get("type") not in {"submit", "button", "file"}:
            is_tick = found.get("type") in {"checkbox", "radio"}
            if not is_tick or "checked" in found:
                self.values.setdefault(name, []).append(found.get("value", "on" if is_tick else ""))
        elif tag == "select":
            self._select = "" if is_off else name
        elif tag == "option" and self._select and "selected" in found:
            self.values.setdefault(self._select, []).append(found.get("value", ""))
        elif tag == "textarea":
            self._textarea = name
            self.values[name] = [""]

    def handle_endtag(self, tag: str) -> None:
        """Leave a select or a textarea."""
        if tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        """Take what a textarea holds."""
        if self._textarea:
            self.values[self._textarea][0] += data.removeprefix("\r\n").removeprefix("\n")


def form_on(page: str) -> dict[str, list[str]]:
    """Return the values of a page's form."""
    reader = _Forms()
    reader.feed(page)
    return {
        name: values for name, values in reader.values.items() if not name.startswith("_") and "__prefix__" not in name
    }
