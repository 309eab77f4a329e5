"""The crawler as its user runs it, against a local server that speaks every format."""

import hashlib
import itertools
import json
import signal
import time
from pathlib import Path

import pytest
from crawling import FORMATS, Collection, offer
from services import draw, wait_for
from source_server import SourceServer


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_all_its_pictures_with_what_is_known_of_them(
    name: str, server: SourceServer, collection: Collection
) -> None:
    there = offer(server, 23)
    collection.configure(collection.source(name)).crawl()
    assert set(collection.pictures().values()) == there
    metas = collection.metas()
    assert {meta["title"] for meta in metas} == {f"p{number:03d}" for number in range(23)}
    assert all((collection.folder / "images" / meta["file"]).is_file() for meta in metas)
    assert all(meta["width"] == 120 and meta["created"] > 1e9 and meta["url"].startswith("http") for meta in metas)
    assert {request["agent"] for request in server.asked()} == {
        "meme-search-engine crawler (one person's own collection)"
    }


def test_files_lie_below_the_md5_of_the_posts_name(server: SourceServer, collection: Collection) -> None:
    offer(server, 3)
    collection.configure(collection.reddit()).crawl()
    for meta in collection.metas():
        name = meta["key"].removeprefix("reddit:")
        shard = hashlib.md5(name.encode()).hexdigest()[:2]
        assert meta["file"] == f"{shard}/{name}.png"
        assert (collection.folder / "meta" / shard / f"{name}.json").is_file()


def test_a_second_run_asks_for_one_page_and_no_picture(server: SourceServer, collection: Collection) -> None:
    offer(server, 25)
    collection.configure(collection.reddit()).crawl()
    before = len(server.asked())
    said, _ = collection.crawl()
    assert "nothing new" in said
    assert [request["path"].split("?")[0] for request in server.asked()[before:]] == ["/r/memes/new.json"]
    fresh = offer(server, 2, first=25)
    collection.crawl()
    assert fresh <= set(collection.pictures().values())


def test_one_picture_under_many_posts_is_stored_once(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 5)
    collection.configure(*(collection.source(name) for name in FORMATS)).crawl()
    assert set(collection.pictures().values()) == there
    assert len(collection.pictures()) == len(collection.metas()) == 5
    assert collection.outcomes() == {"stored": 5, "duplicate": 20}
    assert all(row[0] for row in collection.rows("SELECT time FROM last_crawl"))
    assert len(collection.rows("SELECT 1 FROM last_crawl")) == 5


def test_what_is_deleted_from_the_folder_is_not_fetched_again(server: SourceServer, collection: Collection) -> None:
    offer(server, 3)
    collection.configure(collection.reddit()).crawl()
    for path in collection.files("images"):
        path.unlink()
    collection.configure(collection.reddit(), collection.lemmy()).crawl()
    assert collection.pictures() == {}


def test_adult_posts_are_passed_over_unless_they_are_wanted(server: SourceServer, collection: Collection) -> None:
    for folder in ("a", "b", "c", "d", "e"):
        offer(server, 1, ord(folder), folder)
        path = next((server.folder / folder).glob("*.png"))
        path.with_name(path.name + ".json").write_text('{"adult": true}')
    sources = [collection.reddit("a"), collection.lemmy("b"), collection.mastodon("c")]
    sources += [collection.feed("rss/d"), collection.feed("atom/e")]
    collection.configure(*sources).crawl()
    assert collection.pictures() == {} and collection.outcomes() == {"adult": 5}
    collection.configure(*sources, allow_adult=True).crawl()
    assert len(collection.pictures()) == 5 and all(meta["adult"] for meta in collection.metas())


def test_reddits_kinds_of_posts(server: SourceServer, collection: Collection) -> None:
    offer(server, 8)
    folder = server.folder / "memes"
    kinds = {
        0: {"deleted": True}, 1: {"cross": True}, 2: {"preview": True}, 3: {"text": True},
        4: {"gallery": ["memes/p006.png", "memes/p005.png"]},
        7: {"url": "https://news.example/article.html"},
    }  # fmt: skip
    for number, kind in kinds.items():
        (folder / f"p{number:03d}.png.json").write_text(json.dumps(kind))
    collection.configure(collection.reddit()).crawl()
    by_title = {(meta["title"], meta["picture"]): meta for meta in collection.metas()}
    assert set(by_title) == {("p001", 1), ("p002", 1), ("p004", 1), ("p004", 2)}
    second = by_title["p004", 2]
    assert second["pictures"] == 2 and second["file"] == by_title["p004", 1]["file"].replace(".png", "~2.png")
    assert collection.pictures()[second["file"]] == (folder / "p005.png").read_bytes()
    assert collection.outcomes() == {"stored": 4, "deleted": 1, "empty": 2}


def test_reddit_by_oauth_gets_a_token_and_a_new_one_when_it_ends(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 25)
    server.behave(token_seconds=0.3, seconds=0.1)
    collection.configure(collection.reddit(client_id="me", client_secret="secret")).crawl()
    assert set(collection.pictures().values()) == there
    assert len(server.asked("access_token")) > 1
    assert {request["authorization"] for request in server.asked("/picture/")} == {None}
    said, _ = collection.configure(collection.reddit(client_id="me", client_secret="wrong")).crawl(status=1)
    assert "gives no token for `client_id` and `client_secret`" in said and "wrong" not in said


def test_a_folder_is_a_source_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "rater").mkdir()
    collection = Collection(tmp_path / "rater")
    for number in range(4):
        draw(tmp_path / "phone" / f"{number % 2}" / f"bild é {number}.png", number)
    draw(tmp_path / "secret.png", 9)
    (tmp_path / "phone" / "link.png").symlink_to(tmp_path / "secret.png")
    collection.configure({"type": "folder", "path": "../phone"}, max_age_days=0.000001).crawl()
    assert len(collection.pictures()) == 4
    assert (tmp_path / "secret.png").read_bytes() not in collection.pictures().values()
    assert {meta["title"] for meta in collection.metas()} == {f"bild é {number}" for number in range(4)}
    draw(tmp_path / "phone" / "0" / "new.png", 10)
    said, _ = collection.crawl()
    assert "1 stored" in said


def test_a_run_that_has_enough_is_continued_by_the_next(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 25)
    collection.configure(collection.reddit(), max_pictures=12)
    said, _ = collection.crawl()
    assert "12 stored" in said and "max_pictures" in said
    there |= offer(server, 5, first=25)  # meanwhile
    collection.crawl()
    assert stored(collection) == 24
    collection.crawl()
    assert set(collection.pictures().values()) == there
    assert len(server.asked("/picture/")) == 30


def test_kills_at_any_moment_cost_only_the_picture_in_flight(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 40)
    server.behave(seconds=0.02)
    collection.configure(collection.reddit())
    kills = 0
    for count in range(5, 40, 7):
        process = collection.start()
        wait_for(lambda count=count, process=process: process.poll() is not None or stored(collection) >= count)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    collection.crawl()
    assert kills >= 3
    assert set(collection.pictures().values()) == there and len(collection.pictures()) == 40
    assert len(server.asked("/picture/")) <= 40 + kills
    assert not [path for path in collection.folder.rglob("*") if path.name.endswith("part")]


def stored(collection: Collection) -> int:
    return len(collection.files("images"))


def test_sigterm_ends_a_run_cleanly_and_the_next_goes_on(server: SourceServer, collection: Collection) -> None:
    there = offer(server, 15)
    server.behave(seconds=0.1)
    process = collection.configure(collection.reddit()).start()
    wait_for(lambda: stored(collection) >= 3)
    process.send_signal(signal.SIGTERM)
    said, talk = process.communicate(timeout=30)
    assert process.returncode == 0 and "asked to stop" in said and "Traceback" not in talk
    assert stored(collection) < 15
    server.behave()
    collection.crawl()
    assert set(collection.pictures().values()) == there


def test_two_crawls_of_one_collection_do_not_run_at_once(server: SourceServer, collection: Collection) -> None:
    offer(server, 5)
    server.behave(seconds=0.5)
    first = collection.configure(collection.reddit()).start()
    wait_for(lambda: server.asked())
    _, talk = collection.crawl(status=1)
    assert f"another crawl of this collection is running (process {first.pid}, since " in talk
    first.communicate(timeout=60)
    assert first.returncode == 0 and stored(collection) == 5


def test_requests_to_one_host_keep_their_distance(server: SourceServer, collection: Collection) -> None:
    offer(server, 4)
    collection.configure(collection.reddit(), collection.lemmy(), seconds_between_requests=0.2).crawl()
    times = [request["at"] for request in server.asked()]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.15


def test_old_posts_end_a_listing(server: SourceServer, collection: Collection) -> None:
    offer(server, 30)
    for number in range(12):
        told = {"created": time.time() - 40 * 86400}
        (server.folder / "memes" / f"p{number:03d}.png.json").write_text(json.dumps(told))
    collection.configure(collection.mastodon()).crawl()
    assert len(collection.pictures()) == 18
    assert len(server.asked("/timelines/")) == 3  # the third page is old altogether
