"""The crawler against sources that fail, lie or attack, and machines that take nothing more."""

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from crawling import FORMATS, Collection, offer
from launched import free_port
from services import draw, write_rows
from source_server import SourceServer, source_server

from memesearch.crawl.addresses import is_public


def beside(server: SourceServer, number: int, **told: Any) -> None:
    """Change what the source says of a post."""
    (server.folder / "memes" / f"p{number:03d}.png.json").write_text(json.dumps(told))


@pytest.mark.parametrize(("what", "reason"), [("html", "answers"), ("half", "answers"), ("403", "with status 403")])
def test_a_listing_that_is_none_is_told_in_one_sentence_and_nothing_is_lost(
    what: str, reason: str, server: SourceServer, collection: Collection
) -> None:
    there = offer(server, 3)
    server.behave(listing=what)
    said, _ = collection.configure(*(collection.source(name) for name in FORMATS)).crawl(status=1)
    lines = said.splitlines()
    assert len(lines) == 5 and all("nothing new; gave up: " in line and reason in line for line in lines)
    server.behave()
    collection.crawl()
    assert set(collection.pictures().values()) == there


def test_one_source_that_fails_does_not_keep_the_others(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 3)
    server.behave(listing="500", only="/r/")
    said, _ = collection.configure(collection.reddit(), collection.lemmy()).crawl()
    assert "status 500; tried 4 times" in said and "3 stored" in said
    assert set(collection.pictures().values()) == there
    assert len(server.asked("/r/")) == 4


def test_a_server_that_fails_for_a_moment_is_asked_again(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 3)
    server.behave(listing="503", picture="500", times=2)
    collection.configure(collection.reddit()).crawl()
    assert set(collection.pictures().values()) == there


@pytest.mark.parametrize("wait", ["1", "date"])
def test_a_server_that_names_a_time_to_wait_is_left_alone_for_it(
    wait: str, server: SourceServer, collection: Collection
) -> None:
    there = offer(server, 2)
    server.behave(listing="429", retry_after=wait, times=1)
    collection.configure(collection.reddit()).crawl()
    assert set(collection.pictures().values()) == there
    first, second = server.asked("/r/")
    assert second["at"] - first["at"] > 0.9


def test_a_long_wait_is_kept_over_runs(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 2)
    server.behave(listing="429", retry_after="3600", times=1)
    folder = {"type": "folder", "path": str(server.folder)}
    said, _ = collection.configure(collection.reddit(), collection.lemmy(), folder).crawl()
    assert "wants to be left alone for 3600 s" in said
    server.behave()
    said, _ = collection.crawl()
    assert "wants to be left alone for another" in said
    assert len(server.asked()) == 1 and set(collection.pictures().values()) == there


def test_a_wait_that_was_told_by_a_clock_that_has_been_set_back_is_over(
    server: SourceServer, collection: Collection
) -> None:
    there = offer(server, 2)
    server.behave(listing="429", retry_after="3600", times=1)
    collection.configure(collection.reddit()).crawl(status=1)
    far = json.dumps({"not_before": time.time() + 10 * 365 * 86_400})
    write_rows(collection.folder / "rater.db", "UPDATE last_crawl SET position = ?", (far,))
    server.behave()
    collection.crawl()
    assert set(collection.pictures().values()) == there


@pytest.mark.parametrize("wait", ["99999999999", "1e308", "inf", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_of_centuries_is_a_week(wait: str, server: SourceServer, collection: Collection) -> None:
    offer(server, 1)
    server.behave(listing="429", retry_after=wait)
    said, _ = collection.configure(collection.reddit()).crawl(status=1)
    assert "gave up: 127.0.0.1 answers with status 429 and wants to be left alone for 604800 s" in said


def test_a_source_with_many_pictures_that_cannot_be_had_does_not_fill_the_log(
    server: SourceServer, collection: Collection
) -> None:
    offer(server, 70)
    for number in range(70):
        beside(server, number, url=f"http://127.0.0.2/{number}.png")
    said, talk = collection.configure(collection.reddit()).crawl()
    assert "70 refused" in said
    assert (talk.count("skipping"), talk.count("are only counted")) == (50, 1)


def test_what_does_not_speak_http_is_told_on_one_line(server: SourceServer, collection: Collection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=babble, args=(listening,), daemon=True)
        thread.start()
        feed = {"type": "feed", "url": f"http://127.0.0.1:{listening.getsockname()[1]}/feed"}
        said, talk = collection.configure(feed).crawl(status=1)
    assert len(said.splitlines()) == 1 and "cannot be asked" in said
    assert all(len(line) < 500 for line in [*said.splitlines(), *talk.splitlines()])


def test_a_source_that_is_not_there_is_told_in_the_words_of_the_system(
    server: SourceServer, collection: Collection
) -> None:
    feed = {"type": "feed", "url": f"http://127.0.0.1:{free_port()}/feed"}
    said, _ = collection.configure(feed).crawl(status=1)
    assert "cannot be asked: Connection refused" in said, said


def babble(listening: socket.socket) -> None:
    """Answer whoever comes with bytes that mean nothing."""
    with contextlib.suppress(OSError):
        while True:
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"\x00\x01\x02" * 1000)


def test_a_text_made_to_be_slow_to_read_is_read_at_once(server: SourceServer, collection: Collection) -> None:
    offer(server, 1)
    beside(server, 0, title="<" * 1_000_000)
    said, _ = collection.configure(collection.feed("rss/memes")).crawl()
    assert "1 stored" in said


def test_a_picture_whose_decoder_was_killed_is_not_refused_for_good(
    server: SourceServer, collection: Collection
) -> None:
    there = offer(server, 1)
    process = collection.configure(collection.reddit()).start()
    while process.poll() is None:
        for worker in checkers_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        time.sleep(0.01)
    said, _ = process.communicate()
    assert "1 failed and tried again by the next run" in said
    collection.crawl()
    assert set(collection.pictures().values()) == there


def checkers_of(crawler: int) -> list[int]:
    """Its processes that look at pictures."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and b"check_worker" in (entry / "cmdline").read_bytes():
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                found += [int(entry.name)] * (int(parent) == crawler)
    return found


def test_secrets_are_not_sent_on_to_another_server(
    server: SourceServer, collection: Collection, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with source_server(tmp_path / "other") as other:
        server.behave(listing=f"{other.url}api/v1/timelines/tag/memes")
        collection.configure({**collection.mastodon(), "token": "mine"}).crawl()
        assert [request["authorization"] for request in server.asked()] == ["Bearer mine"]
        assert [request["authorization"] for request in other.asked()] == [None]


@pytest.mark.parametrize("what", ["endless", "repeat"])
def test_listings_without_an_end_are_left(what: str, server: SourceServer, collection: Collection) -> None:
    there = offer(server, 3)
    server.behave(listing=what)
    paged = ["reddit", "lemmy", "mastodon", "atom/memes"]
    _, talk = collection.configure(*(collection.source(name) for name in paged)).crawl()
    assert talk.count("repeats itself") == 4
    assert set(collection.pictures().values()) == there


def test_pages_without_number_end_at_the_limit(server: SourceServer, collection: Collection) -> None:
    offer(server, 12)
    server.behave(page=2)
    _, talk = collection.configure(collection.reddit(), max_pages=3).crawl()
    assert "the listing goes on after 3 pages" in talk and len(collection.pictures()) == 6


def test_posts_that_cannot_be_understood_are_left_out_and_told_once(
    server: SourceServer, collection: Collection
) -> None:
    offer(server, 25)
    server.behave(listing="malformed")
    _, talk = collection.configure(collection.reddit()).crawl()
    assert talk.count("could not be understood") == 1
    assert len(collection.pictures()) == 22


def test_another_charset_than_promised_costs_no_picture(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 3)
    beside(server, 0, title="\u00e9t\u00e9")
    server.behave(listing="charset")
    titles = []
    for name in FORMATS:
        collection.configure(collection.source(name)).crawl()
        assert set(collection.pictures().values()) == there
        titles += [meta["title"] for meta in collection.metas() if not meta["title"].startswith("p")]
        collection.forget()
    assert titles == ["\ufffdt\ufffd"] * 3 + ["été"] * 2


def test_entities_of_xml_are_refused(server: SourceServer, collection: Collection) -> None:
    server.behave(listing="entities")
    said, _ = collection.configure(collection.feed("rss/memes")).crawl(status=1)
    assert "declares entities" in said


REFUSALS = [
    ("{base}/picture/gone.png", "status 404"),
    ("{base}/redirect/round.png", "sends on more than 5 times"),
    ("{base}/redirect/in.png?to=http://169.254.169.254/latest/", "169.254.169.254 is not a public address"),
    ("{base}/redirect/in.png?to=http://localhost/a.png", "localhost is not a public address"),
    ("{base}/redirect/in.png?to=file:///etc/passwd", "is not an address of the web"),
    ("http://2130706433/a.png", "'http://2130706433/a.png' is not an address"),
    ("http://0x7f.1/a.png", "0x7f.1 is not a public address"),
    ("http://[::ffff:7f00:1]/a.png", "::ffff:7f00:1 is not a public address"),
    ("http://localhost:5432/a.png", "port 5432 is not one of the web's"),
    ("ftp://example.org/a.png", "is not an address of the web"),
    ("http://me:secret@127.0.0.1/a.png", "addresses with a user's name are not asked"),
]


def test_what_is_no_address_of_the_web_is_refused_for_good(server: SourceServer, collection: Collection) -> None:
    there = offer(server, len(REFUSALS) + 1)
    for number, (url, _) in enumerate(REFUSALS):
        beside(server, number, url=url.format(base=collection.base))
    said, talk = collection.configure(collection.reddit()).crawl()
    assert f"1 stored, {len(REFUSALS)} refused" in said and set(collection.pictures().values()) < there
    for url, reason in REFUSALS:
        (line,) = [line for line in talk.splitlines() if f"skipping '{url.format(base=collection.base)}'" in line]
        assert reason in line
    before = len(server.asked())
    collection.crawl()
    assert len(server.asked()) == before + 1


def test_a_picture_without_an_end_is_left_at_the_limit(server: SourceServer, collection: Collection) -> None:
    offer(server, 2)
    server.behave(picture="large", only="p001")
    said, talk = collection.configure(collection.reddit(), max_bytes=100_000).crawl()
    assert "1 stored, 1 refused" in said and "is larger than 100,000 bytes" in talk


def test_addresses_of_this_machine_are_refused_unless_they_are_allowed(
    server: SourceServer, collection: Collection
) -> None:
    offer(server, 1)
    said, _ = collection.configure(collection.reddit(), allow_private_addresses=False).crawl(status=1)
    assert "is not one of the web's" in said and server.asked() == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "100.64.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "::127.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "not an address",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("what", ["cut", "slow", "500"])
def test_a_picture_that_fails_is_asked_for_by_the_next_runs(
    what: str, server: SourceServer, collection: Collection
) -> None:
    there = offer(server, 15)
    server.behave(picture=what, only="p002")  # on the second page
    said, _ = collection.configure(collection.reddit(), request_seconds=0.5).crawl()
    assert "14 stored, 1 failed and tried again" in said
    server.behave()
    collection.crawl()
    assert set(collection.pictures().values()) == there
    before = len(server.asked())
    collection.crawl()
    assert len(server.asked()) == before + 1


def test_a_picture_that_fails_always_is_given_up_after_three_runs(server: SourceServer, collection: Collection) -> None:
    offer(server, 2)
    server.behave(picture="500", only="p001")
    for _ in range(4):
        collection.configure(collection.reddit()).crawl()
    assert len(server.asked("p001")) == 3 * 4


def test_a_bomb_is_refused(server: SourceServer, collection: Collection) -> None:
    offer(server, 1)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")]
    raw = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (server.folder / "memes" / "p000.png").write_bytes(b"\x89PNG\r\n\x1a\n" + raw)
    said, talk = collection.configure(collection.reddit()).crawl()
    assert "1 refused" in said and "claims 60000x60000 pixels" in talk and collection.pictures() == {}


def test_the_bytes_decide_what_a_picture_is(server: SourceServer, collection: Collection) -> None:
    draw(server.folder / "memes" / "a.jpg", 1)
    (server.folder / "memes" / "a.jpg").rename(server.folder / "memes" / "a.png")
    (server.folder / "memes" / "b.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    said, _ = collection.configure(collection.reddit()).crawl()
    assert "1 stored, 1 refused" in said
    assert [name.endswith(".jpg") for name in collection.pictures()] == [True]


def test_names_of_posts_lead_out_of_no_folder(server: SourceServer, collection: Collection) -> None:
    offer(server, 4)
    for number, name in enumerate(["../../../../tmp/evil", "/etc/evil", "..", "x" * 5000]):
        beside(server, number, id=name)
    collection.configure(collection.reddit()).crawl()
    assert len(collection.pictures()) == 4
    assert not list(collection.folder.parent.rglob("*evil*/"))
    assert {path.parent.parent.name for path in collection.folder.rglob("*t3_*")} == {"images", "meta"}


def test_texts_that_are_no_text_are_stored_nevertheless(server: SourceServer, collection: Collection) -> None:
    offer(server, 1)
    beside(server, 0, title="\ud800 half a character")
    server_side = server.folder / "memes" / "p000.png.json"
    assert "\\ud800" in server_side.read_text()
    collection.configure(collection.reddit()).crawl()
    assert len(collection.pictures()) == 1


def test_a_disk_that_is_full_ends_the_run_with_a_sentence_and_leaves_no_half(
    server: SourceServer, collection: Collection
) -> None:
    offer(server, 2)
    noise = server.folder / "memes" / "p000.png"
    noise.write_bytes(noise.read_bytes() + bytes(2_000_000))  # a PNG may be followed by anything
    raw = {path.read_bytes() for path in server.folder.rglob("*.png")}

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    said, talk = collection.configure(collection.reddit()).crawl(status=1, preexec_fn=small_disk)
    assert "1 stored" in said and "cannot be written: File too large" in talk.splitlines()[-1]
    assert len(collection.pictures()) == len(collection.metas()) == 1
    collection.crawl()
    assert set(collection.pictures().values()) == raw


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "`sources` is empty"),
        ({"sources": [{"type": "gopher"}]}, "gopher"),
        ({"sources": [{"type": "reddit"}]}, "subreddit"),
        ({"sources": [{"type": "reddit", "subreddit": "../x"}]}, "`subreddit`"),
        ({"sources": [{"type": "reddit", "subreddit": "x", "client_id": "y"}]}, "belong together"),
        ({"sources": [{"type": "feed", "url": "file:///etc/passwd"}]}, "`url` must be a URL"),
        ({"sources": [{"type": "folder", "path": "images/new"}]}, "must lie apart"),
        ({"sources": [{"type": "folder", "path": "x"}, {"type": "folder", "path": "x"}]}, "twice"),
        ({"crawl": {"max_bytes": 0}}, "`max_bytes` must be more than 0"),
        ({"crawl": {"user_agent": "a\nb"}}, "`user_agent`"),
        ({"crawl": {"speed": 1}}, "speed"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_line(config: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    collection = Collection(tmp_path)
    collection.config.write_text(json.dumps(config))
    said, talk = collection.crawl(status=2)
    assert said == "" and sentence in talk and len(talk.splitlines()) == 1


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    collection = Collection(tmp_path).configure({"type": "folder", "path": "gone"})
    said, _ = collection.crawl(status=1)
    assert "cannot be read: No such file or directory" in said
