"""The slider "Me", the order by it and the ways to the rater's views, in real Chromium."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import AXE, expect_no_sideways_scrolling, needs, opened
from launched import free_port
from memes import meme, things_of
from playwright.sync_api import Browser, Page, expect
from services import Program, backend, clip_server, wait_for, wait_until_idle

from memesearch.library.pool import read_pool
from memesearch.taste.checkpoint import save
from memesearch.taste.labels import labels
from memesearch.taste.ridge import Ridge

pytestmark = needs("index.html")
ANIMALS, FOOD = things_of("animals"), things_of("food")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Animals and dishes of a person who keeps animals; the rater's servers are configured, and away."""
    folder = tmp_path_factory.mktemp("library")
    service = clip_server(folder).start()
    for thing in ANIMALS[:15] + FOOD[:15]:
        meme(folder / "pictures" / f"{thing:03}.png", thing)
    away = f"http://127.0.0.1:{free_port()}/"
    program = backend(folder, service, folder / "pictures", taste="models", rater=away, queue=away).start()
    wait_until_idle(program)
    pool, model = read_pool(folder / "library.db"), Ridge()
    kept = [(row, int(Path(name).stem) in ANIMALS) for row, name in enumerate(pool.names)]
    model.fit(pool.vectors, labels([], kept), np.arange(len(pool)))
    save(folder / "models", model, pool.model_id, {}, {})
    wait_for(lambda: library_is_taught(program))
    yield program
    program.stop()
    service.stop()


def library_is_taught(program: Program) -> bool:
    return program.get("api/status")["taste"]["problem"] is None


@pytest.fixture
def page(browser: Browser, library: Program) -> Iterator[Page]:
    with opened(browser, library.url) as page:
        expect(page.get_by_test_id("tile").first).to_be_visible()
        yield page


def shown(page: Page) -> list[str | None]:
    tiles = page.get_by_test_id("tile")
    return [tiles.nth(place).get_attribute("data-file") for place in range(6)]


def expect_first(page: Page, library: Program, body: dict[str, object]) -> None:
    best = [result["file"] for result in library.post("api/search", body)["results"][:3]]
    for place, file in enumerate(best):
        expect(page.get_by_test_id("tile").nth(place)).to_have_attribute("data-file", file)


def test_the_slider_searches_by_the_taste_alone_and_goes_below_zero(page: Page, library: Program) -> None:
    slider = page.get_by_test_id("taste").locator("input[type=range]")
    slider.fill("1")
    expect_first(page, library, {"terms": [{"predefined_embedding": "Me", "weight": 1}]})
    expect(page).to_have_url(re.compile(r"\?me=1$"))
    page.get_by_test_id("taste-weight").fill("-0.5")
    expect_first(page, library, {"terms": [{"predefined_embedding": "Me", "weight": -0.5}]})
    expect(page).to_have_url(re.compile(r"\?me=-0\.5$"))
    page.reload()
    expect(page.get_by_test_id("taste-weight")).to_have_value("-0.5")
    slider.fill("0")
    expect(page).to_have_url(library.url)


def test_the_taste_is_weighed_with_words(page: Page, library: Program) -> None:
    page.goto(library.url + "?q=pizza&me=0.4")
    expect_first(page, library, {"terms": [{"text": "pizza"}, {"predefined_embedding": "Me", "weight": 0.4}]})
    expect(page.get_by_test_id("search-box")).to_have_value("pizza")
    expect(page.get_by_test_id("term-chip")).to_have_count(0)


def test_results_are_sorted_by_the_taste_and_say_how_probably_they_are_kept(page: Page, library: Program) -> None:
    page.get_by_test_id("search-box").fill("something to eat")
    page.get_by_test_id("taste-sort").check()
    expect_first(page, library, {"terms": [{"text": "something to eat"}], "sort": "taste"})
    expect(page).to_have_url(re.compile(r"\?q=something\+to\+eat&sort=me$"))
    expect(page.get_by_test_id("tile-keep").first).to_have_text(re.compile(r"^\d+ % keep$"))
    page.get_by_test_id("taste-sort").uncheck()
    expect_first(page, library, {"terms": [{"text": "something to eat"}]})


def test_the_newest_can_be_leafed_through_in_the_order_of_the_taste(page: Page, library: Program) -> None:
    page.get_by_test_id("taste-sort").check()
    expect_first(page, library, {"sort": "taste"})
    expect(page).to_have_url(re.compile(r"\?sort=me$"))
    page.go_back()
    expect(page.get_by_test_id("taste-sort")).not_to_be_checked()


def test_the_bar_leads_to_the_views_that_are_configured(page: Page, library: Program) -> None:
    for view in ("rate", "queue"):
        expect(page.get_by_test_id(f"view-{view}")).to_have_attribute("href", f"/{view}/")
    page.set_viewport_size({"width": 320, "height": 640})
    expect(page.get_by_test_id("view-queue")).to_be_visible()
    expect_no_sideways_scrolling(page)


@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_jumps_when_the_slider_comes_later_than_the_pictures(page: Page, library: Program, width: int) -> None:
    page.route("**/api/status", lambda route: (time.sleep(0.4), route.continue_()))
    page.set_viewport_size({"width": width, "height": 800})
    page.add_init_script(
        "window.shifts = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => {"
        " window.shifts += entry.value; })).observe({ type: 'layout-shift', buffered: true })"
    )
    page.reload()
    expect(page.get_by_test_id("taste")).to_be_visible()
    expect(page.get_by_test_id("tile").first).to_be_visible()
    page.wait_for_timeout(300)
    assert page.evaluate("window.shifts") <= 0.01
    page.unroute("**/api/status")


def test_the_slider_has_no_fault_that_axe_knows(page: Page) -> None:
    expect(page.get_by_test_id("taste")).to_be_visible()
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run().then((result) => result.violations.map((one) => [one.id, one.nodes[0].html]))")
    assert found == []
