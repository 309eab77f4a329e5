"""The page on which pictures are judged blindly, in real Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import AXE, WITH_CHROMIUM, script_errors
from judging import Evaluation
from playwright.sync_api import Browser, Page, expect
from rater_library import add_to_library, rater_config, unit_vectors
from services import wait_for

pytestmark = WITH_CHROMIUM


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a made library."""
    folder = tmp_path_factory.mktemp("library")
    add_to_library(folder, unit_vectors(400))
    rater_config(folder)
    return folder / "rater_mse_config.json"


@pytest.fixture
def page(browser: Browser, evaluation: Evaluation) -> Iterator[Page]:
    """The judging page of a run of 12 + 12 pictures."""
    evaluation.succeed("make", "--run", "r", "--per-group", "1", "--random", "12")
    evaluation.serve()
    context = browser.new_context(viewport={"width": 1280, "height": 800}, has_touch=True)
    page = context.new_page()
    problems = script_errors(page)
    page.on("console", lambda told: "Content Security Policy" in told.text and problems.append(told.text))
    page.goto(evaluation.url)
    wait_until_seen(page)
    yield page
    assert problems == []
    context.close()


def say(page: Page, key: str) -> None:
    """Judge by a key once the picture is there to be seen."""
    wait_until_seen(page)
    page.keyboard.press(key)


def wait_until_seen(page: Page) -> None:
    expect(page.locator("#picture:not(.coming)")).to_be_visible()


def judged(program: Evaluation) -> list[int]:
    return [row[0] for row in program.rows("SELECT good FROM judgements ORDER BY at")]


def test_keys_clicks_and_taps_judge_undo_takes_back_and_a_reload_goes_on(page: Page, evaluation: Evaluation) -> None:
    first = page.locator("#picture").get_attribute("data-place")
    assert page.locator("#picture").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    say(page, "ArrowRight")
    wait_until_seen(page)
    page.locator("#bad").click()
    wait_until_seen(page)
    page.locator("#good").tap()
    expect(page.locator("#count")).to_have_text("3 of 12 judged")
    wait_for(lambda: judged(evaluation) == [1, 0, 1])
    page.keyboard.press("z")
    wait_for(lambda: judged(evaluation) == [1, 0])
    shown = page.locator("#picture").get_attribute("data-place")
    page.reload()
    expect(page.locator("#count")).to_have_text("2 of 12 judged")
    expect(page.locator("#picture")).to_have_attribute("data-place", shown or "")
    page.locator("#undo").click()
    page.locator("#undo").click()
    expect(page.locator("#picture")).to_have_attribute("data-place", first or "")
    expect(page.locator("#undo")).to_be_disabled()
    wait_for(lambda: judged(evaluation) == [])


@pytest.mark.parametrize(("way", "good"), [(160, 1), (-160, 0)])
def test_a_swipe_judges(page: Page, evaluation: Evaluation, way: int, good: int) -> None:
    finger = "new PointerEvent(name, { bubbles: true, pointerType: 'touch', clientX: x, clientY: 300 })"
    swipe = f"""([to]) => [["pointerdown", 600], ["pointerup", 600 + to]].forEach(
        ([name, x]) => document.getElementById("stage").dispatchEvent({finger}))"""
    wait_until_seen(page)
    page.evaluate(swipe, [20])  # a tap is no swipe
    page.evaluate(swipe, [way])
    wait_for(lambda: judged(evaluation) == [good])


def test_a_page_comes_to_its_end_and_names_the_other_one(page: Page, evaluation: Evaluation) -> None:
    for _ in range(12):
        say(page, "Digit2")
    expect(page.locator("#note")).to_contain_text("Page 2 is next")
    expect(page.locator("#good")).to_be_disabled()
    page.get_by_role("link", name="Page 2").click()
    for _ in range(12):
        say(page, "ArrowLeft")
    expect(page.locator("#note")).to_contain_text("All pictures are judged")
    wait_for(lambda: sorted(judged(evaluation)) == [0] * 12 + [1] * 12)


def test_a_judgement_that_cannot_be_stored_is_told_and_tried_again(page: Page, evaluation: Evaluation) -> None:
    page.route("**/api/judgements/*", lambda route: route.abort())
    say(page, "ArrowRight")
    say(page, "ArrowLeft")
    expect(page.get_by_role("alert")).to_contain_text("2 not stored yet")
    page.unroute("**/api/judgements/*")
    wait_for(lambda: judged(evaluation) == [1, 0])
    expect(page.get_by_role("alert")).to_be_hidden()


def test_what_is_not_stored_outlives_a_reload_and_a_step_to_the_other_page(page: Page, evaluation: Evaluation) -> None:
    page.route("**/api/judgements/*", lambda route: route.abort())
    page.on("dialog", lambda dialog: dialog.accept())
    say(page, "ArrowRight")
    say(page, "ArrowLeft")
    expect(page.get_by_role("alert")).to_contain_text("2 not stored yet")
    page.goto(evaluation.url + "?page=2")
    say(page, "ArrowRight")
    page.goto(evaluation.url + "?page=1")
    expect(page.locator("#count")).to_have_text("2 of 12 judged")
    page.keyboard.press("z")
    expect(page.locator("#count")).to_have_text("1 of 12 judged")
    page.reload()
    expect(page.locator("#count")).to_have_text("1 of 12 judged")
    page.unroute("**/api/judgements/*")
    wait_for(lambda: judged(evaluation) == [1, 1])
    expect(page.get_by_role("alert")).to_be_hidden()


def test_nothing_can_be_said_of_a_picture_that_is_not_there_yet(page: Page, evaluation: Evaluation) -> None:
    held: list[Any] = []
    page.route("**/pictures/*", lambda route: held.append(route))
    page.reload()
    expect(page.locator("#count")).to_have_text("0 of 12 judged")
    wait_for(lambda: page.evaluate("1") and held)
    page.keyboard.press("ArrowRight")
    page.locator("#bad").click()
    expect(page.locator("#picture")).not_to_be_visible()
    expect(page.locator("#count")).to_have_text("0 of 12 judged")
    for route in held:
        route.continue_()
    page.unroute("**/pictures/*")
    say(page, "ArrowRight")
    wait_for(lambda: judged(evaluation) == [1])


def test_later_puts_a_picture_off_and_keys_can_be_switched_off(page: Page, evaluation: Evaluation) -> None:
    first = page.locator("#picture").get_attribute("data-place")
    page.keyboard.press("s")
    expect(page.locator("#picture")).not_to_have_attribute("data-place", first or "")
    page.get_by_label("Keys").uncheck()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#count")).to_have_text("0 of 12 judged")
    assert judged(evaluation) == []


def test_a_picture_that_is_gone_is_said_so(page: Page, evaluation: Evaluation) -> None:
    page.route("**/pictures/*", lambda route: route.fulfill(status=404))
    page.reload()
    expect(page.locator("#note")).to_contain_text("cannot be shown")
    for button in ("#good", "#bad"):
        expect(page.locator(button)).to_be_disabled()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#count")).to_have_text("0 of 12 judged")
    page.unroute("**/pictures/*")
    page.get_by_role("button", name="Later").click()
    say(page, "ArrowRight")
    expect(page.locator("#good")).to_be_enabled()
    wait_for(lambda: judged(evaluation) == [1])


def test_the_page_has_no_barrier_and_fits_in_both_themes_and_on_phones(page: Page) -> None:
    page.evaluate(AXE.read_text("utf-8"))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width, height in ((1280, 800), (360, 640), (320, 480)):
            page.set_viewport_size({"width": width, "height": height})
            found = page.evaluate("axe.run().then(found => found.violations.map(one => one.id + ': ' + one.help))")
            assert found == []
            assert page.evaluate(
                "(({ scrollWidth, scrollHeight }) => scrollWidth <= innerWidth && scrollHeight <= innerHeight)"
                "(document.documentElement)"
            )
            for name in ("good", "bad", "undo", "skip"):
                box = page.locator(f"#{name}").bounding_box()
                assert box and min(box["width"], box["height"]) >= 24 and box["y"] + box["height"] <= height
