"""The rating page in real Chromium: keys, clicks and touches end up as answers, nobody waits, all can use it."""

from browser import AXE, expect_no_sideways_scrolling, needs
from playwright.sync_api import Page, expect
from rater_library import name_of
from rating import rows
from rating_page import Open, expect_the_bar_of_a_phone, pair, say, stored, stored_is, token
from services import Program

pytestmark = needs("rate.html")


def test_keys_give_the_five_answers(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    for key in ("1", "2", "3", "4", "5", "ArrowLeft", "ArrowDown", "ArrowRight", "Shift+ArrowLeft", "Shift+ArrowRight"):
        say(page, lambda key=key: page.keyboard.press(key))
    graded = [("1", 2), ("1", 1), ("=", 0), ("2", 1), ("2", 2)]
    stored_is(asking, [*graded, ("1", 1), ("=", 0), ("2", 1), ("1", 2), ("2", 2)])
    expect(page.get_by_test_id("answers")).to_have_text("10")
    expect(page.get_by_test_id("top").locator("img")).to_have_count(6)


def test_clicks_on_pictures_and_answers_count(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    say(page, lambda: pair(page).get_by_test_id("second").click())
    say(page, lambda: pair(page).get_by_test_id("first").click())
    for name in ("Much better: first picture", "Equal", "Much better: second picture"):
        button = page.get_by_role("group", name="Which is better?").get_by_role("button", name=name)
        say(page, button.click)
    stored_is(asking, [("2", 1), ("1", 1), ("1", 2), ("=", 0), ("2", 2)])


def test_a_phone_shows_one_above_the_other_and_takes_touches(asking: Program, open_rater: Open) -> None:
    page = open_rater(viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True)
    first, second = (pair(page).get_by_test_id(name).bounding_box() for name in ("first", "second"))
    assert first is not None
    assert second is not None
    assert first["y"] + first["height"] <= second["y"]
    buttons = page.locator(".grade")
    sizes = [button.bounding_box() or {} for button in buttons.all()]
    assert all(size["width"] >= 44 and size["height"] >= 44 for size in sizes)
    assert max(size["y"] + size["height"] for size in sizes) <= 740
    expect_no_sideways_scrolling(page)
    expect_the_bar_of_a_phone(page, "Rate")
    say(page, lambda: pair(page).get_by_test_id("first").tap())
    say(page, lambda: buttons.nth(4).tap())
    stored_is(asking, [("1", 1), ("2", 2)])


def test_undo_brings_pairs_back_one_after_the_other_and_skip_stores_nothing(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    expect(page.get_by_test_id("undo")).to_be_disabled()
    tokens = [token(page)]
    for key in ("1", "s", "5"):
        say(page, lambda key=key: page.keyboard.press(key))
        tokens.append(token(page))
    stored_is(asking, [("1", 2), ("2", 2)])
    page.keyboard.press("z")
    page.keyboard.press("Backspace")
    expect(pair(page)).to_have_attribute("data-token", tokens[1])
    page.get_by_test_id("undo").click()
    expect(pair(page)).to_have_attribute("data-token", tokens[0])
    stored_is(asking, [])
    say(page, lambda: page.get_by_test_id("skip").click())
    assert token(page) == tokens[1]
    assert stored(asking) == []


def test_pairs_to_come_are_loaded_before_they_are_shown(open_rater: Open) -> None:
    page = open_rater()
    ahead = page.get_by_test_id("ahead").first
    expect(ahead).to_be_hidden()
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=ahead] img')].every((i) => i.complete && i.naturalWidth)"
    )
    following = ahead.get_attribute("data-token")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        "addEventListener('keydown', () => queueMicrotask(() => { window.next ="
        " document.querySelector('[data-testid=pair]').dataset.token; }))"
    )
    page.keyboard.press("1")
    page.wait_for_function("window.next")
    assert page.evaluate("window.next") == following
    shown = {name_of(number).partition("/")[2].replace(" ", "%20") for number in range(40)}
    first = pair(page).get_by_test_id("first").get_attribute("data-file") or ""
    assert first.partition("/")[2].replace(" ", "%20") in shown
    assert not [url for url in asked if url.endswith(first.replace(" ", "%20"))]


def test_a_key_held_down_and_keys_with_control_answer_nothing(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    before = token(page)
    page.keyboard.press("Control+1")
    page.keyboard.press("Alt+ArrowLeft")
    page.evaluate("dispatchEvent(new KeyboardEvent('keydown', { code: 'Digit1', key: '1', repeat: true }))")
    assert token(page) == before
    page.keyboard.press("?")
    expect(page.get_by_test_id("key-sheet")).to_be_visible()
    page.keyboard.press("1")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("key-sheet")).to_be_hidden()
    page.keyboard.press("1")
    assert token(page) == before
    say(page, lambda: page.keyboard.press("ArrowLeft"))
    stored_is(asking, [("1", 1)])


def test_further_questions_go_with_the_answer(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    told = page.get_by_role("group", name="funny").get_by_role("button")
    told.nth(4).click()
    expect(told.nth(4)).to_have_attribute("aria-pressed", "true")
    say(page, lambda: page.keyboard.press("1"))
    expect(told.nth(4)).to_have_attribute("aria-pressed", "false")
    stored_is(asking, [("1", 2)])
    assert rows(asking, "SELECT dimension, rating, grade FROM dimension_ratings") == [("funny", "2", 2)]


def test_axe_finds_nothing_in_both_themes_on_wide_and_narrow_screens(open_rater: Open) -> None:
    page = open_rater()
    for _ in range(3):
        say(page, lambda: page.keyboard.press("2"))
    expect(page.get_by_test_id("top")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width, height in ((1280, 800), (375, 740), (320, 640), (740, 360)):
            page.set_viewport_size({"width": width, "height": height})
            expect_no_sideways_scrolling(page)
            assert violations(page) == [], (scheme, width)
        page.keyboard.press("?")
        expect(page.get_by_test_id("key-sheet")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")


def violations(page: Page) -> list[tuple[str, list[str]]]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    page.wait_for_timeout(300)  # colours that fade are not what they end at
    found = page.evaluate("axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))")
    return [(name, nodes) for name, nodes in found]


def test_on_a_phone_on_its_side_all_answers_are_in_view(open_rater: Open) -> None:
    page = open_rater(viewport={"width": 740, "height": 360}, has_touch=True, is_mobile=True)
    for control in (*page.locator(".grade").all(), page.get_by_test_id("undo"), page.get_by_test_id("skip")):
        box = control.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 360
        assert min(box["width"], box["height"]) >= 24
        assert control.evaluate("control => control.scrollWidth <= control.clientWidth")
    assert (pair(page).get_by_test_id("first").bounding_box() or {"height": 0})["height"] >= 160


def test_who_answers_by_tab_and_enter_keeps_the_place(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    pair(page).get_by_test_id("second").focus()
    for _ in range(2):
        say(page, lambda: page.keyboard.press("Enter"))
        expect(pair(page).get_by_test_id("second")).to_be_focused()
    stored_is(asking, [("2", 1), ("2", 1)])


def test_the_same_answer_twice_is_read_out_twice(open_rater: Open) -> None:
    page = open_rater()
    told = []
    for _ in range(2):
        say(page, lambda: page.keyboard.press("3"))
        told.append(page.get_by_role("status").inner_text())
    assert told[0].strip() == told[1].strip() == "Equal."
    assert page.get_by_role("status").evaluate("status => status.textContent.length") == len("Equal.") + 1
