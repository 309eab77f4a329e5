"""The rating page in a browser: opening it, finding the pair in view, answering, and what was stored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect
from rating import rows
from services import Program, wait_for

Open = Callable[..., Page]


@contextmanager
def pages(browser: Browser, program: Program) -> Iterator[Open]:
    """Opens the page in a browser of its own; at the end nothing may have gone wrong, or gone elsewhere."""
    contexts, problems = [], []

    def opened(address: str = "", **settings: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings}))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda asked: "127.0.0.1" in asked.url or problems.append(asked.url))
        page.goto(address or program.url)
        wait_until_ready(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def expect_the_bar_of_a_phone(page: Page, view: str) -> None:
    """It has the view's name, and one height whatever the view."""
    for width, height in ((375, 740), (320, 640)):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator(".view-bar").get_by_text(view, exact=True)).to_be_visible()
        assert (page.locator(".view-bar").bounding_box() or {})["height"] == 56


def pair(page: Page) -> Locator:
    return page.get_by_test_id("pair")


def token(page: Page) -> str:
    return pair(page).get_attribute("data-token") or ""


def wait_until_ready(page: Page) -> None:
    """Until both pictures are there."""
    expect(pair(page).locator("img")).to_have_count(2)
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=pair] img')].every((i) => i.complete && i.naturalWidth)"
    )


def say(page: Page, act: Callable[[], Any]) -> None:
    """Do something that ends this pair, and wait for the next."""
    before = token(page)
    wait_until_ready(page)
    page.wait_for_timeout(30)  # a picture that is there has still to be decoded
    act()
    expect(pair(page)).not_to_have_attribute("data-token", before)
    wait_until_ready(page)


def stored(program: Program) -> list[tuple[Any, ...]]:
    """(rating, grade) of each answer, in order."""
    return rows(program, "SELECT rating, grade FROM ratings ORDER BY id")


def stored_is(program: Program, expected: list[tuple[Any, ...]]) -> None:
    wait_for(lambda: stored(program) == expected, 10)
