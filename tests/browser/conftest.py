"""A real Chromium against the live site. Every test fails on a breach of the policy, on a script error, or on a line too wide."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

#: Where Debian, Ubuntu and Fedora put it; LUMYX_CHROMIUM names another.
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Playwright's sync API runs an event loop in this thread, beside which Django would refuse to query.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
WIDTHS: dict[str, ViewportSize] = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

# The five seconds of Playwright are too few on two cores that other tests keep busy.
expect.set_options(timeout=20_000)

OpenPage = Callable[..., Page]


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
def open_page(browser: Browser, live_server: LiveServer) -> Iterator[OpenPage]:
    """Return a function that opens an address in a fresh browser: ``open_page("/models", theme="dark", size="phone")``.

    After the test: no policy breach and no script error was reported on any page that it opened.
    """
    contexts: list[BrowserContext] = []
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
