"""A real Chromium against the live site. Every test fails on a breach of the policy, on a script error, or on a line too wide.

A failed test leaves what its pages looked like in ``test-results/``, and says in its report where each of them was.
"""

import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from _pytest._code.code import ExceptionRepr
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect
from playwright.sync_api import Error as PlaywrightError
from pytest_django.live_server_helper import LiveServer

#: Where Debian, Ubuntu and Fedora put it; LUMYX_CHROMIUM names another.
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Playwright's sync API runs an event loop in this thread, beside which Django would refuse to query.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
WIDTHS: dict[str, ViewportSize] = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
PICTURES = Path(__file__).resolve().parents[2] / "test-results"
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

# The five seconds of Playwright are too few on two cores that other tests keep busy.
expect.set_options(timeout=20_000)

OpenPage = Callable[..., Page]

_contexts = pytest.StashKey[list[BrowserContext]]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any]:
    """Photograph the pages of a test that has just failed, while they are open."""
    report = (yield).get_result()
    if call.when == "call" and report.failed:
        for number, page in enumerate(page for each in item.stash.get(_contexts, []) for page in each.pages):
            text = _seen_on(page, name=f"{item.name}-{number}")
            if isinstance(report.longrepr, ExceptionRepr):
                report.longrepr.addsection(f"page {number}", text)


def _seen_on(page: Page, *, name: str) -> str:
    """Take a picture of a page, and return where the page and its picture are, and what can be read on it."""
    picture = PICTURES / f"{re.sub(r'[^a-zA-Z0-9_-]+', '-', name)}.png"
    try:
        page.screenshot(path=picture, full_page=True, timeout=5_000)
        return f"{page.url}\n{picture}\n{page.locator('body').inner_text(timeout=5_000)[:2000]}"
    except PlaywrightError as error:
        return f"{page.url}\nNo picture could be taken: {error}"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Use the system's Chromium, and keep it off the network."""
    chromium = os.environ.get("LUMYX_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if chromium is None:
        pytest.fail("No Chromium was found. Install it (apt-get install chromium), or set LUMYX_CHROMIUM to its path.")
    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    return {**browser_type_launch_args, "executable_path": chromium, "args": quiet}


@pytest.fixture
def open_page(request: pytest.FixtureRequest, browser: Browser, live_server: LiveServer) -> Iterator[OpenPage]:
    """Return a function that opens an address in a fresh browser: ``open_page("/models", theme="dark", size="phone")``.

    After the test: no policy breach and no script error was reported on any page that it opened.
    """
    contexts: list[BrowserContext] = []
    request.node.stash[_contexts] = contexts
    complaints: list[str] = []

    def note(text: str) -> None:
        # Chromium also logs each 4xx answer; those are for the tests to judge.
        if "Content Security" in text:
            complaints.append(text)

    def open_it(address: str, *, theme: Theme = "light", size: str = "desk", **options: Any) -> Page:
        context = browser.new_context(
            base_url=live_server.url, viewport=WIDTHS[size], color_scheme=theme, reduced_motion="reduce", **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def axe_violations(page: Page) -> list[str]:
    """Return what axe finds, one line each: the rule and the element."""
    page.evaluate(Path(AXE_FILE_PATH).read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def overflow_of(page: Page) -> int:
    """Return by how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
