"""Code samples with the site's own address: the text in one place, coloured by Pygments with classes only."""

from dataclasses import dataclass

from django.conf import settings
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

#: What the Markdown source writes; replaced by this installation's own address.
PRINTED_SITE = "https://lumyx-ai.site"

_FORMATTER = HtmlFormatter(nowrap=True)

TITLES = {
    "python": "Python",
    "node": "Node",
    "curl": "cURL",
    "json": "JSON",
    "text": "Text",
    "toml": "TOML",
    "http": "HTTP",
}
LEXERS = {"node": "javascript", "curl": "bash", "http": "text", "sse": "text"}


@dataclass(frozen=True, slots=True)
class Tab:
    """One language of a sample. ``html`` is escaped and coloured; ``text`` is what is copied."""

    key: str
    title: str
    text: str
    html: SafeString


def localize(text: str) -> str:
    """Return the text with this installation's address in place of the printed one."""
    return text.replace(PRINTED_SITE, settings.LUMYX_SITE_URL)


def make_tab(language: str, text: str, *, title: str = "") -> Tab:
    """Return a sample ready for components/code.html; an unknown language is shown as plain text."""
    lexer = get_lexer_by_name(LEXERS.get(language, language), stripnl=False)
    # Pygments escapes what it is given; with nowrap its output is only <span class> and text.
    coloured = mark_safe(highlight(text, lexer, _FORMATTER))  # noqa: S308  see above
    return Tab(key=language, title=title or TITLES.get(language, language), text=text, html=coloured)


PYTHON = """\
from openai import OpenAI

client = OpenAI(
    base_url="https://lumyx-ai.site/api/v1",
    api_key="lx-...",
)

stream = client.chat.completions.create(
    model="lumyx-plus_v1",
    messages=[{"role": "user", "content": "Hello"}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")
"""

NODE = """\
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "https://lumyx-ai.site/api/v1",
  apiKey: "lx-...",
});

const stream = await client.chat.completions.create({
  model: "lumyx-plus_v1",
  messages: [{ role: "user", content: "Hello" }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
"""

CURL = """\
curl https://lumyx-ai.site/api/v1/chat/completions \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "lumyx-plus_v1",
    "messages": [{"role": "user", "content": "Hello"}]
  }'
"""


def first_call(*, model: str = "lumyx-plus_v1", api_key: str = "") -> list[Tab]:
    """Return the sample of the landing page and of the keys page, for a model and, where one is known, a key."""
    tabs = []
    for language, text in (("python", PYTHON), ("node", NODE), ("curl", CURL)):
        filled = localize(text).replace("lumyx-plus_v1", model)
        if api_key:
            filled = filled.replace("lx-...", api_key).replace("YOUR_API_KEY", api_key)
        tabs.append(make_tab(language, filled))
    return tabs
