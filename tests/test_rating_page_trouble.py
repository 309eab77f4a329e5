"""The rating page in real Chromium: reloads, servers and pictures that are away, several tabs, and a prefix."""

import re
import signal
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from browser import needs
from playwright.sync_api import expect
from rating_page import Open, pair, say, stored, stored_is, token, wait_until_ready
from services import Program, wait_for

pytestmark = needs("rate.html")


def test_a_reload_in_the_middle_shows_the_same_pair(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    say(page, lambda: page.keyboard.press("2"))
    stored_is(asking, [("1", 1)])
    before = token(page)
    page.reload()
    expect(pair(page)).to_have_attribute("data-token", before)
    wait_until_ready(page)
    say(page, lambda: page.keyboard.press("4"))
    stored_is(asking, [("1", 1), ("2", 1)])


def test_answers_given_while_the_server_is_away_are_sent_when_it_is_back(asking: Program, open_rater: Open) -> None:
    page = open_rater()
    wait_for(lambda: page.get_by_test_id("ahead").locator("img").count() == 4)
    page.wait_for_timeout(300)
    asking.stop(signal.SIGKILL)
    page.keyboard.press("1")
    expect(page.get_by_test_id("error")).to_contain_text("Your answers are kept here")
    page.keyboard.press("5")
    page.keyboard.press("3")
    asking.start()
    page.reload()  # a new page knows of them too
    stored_is(asking, [("1", 2), ("2", 2), ("=", 0)])
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_a_reply_that_was_lost_stores_nothing_twice(asking: Program, open_rater: Open) -> None:
    page = open_rater()

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/api/answer", lose)
    page.keyboard.press("2")
    expect(page.get_by_test_id("error")).to_be_visible()
    page.unroute("**/api/answer")
    page.get_by_test_id("retry").click()
    expect(page.get_by_test_id("error")).to_have_count(0)
    stored_is(asking, [("1", 1)])
    say(page, lambda: page.keyboard.press("4"))
    stored_is(asking, [("1", 1), ("2", 1)])


def test_a_picture_that_cannot_be_shown_is_said_and_the_pair_can_only_be_skipped(
    asking: Program, open_rater: Open
) -> None:
    page = open_rater()
    name = page.get_by_test_id("ahead").first.get_by_test_id("first").get_attribute("data-file") or ""
    (asking.config.parent / "images" / name).write_bytes(b"no picture")
    page.reload()
    expect(page.get_by_test_id("ahead").first.locator(".substitute")).to_have_count(1)
    wait_until_ready(page)
    page.wait_for_timeout(100)
    page.keyboard.press("3")
    expect(pair(page)).to_contain_text("cannot be shown")
    before = token(page)
    page.keyboard.press("3")
    assert token(page) == before
    page.keyboard.press("s")
    expect(pair(page)).not_to_have_attribute("data-token", before)
    stored_is(asking, [("=", 0)])


def test_pictures_that_did_not_come_while_the_server_was_away_come_when_it_is_back(open_rater: Open) -> None:
    page = open_rater()
    page.context.set_offline(True)
    for _ in range(4):  # the last of them was not loaded ahead
        page.keyboard.press("1")
        page.wait_for_timeout(100)
    expect(page.get_by_test_id("error")).to_be_visible()
    page.wait_for_timeout(300)
    expect(pair(page).locator(".substitute").first).to_contain_text("has not come yet")
    page.context.set_offline(False)
    expect(page.get_by_test_id("error")).to_have_count(0)
    wait_until_ready(page)
    expect(page.locator(".substitute")).to_have_count(0)


def test_an_undo_that_another_tab_has_overtaken_says_so(asking: Program, open_rater: Open) -> None:
    first = open_rater()
    say(first, lambda: first.keyboard.press("1"))
    second = open_rater()
    say(second, lambda: second.keyboard.press("5"))
    stored_is(asking, [("1", 2), ("2", 2)])
    first.keyboard.press("z")
    expect(first.get_by_test_id("error")).to_contain_text("Nothing was taken back")
    assert stored(asking) == [("1", 2), ("2", 2)]
    first.keyboard.press("z")
    stored_is(asking, [("1", 2)])


def test_two_tabs_with_the_same_pair_store_one_answer(asking: Program, open_rater: Open) -> None:
    first, second = open_rater(), open_rater()
    assert token(first) == token(second)
    shown = token(first)
    say(first, lambda: first.keyboard.press("1"))
    say(second, lambda: second.keyboard.press("5"))
    expect(first.get_by_test_id("answers")).to_have_text("1")
    assert stored(asking) == [("1", 2)]
    assert shown not in (token(first), token(second))
    assert token(first) == token(second)


def test_the_page_works_behind_a_proxy_that_strips_a_prefix(asking: Program, open_rater: Open) -> None:
    class Proxy(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if not self.path.startswith("/rate/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            headers = {name: self.headers[name] for name in ("Origin", "Host", "Content-Type") if name in self.headers}
            asked = urllib.request.Request(asking.url + self.path.removeprefix("/rate/"), body, headers)
            try:
                answered = urllib.request.urlopen(asked)
            except urllib.error.HTTPError as error:
                answered = error
            with answered:
                content = answered.read()
            self.send_response(answered.status)
            self.send_header("Content-Type", answered.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = forward

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = open_rater(f"http://127.0.0.1:{server.server_port}/rate/")
        say(page, lambda: page.keyboard.press("4"))
        stored_is(asking, [("2", 1)])
        expect(page.get_by_role("link", name=re.compile("search"))).to_have_attribute("href", "../")
        page.close()
        server.shutdown()
