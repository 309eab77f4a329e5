"""The queue's page in real Chromium: keys, clicks and fingers, undo, names."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from browser import AXE, expect_no_sideways_scrolling, needs, opened
from playwright.sync_api import Browser, Locator, Page, expect
from queued import Desk
from rating_page import expect_the_bar_of_a_phone
from services import wait_for

pytestmark = needs("queue.html")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    for seed in range(6):
        desk.queue(seed, 0.9 - seed / 20, title=f"Picture {seed}")
    desk.start()
    yield desk
    desk.stop()


@pytest.fixture
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    with opened(browser, desk.url, has_touch=True) as page:
        shows(page, 0)
        yield page


def shows(page: Page, seed: int) -> None:
    expect(page.get_by_test_id("title")).to_have_text(f"Picture {seed}")


def said(page: Page) -> Locator:
    return page.get_by_test_id("said")


def test_arrow_keys_keep_discard_and_put_off_and_u_takes_back(page: Page, desk: Desk) -> None:
    page.keyboard.press("ArrowRight")
    shows(page, 1)
    expect(said(page)).to_have_text("Kept as Picture 0.png")
    page.keyboard.press("ArrowLeft")
    shows(page, 2)
    expect(said(page)).to_have_text("Discarded")
    page.keyboard.press("ArrowDown")
    shows(page, 3)
    expect(said(page)).to_have_text("Put off")
    for seed in (2, 1, 0):
        page.keyboard.press("u")
        shows(page, seed)
    expect(said(page)).to_have_text("Taken back")
    assert desk.files() == {f"images/ab/{seed}.png" for seed in range(6)}
    assert desk.rows("SELECT * FROM decisions") == []


def test_a_phone_shows_the_views_name_in_a_bar_as_high_as_the_others(page: Page) -> None:
    expect(page.get_by_test_id("standing")).to_be_visible()
    expect_the_bar_of_a_phone(page, "Queue")
    expect(page.get_by_test_id("standing")).to_be_in_viewport(ratio=1)


def test_a_tall_picture_is_shown_whole(browser: Browser, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.queue(0, size=(300, 2400), title="Picture 0")
    desk.start()
    for width, height in ((1280, 800), (390, 844)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(desk.url)
        shows(page, 0)
        stage, picture = (page.locator(which).bounding_box() for which in (".stage", ".stage img"))
        assert stage is not None and picture is not None
        assert stage["y"] <= picture["y"] and picture["y"] + picture["height"] <= stage["y"] + stage["height"] <= height
        page.close()
    desk.stop()


def test_a_key_that_is_held_down_decides_once(page: Page, desk: Desk) -> None:
    page.keyboard.down("ArrowLeft")
    for _ in range(5):
        page.keyboard.down("ArrowLeft")
    page.keyboard.up("ArrowLeft")
    shows(page, 1)
    expect(said(page)).to_have_text("Discarded")
    assert len(desk.rows("SELECT * FROM decisions")) == 1


def test_name_folder_and_tags_are_typed_and_enter_keeps(page: Page, desk: Desk) -> None:
    page.keyboard.press("n")
    page.keyboard.type("u?")  # letters are letters in a field
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("error")).to_contain_text("cannot hold ?")
    shows(page, 0)
    expect(page.get_by_test_id("name")).to_have_value("u?")
    page.get_by_test_id("name").fill("My name")
    page.get_by_test_id("folder").fill("new/folder")
    page.get_by_test_id("tags").fill("funny, cat")
    page.get_by_test_id("tags").press("Enter")
    shows(page, 1)
    expect(said(page)).to_have_text("Kept as new/folder/My name.png")
    expect(page.get_by_test_id("error")).to_have_count(0)
    assert (desk.library / "new/folder/My name.png").is_file()
    assert desk.rows("SELECT tags FROM decisions") == [('["funny","cat"]',)]
    page.keyboard.press("u")
    shows(page, 0)
    expect(page.get_by_test_id("name")).to_have_value("My name")


def test_clicks_decide_and_undo_also_after_the_page_is_loaded_again(page: Page, desk: Desk) -> None:
    page.get_by_test_id("keep").click()
    shows(page, 1)
    page.get_by_test_id("discard").click()
    shows(page, 2)
    page.get_by_test_id("later").click()
    shows(page, 3)
    expect(page.get_by_test_id("standing")).to_contain_text("1 kept today")
    expect(page.get_by_test_id("standing")).to_contain_text("50 % good")
    page.reload()
    shows(page, 3)
    page.get_by_test_id("undo").click()
    shows(page, 1)
    assert "trash/1.png" not in desk.files()


@pytest.mark.parametrize(("way", "kept"), [(220, True), (-220, False), (40, None)])
def test_a_finger_throws_the_picture_to_either_side(page: Page, desk: Desk, way: int, kept: bool | None) -> None:
    box = page.get_by_test_id("stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 11):
        point = {"x": x + way * step / 10, "y": y}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    if kept is None:
        shows(page, 0)
    else:
        shows(page, 1)
        expect(said(page)).not_to_be_empty()
    assert [bool(row[0]) for row in desk.rows("SELECT kept FROM decisions")] == ([] if kept is None else [kept])


def test_the_next_picture_is_there_before_it_is_asked_for(page: Page, desk: Desk) -> None:
    asked: list[str] = []
    page.wait_for_timeout(500)
    page.on("request", lambda request: asked.append(request.url))
    following = desk.get("api/next?k=2")["pictures"][1]["token"]
    page.keyboard.press("ArrowLeft")
    shows(page, 1)
    image = page.get_by_test_id("stage").locator("img")
    expect(image).to_have_attribute("src", f"picture/{following}")
    assert image.evaluate("image => image.complete && image.naturalWidth > 0")


def test_a_picture_that_the_browser_cannot_show_can_be_decided_all_the_same(page: Page, desk: Desk) -> None:
    page.route("**/picture/*", lambda route: route.fulfill(body=b"not shown", content_type="image/heic"))
    page.reload()
    expect(page.get_by_test_id("substitute")).to_contain_text("cannot be shown")
    page.keyboard.press("ArrowRight")
    expect(said(page)).to_have_text("Kept as Picture 0.png")


def test_a_server_that_is_away_loses_nothing(page: Page, desk: Desk) -> None:
    desk.stop()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("error")).to_contain_text("cannot be reached")
    shows(page, 0)
    desk.start()
    page.keyboard.press("ArrowRight")
    expect(said(page)).to_have_text("Kept as Picture 0.png")
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_an_empty_queue_says_so_and_can_be_undone(page: Page, desk: Desk) -> None:
    for seed in range(6):
        shows(page, seed)
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_test_id("empty")).to_contain_text("The queue is empty")
    page.keyboard.press("Control+z")
    shows(page, 5)


def test_decisions_faster_than_the_server_all_count_and_never_look_like_an_empty_queue(page: Page, desk: Desk) -> None:
    page.wait_for_timeout(300)
    with closing(sqlite3.connect(desk.folder / "rater.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the server waits
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(300)
        expect(page.get_by_test_id("empty")).to_have_count(0)
        expect(said(page)).to_be_empty()
        other.execute("ROLLBACK")
    shows(page, 4)
    wait_for(lambda: len(desk.rows("SELECT 1 FROM decisions")) == 4)
    assert sorted(desk.rows("SELECT filename FROM decisions")) == [(f"ab/{seed}.png",) for seed in range(4)]


def test_the_sheet_of_keys_lists_them_and_switches_single_letters_off(page: Page, desk: Desk) -> None:
    page.keyboard.press("?")
    sheet = page.get_by_test_id("key-sheet")
    expect(sheet).to_contain_text("Discard")
    page.keyboard.press("ArrowLeft")  # the sheet keeps its keys to itself
    page.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    shows(page, 0)
    page.keyboard.press("n")
    expect(page.get_by_test_id("name")).not_to_be_focused()


def test_a_sheet_longer_than_the_screen_opens_at_its_top_and_its_head_stays_in_view(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 568})
    page.keyboard.press("?")
    sheet = page.get_by_test_id("key-sheet")
    expect(sheet.get_by_role("button", name="Close")).to_be_focused()
    expect(sheet.get_by_role("heading", name="Keys")).to_be_in_viewport(ratio=1)
    assert sheet.evaluate("sheet => sheet.scrollTop") == 0
    page.mouse.move(160, 300)
    page.mouse.wheel(0, 5000)
    expect(sheet.get_by_role("checkbox")).to_be_in_viewport(ratio=1)
    expect(sheet.get_by_role("heading", name="Keys")).to_be_in_viewport(ratio=1)
    sheet.get_by_role("button", name="Close").click()
    expect(sheet).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (320, 568)])
def test_it_is_accessible_and_nothing_runs_over_the_side(
    browser: Browser, desk: Desk, scheme: str, width: int, height: int
) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `make page`")
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(desk.url)
    shows(page, 0)
    for prepare in (lambda: None, lambda: page.keyboard.press("ArrowRight"), lambda: page.keyboard.press("?")):
        prepare()
        page.wait_for_timeout(300)
        page.evaluate(AXE.read_text("utf-8"))
        assert page.evaluate("axe.run()")["violations"] == []
    expect_no_sideways_scrolling(page)
    page.close()
