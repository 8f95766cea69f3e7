"""The public documentation: Markdown files under docs/guide, turned into pages and into llms.txt, so that the two cannot differ.

Neighbouring fences marked ``tab`` become one block with a tab per language. Raw HTML in the source is shown as text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, groupby, pairwise
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

from dashboard.snippets import Tab, localize, make_tab

FOLDER = Path(settings.BASE_DIR) / "docs" / "guide"
#: The order of the sidebar and of llms.txt. "index" is /docs itself.
SLUGS = (
    "index",
    "quickstart",
    "chat-completions",
    "messages",
    "embeddings",
    "models",
    "keys",
    "errors",
    "limits",
    "billing",
    "teams",
    "accounts",
    "management-api",
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A section of a page, for its table of contents."""

    anchor: str
    title: str
    level: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """A page of the documentation. ``source`` is Markdown with this installation's address."""

    slug: str
    title: str
    #: Plain, for search results; ``lead`` is the same with its marks.
    summary: str
    lead: SafeString
    source: str
    html: SafeString
    headings: tuple[Heading, ...]

    @property
    def href(self) -> str:
        """The page's path."""
        return reverse("site:docs") if self.slug == "index" else reverse("site:doc", args=[self.slug])


def chapters() -> list[Chapter]:
    """Return all pages in order."""
    return [_load(slug, settings.LUMYX_SITE_URL) for slug in SLUGS]


def chapter_by_slug(slug: str) -> Chapter | None:
    """Return a page, or None: there is no such page."""
    return _load(slug, settings.LUMYX_SITE_URL) if slug in SLUGS else None


def llms_text() -> str:
    """Return the whole documentation as one text for language models to read."""
    return "\n\n---\n\n".join(chapter.source.strip() for chapter in chapters()) + "\n"


@lru_cache(maxsize=4 * len(SLUGS))
def _load(slug: str, site_url: str) -> Chapter:
    # The address is a part of the key, because it is written into every sample.
    source = localize((FOLDER / f"{slug}.md").read_text())
    title, summary, body = _split(source)
    html, headings = _render(body)
    plain = re.sub(r"[`*]", "", summary)
    # Our own files again: inline Markdown with HTML switched off.
    lead = mark_safe(_parser().renderInline(summary))  # noqa: S308  see above
    return Chapter(slug=slug, title=title, summary=plain, lead=lead, source=source, html=html, headings=headings)


def _split(source: str) -> tuple[str, str, str]:
    # A page begins with "# Title" and one paragraph that sums it up.
    title, summary, body = source.split("\n\n", 2)
    return title.removeprefix("# ").strip(), " ".join(summary.split()), body


def _parser() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    markdown.add_render_rule("table_open", _open_table)
    markdown.add_render_rule("table_close", _close_table)
    return markdown


def _render(body: str) -> tuple[SafeString, tuple[Heading, ...]]:
    markdown = _parser()
    tokens = markdown.parse(body)
    headings = _anchor(tokens)
    ids = count(1)
    env: dict[str, Any] = {"tables": count(1)}
    parts: list[str] = []
    for is_tabs, run in groupby(tokens, key=lambda token: token.type == "fence" and token.level == 0):
        if not is_tabs:
            parts.append(markdown.renderer.render(list(run), markdown.options, env))
            continue
        parts.extend(
            render_to_string("components/code.html", {"tabs": tabs, "id": f"sample-{next(ids)}"})
            for tabs in _grouped(list(run))
        )
    # Our own files, with HTML switched off: what is left is what markdown-it and Pygments have escaped.
    return mark_safe("".join(parts)), headings  # noqa: S308  see above


def _grouped(fences: Sequence[Token]) -> list[list[Tab]]:
    groups: list[list[Tab]] = []
    joins = False
    for fence in fences:
        language, *marks = fence.info.split()
        tab = make_tab(language, fence.content)
        if joins and "tab" in marks:
            groups[-1].append(tab)
        else:
            groups.append([tab])
        joins = "tab" in marks
    return groups


def _anchor(tokens: list[Token]) -> tuple[Heading, ...]:
    headings: list[Heading] = []
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open" or opening.tag not in {"h2", "h3"}:
            continue
        title = re.sub(r"[`*]", "", inline.content)
        anchor = slugify(title.replace("/", " "))
        opening.attrSet("id", anchor)
        headings.append(Heading(anchor=anchor, title=title, level=int(opening.tag[1])))
        link = Token(
            "link_open", "a", 1, attrs={"class": "anchor", "href": f"#{anchor}", "aria-label": f"Link to {title}"}
        )
        sign = Token("text", "", 0, content="#")
        (inline.children or []).extend([link, sign, Token("link_close", "a", -1)])
    return tuple(headings)


def _open_table(_renderer: Any, _tokens: Any, _index: int, _options: Any, env: dict[str, Any]) -> str:
    # A part that scrolls sideways is reached by keyboard, so it needs a name of its own.
    label = f"Table {next(env['tables'])}"
    return (
        f'<div class="card"><div class="tbl" tabindex="0" role="region" aria-label="{label}"><table class="wrap-cells">'
    )


def _close_table(*_rest: Any) -> str:
    return "</table></div></div>\n"
