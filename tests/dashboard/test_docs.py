"""The documentation: the owner's samples word for word, this installation's address, one source for pages and llms.txt."""

import html
import json
import re
from itertools import pairwise

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from dashboard import guide
from dashboard.snippets import PRINTED_SITE, first_call, make_tab
from gateway.errors import TYPE_BY_STATUS, error_type
from tests.contract import MODEL_LIST
from tests.dashboard.pages import Page, text_of

pytestmark = pytest.mark.django_db

SITE = "http://testserver"

CHAT_REQUEST = """{
  "model": "lumyx-plus_v1",
  "messages": [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello"}
  ],
  "stream": false,
  "temperature": 0.7,
  "max_tokens": 1024,
  "top_p": 1.0,
  "frequency_penalty": 0,
  "presence_penalty": 0
}"""
CHAT_RESPONSE = """{
  "id": "chatcmpl-abc123",
  "object": "chat.completion",
  "created": 1700000000,
  "model": "lumyx-plus_v1",
  "choices": [{
    "index": 0,
    "message": {"role": "assistant", "content": "Hi! How can I help?"},
    "finish_reason": "stop"
  }],
  "usage": {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20}
}"""
EMBEDDING = """{"model": "embedding-model-id", "input": "Text to embed", "encoding_format": "float"}"""
ERROR = """{"error": {"message": "Invalid API key", "type": "authentication_error", "code": "invalid_api_key"}}"""


@pytest.mark.parametrize(
    ("address", "sample"),
    [
        ("/docs/chat-completions", CHAT_REQUEST),
        ("/docs/chat-completions", CHAT_RESPONSE),
        ("/docs/embeddings", EMBEDDING),
        ("/docs/models", MODEL_LIST),
        ("/docs/errors", ERROR),
    ],
)
def test_the_owners_samples_are_printed_word_for_word(client: Client, address: str, sample: str) -> None:
    json.loads(sample)
    assert sample in text_of(client.get(address).content.decode())
    assert sample in client.get("/llms.txt").content.decode()


def test_every_json_sample_is_json() -> None:
    samples = [
        one for chapter in guide.chapters() for one in re.findall(r"```json\n(.*?)```", chapter.source, re.DOTALL)
    ]
    assert len(samples) >= 6
    for sample in samples:
        json.loads(sample)


def test_every_python_sample_compiles() -> None:
    samples = [
        one for chapter in guide.chapters() for one in re.findall(r"```python tab\n(.*?)```", chapter.source, re.DOTALL)
    ]
    samples += [tab.text for tab in first_call() if tab.key == "python"]
    assert len(samples) >= 4
    for sample in samples:
        compile(sample, "sample", "exec")


def test_samples_call_this_installation(client: Client, settings: Settings) -> None:
    settings.LUMYX_SITE_URL = "https://gateway.example.org"
    for chapter in guide.chapters():
        page = client.get(chapter.href).content.decode()
        assert PRINTED_SITE not in page
        assert "api.openai.com" not in page
    assert "https://gateway.example.org/api/v1" in client.get("/docs/quickstart").content.decode()
    text = client.get("/llms.txt").content.decode()
    assert PRINTED_SITE not in text
    assert "https://gateway.example.org/api/v1/chat/completions" in text


def test_llms_txt_is_the_whole_documentation_as_plain_text(client: Client) -> None:
    answer = client.get("/llms.txt")
    text = answer.content.decode()
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert text.startswith("# LumyxAI API\n")
    assert f"**Base URL:** `{SITE}/api/v1`" in text
    for chapter in guide.chapters():
        assert f"# {chapter.title}\n" in text
        assert chapter.source.strip() in text
    assert "<div" not in text


def test_nothing_is_documented_that_does_not_exist_yet(client: Client) -> None:
    text = client.get("/llms.txt").content.decode()
    for absent in ("/responses", "playground"):
        assert absent not in text, absent


def test_every_chapter_is_reached_from_the_sidebar_and_ends_with_the_next(client: Client) -> None:
    chapters = guide.chapters()
    first = client.get("/docs").content.decode()
    for chapter in chapters:
        assert f'href="{chapter.href}"' in first
    for chapter, following in pairwise(chapters):
        page = client.get(chapter.href).content.decode()
        assert re.search(rf'class="card turn-next" href="{following.href}"', page)
        assert 'aria-current="page">' + html.escape(chapter.title) in page


def test_sections_have_anchors_and_a_table_of_contents(client: Client) -> None:
    page = client.get("/docs/chat-completions").content.decode()
    assert '<h2 id="tool-use-function-calling">' in page
    assert '<a href="#tool-use-function-calling">Tool use / function calling</a>' in page
    assert "reasoning-models" in Page(page).ids


def test_neighbouring_samples_become_tabs_with_one_panel_shown(client: Client) -> None:
    page = client.get("/docs/quickstart").content.decode()
    block = page.split('<div class="code">')[1]
    tabs = re.findall(r'role="tab" id="([^"]+)" data-lang="(\w+)" aria-selected="(\w+)" aria-controls="([^"]+)"', block)
    assert [(lang, chosen) for _, lang, chosen, _ in tabs[:3]] == [
        ("python", "true"),
        ("node", "false"),
        ("curl", "false"),
    ]
    for tab, _, chosen, panel in tabs[:3]:
        found = re.search(rf'<pre id="{panel}" role="tabpanel" aria-labelledby="{tab}" tabindex="0"( hidden)?>', block)
        assert found is not None
        assert bool(found[1]) is (chosen == "false")


def test_what_sums_a_page_up_is_marked_on_the_page_and_plain_for_search_results(client: Client) -> None:
    page = client.get("/docs/chat-completions").content.decode()
    assert '<p class="lead"><code>POST /api/v1/chat/completions</code> is' in page
    assert '<meta name="description" content="POST /api/v1/chat/completions is' in page


def test_a_page_is_there_as_markdown(client: Client) -> None:
    answer = client.get("/docs/errors.md")
    assert answer["Content-Type"] == "text/markdown; charset=utf-8"
    assert answer.content.decode().startswith("# Errors\n")


@pytest.mark.parametrize("address", ["/docs/nope", "/docs/nope.md", "/docs/../settings", "/docs/index.md.md"])
def test_a_chapter_that_is_not_there_is_404(client: Client, address: str) -> None:
    assert client.get(address).status_code == 404


def test_the_first_chapter_has_one_address(client: Client) -> None:
    assert client.get("/docs/index")["Location"] == "/docs"


def test_html_in_the_source_is_shown_and_not_run() -> None:
    page, _ = guide._render("A <script>alert(1)</script> <b onclick=x>b</b>\n\n[x](javascript:alert(1))\n")
    assert Page(page).inline == []
    assert "<script" not in page


def test_code_is_escaped_whatever_it_holds() -> None:
    for language in ("python", "node", "curl", "json", "text"):
        coloured = make_tab(language, 'print("</pre><script>alert(1)</script>")\n').html
        assert "<script" not in coloured
        assert "style=" not in coloured


def test_the_table_of_errors_matches_what_the_gateway_sends() -> None:
    chapter = guide.chapter_by_slug("errors")
    assert chapter is not None
    rows = dict(re.findall(r"\| `(\w+)` \| ([\d, ]+) \|", chapter.source))
    for status, kind in TYPE_BY_STATUS.items():
        assert str(status) in rows[kind]
    assert rows[error_type(400)] == "400"
    assert {"500", "502", "503", "504"} <= set(rows["server_error"].split(", "))
