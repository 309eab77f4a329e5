"""Real Chromium for the tests of pages, and what they need of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from launched import PROJECT
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = PROJECT / "clipfront2/node_modules/axe-core/axe.min.js"
WITH_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: sudo apt install chromium")


def needs(page: str) -> list[pytest.MarkDecorator]:
    """Marks of tests of a page that `make page` builds."""
    built = (PROJECT / "clipfront2/static" / page).is_file()
    return [WITH_CHROMIUM, pytest.mark.skipif(not built, reason="run `make page` first")]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def script_errors(page: Page) -> list[str]:
    """What goes wrong in the page's scripts from now on is added to this list."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


@contextmanager
def opened(browser: Browser, address: str, **settings: Any) -> Iterator[Page]:
    """The page at an address, 1280x800; at the end no script of it may have gone wrong."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, **settings)
    errors = script_errors(page)
    page.goto(address)
    yield page
    page.close()
    assert errors == []


def expect_no_sideways_scrolling(page: Page) -> None:
    """Wait for it: a page that places its pictures itself does so in the frame after its width has changed."""
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=5000)
