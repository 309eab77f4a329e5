"""The page in real Chromium, with the real services and the sample library behind it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import expect_no_sideways_scrolling, needs, script_errors
from launched import get_json, launched, wait_until_indexed
from playwright.sync_api import Browser, Page, expect
from services import wait_for

pytestmark = needs("index.html")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with launched(tmp_path_factory.mktemp("page")) as (address, program):
        wait_until_indexed(address, program, 500)
        yield address


@pytest.fixture(scope="module")
def open_page(browser: Browser) -> Page:
    return browser.new_page(viewport={"width": 1280, "height": 800})


@pytest.fixture
def page(open_page: Page, address: str) -> Iterator[Page]:
    errors = script_errors(open_page)
    open_page.goto("about:blank")
    open_page.goto(address)
    expect(tiles(open_page).first).to_be_visible()
    yield open_page
    assert errors == []


def tiles(page: Page):  # type: ignore[no-untyped-def]
    return page.get_by_test_id("tile")


def first_file(page: Page) -> str | None:
    return tiles(page).first.get_attribute("data-file")


def search(page: Page, address: str, text: str) -> None:
    best = get_json(f"{address}api/search?q={text}&k=1")["results"][0]["file"]
    page.get_by_test_id("search-box").fill(text)
    expect(tiles(page).first).to_have_attribute("data-file", best)


def test_a_typed_thought_shows_the_backends_best_picture_first_and_stands_in_the_address(
    page: Page, address: str
) -> None:
    search(page, address, "penguin")
    expect(page).to_have_url(re.compile(r"\?q=penguin"))


def test_the_demo_model_says_once_that_it_knows_no_photos(page: Page) -> None:
    note = page.get_by_test_id("demo-note")
    expect(note).to_contain_text("knows drawings, not photos")
    for width in (375, 320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        expect_no_sideways_scrolling(page)
    note.get_by_role("button", name="Do not say this again").click()
    expect(note).to_have_count(0)
    page.reload()
    expect(tiles(page).first).to_be_visible()
    expect(note).to_have_count(0)


def test_an_address_with_a_query_shows_its_results_and_back_returns(page: Page, address: str) -> None:
    page.goto(address + "?q=guitar")
    best = get_json(f"{address}api/search?q=guitar&k=1")["results"][0]["file"]
    expect(tiles(page).first).to_have_attribute("data-file", best)
    expect(page.get_by_test_id("search-box")).to_have_value("guitar")


def test_more_like_this_puts_the_picture_itself_first(page: Page) -> None:
    file = first_file(page)
    tiles(page).first.hover()
    page.get_by_test_id("more-like-this").first.click()
    expect(page.get_by_test_id("term-chip")).to_have_count(1)
    expect(tiles(page).first).to_have_attribute("data-file", file or "")


def test_the_large_view_says_by_what_a_picture_was_found_and_shows_no_score(page: Page, address: str) -> None:
    large = page.get_by_test_id("lightbox")
    tiles(page).first.click()
    expect(large).to_contain_text("Size")
    expect(large.get_by_test_id("found-by")).to_have_count(0)
    page.keyboard.press("Escape")
    search(page, address, "penguin")
    tiles(page).first.click()
    expect(large.get_by_test_id("found-by")).to_contain_text("what it shows (place 1)")
    expect(large).not_to_contain_text(re.compile("score|0\\.0", re.IGNORECASE))


def test_an_uploaded_picture_becomes_a_term_that_survives_a_reload(page: Page, address: str, tmp_path: Path) -> None:
    file = first_file(page) or ""
    picture = page.request.get(f"{address}pictures/{file}").body()
    upload = tmp_path / Path(file).name
    upload.write_bytes(picture)
    page.get_by_test_id("upload").set_input_files(upload)
    expect(page.get_by_test_id("term-chip")).to_have_count(1)
    expect(tiles(page).first).to_have_attribute("data-file", file)
    expect(page).to_have_url(re.compile("#.+"))
    page.reload()
    expect(page.get_by_test_id("term-chip")).to_have_count(1)
    expect(tiles(page).first).to_have_attribute("data-file", file)
    page.set_viewport_size({"width": 320, "height": 640})
    label = page.get_by_test_id("term-chip").get_by_text("Your image")
    assert label.evaluate("label => label.scrollWidth <= label.clientWidth"), "the chip's name is cut on a phone"
    expect_no_sideways_scrolling(page)
    page.set_viewport_size({"width": 1280, "height": 800})


def test_scrolling_loads_more_and_keeps_the_document_small(page: Page) -> None:
    for _ in range(20):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(100)
    expect(tiles(page).first).to_be_visible()
    assert page.evaluate("document.querySelectorAll('*').length") < 1200
    assert page.evaluate("scrollY") > 5000


def test_pictures_are_shown_at_their_known_size(page: Page) -> None:
    expect(tiles(page).locator("img").first).to_have_js_property("complete", True)
    assert page.evaluate("[...document.querySelectorAll('[data-testid=tile] img')].some(i => i.naturalWidth > 0)")


def test_the_grid_shows_thumbnails_and_a_missing_one_gives_way_to_the_picture(page: Page, address: str) -> None:
    for _ in range(300):
        answer = get_json(f"{address}api/search?k=1")
        if answer["results"][0]["formats"]:
            break
        page.wait_for_timeout(200)
    page.reload()
    image = tiles(page).locator("img").first
    expect(image).to_have_js_property("complete", True)
    assert "/thumbs/" in str(image.evaluate("image => image.currentSrc"))
    page.route("**/thumbs/**", lambda route: route.fulfill(status=404))
    page.reload()
    expect(image).to_have_js_property("complete", True)
    page.wait_for_function("document.querySelector('[data-testid=tile] img').currentSrc.includes('/pictures/')")
    expect(page.get_by_test_id("tile").first).to_have_class(re.compile("there"))
    page.unroute("**/thumbs/**")


def test_the_page_says_what_the_index_is_and_how_much_it_finds(page: Page, address: str) -> None:
    wait_for(lambda: get_json(f"{address}api/status")["index"]["recall"])
    page.goto(f"{address}?page=index")
    sheet = page.get_by_test_id("index-sheet")
    expect(sheet).to_contain_text("exact: every picture is compared")
    expect(sheet).to_contain_text("500 pictures")
    expect(sheet).to_contain_text("100 % of the best 10")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    page.get_by_test_id("index").click()
    expect(sheet).to_be_visible()
