"""The search page in real Chromium while the embedding service is away."""

from collections.abc import Iterator

import pytest
from browser import expect_no_sideways_scrolling, needs, opened
from playwright.sync_api import Browser, Page, expect
from services import Program, backend, clip_server, draw, running, wait_for, wait_until_idle

pytestmark = needs("index.html")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Three pictures whose service has ended, which the backend knows by now."""
    folder = tmp_path_factory.mktemp("library")
    for seed, name in enumerate(("penguin", "guitar", "candle")):
        draw(folder / "pictures" / f"{name}.png", seed)
    service = clip_server(folder).start()
    with running(backend(folder, service, folder / "pictures")) as program:
        wait_until_idle(program)
        service.stop()
        wait_for(lambda: program.post("api/search", {"terms": [{"text": "away"}]})["notices"])
        yield program


@pytest.fixture
def page(browser: Browser, library: Program) -> Iterator[Page]:
    with opened(browser, library.url) as page:
        expect(page.get_by_test_id("tile").first).to_be_visible()
        yield page


def test_an_outage_is_told_of_once_by_the_status_line_or_by_the_notice_of_a_search(page: Page) -> None:
    progress, notice = page.get_by_test_id("progress"), page.get_by_test_id("notice")
    expect(progress).to_contain_text("Pictures cannot be understood right now")
    expect(notice).to_have_count(0)
    page.get_by_test_id("search-box").fill("penguin")
    expect(page.get_by_test_id("tile")).to_have_count(1)
    expect(notice).to_contain_text("Only words written in pictures and names were searched")
    expect(progress).to_have_count(0)
    page.get_by_test_id("search-box").fill("")
    expect(progress).to_be_visible()


def test_a_search_that_finds_nothing_in_an_outage_says_what_was_searched(page: Page) -> None:
    for width, height in ((1280, 800), (375, 740), (320, 640)):
        page.set_viewport_size({"width": width, "height": height})
        page.get_by_test_id("search-box").fill("zeppelin")
        expect(page.get_by_test_id("no-results")).to_have_text("Nothing found")
        expect(page.locator(".list-end p")).to_contain_text("only words in pictures and in names can be searched")
        expect(page.get_by_text("raise a weight")).to_have_count(0)
        expect_no_sideways_scrolling(page)
