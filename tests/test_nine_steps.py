"""All of MemeThresher with real processes: a stream of pictures, a person with a taste, and the library it becomes.

The person likes food. Crawl, index, rate, train, pick pairs, queue them, rate again (twice), then the queue's
server and the pipeline over two further waves of the stream.
"""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from launched import PROJECT, free_port
from services import (
    Program,
    backend,
    clip_server,
    configure_pictures,
    digest,
    reload,
    running,
    wait_for,
    wait_until_idle,
)
from source_server import source_server

LIKED = "food"
WAVES = (260, 120, 120)
LAPSES = 0.05  # of the answers are not what the person meant
FIRST_ANSWERS, ROUNDS, PAIRS = 100, 2, 40


class Person:
    """Knows a picture by its bytes, and answers as their taste says, but for some lapses."""

    def __init__(self, pictures: list[Path]) -> None:
        self.random = random.Random(7)
        self.likes = {digest(path): path.parent.name == LIKED for path in pictures}

    def liked(self, path: Path) -> bool:
        return self.likes[digest(path)]

    def grade(self, first: Path, second: Path) -> int:
        if self.random.random() < LAPSES:
            return self.random.choice([-2, -1, 0, 1, 2])
        return 2 * (self.liked(first) - self.liked(second))

    def keeps(self, path: Path) -> bool:
        return self.liked(path) if self.random.random() >= LAPSES else self.random.random() < 0.5


class Thresher:
    """The folders and programs of one person."""

    def __init__(self, folder: Path, service: Program, source: str) -> None:
        self.folder, self.library = folder, folder / "library"
        for name in ("images", "library", "stream/memes"):
            (folder / name).mkdir(parents=True)
        self.backend = backend(folder, service, self.library)
        self.mse = configure_pictures(folder, clip_server=service.url)
        self.config = folder / "rater_config.json"
        ports = {"rater_port": free_port(), "queue_port": free_port()}
        settings = {
            "sources": [
                {"type": "reddit", "subreddit": "memes", "base_url": source},
                {"type": "feed", "url": f"{source}rss/memes"},  # the same pictures: nothing is stored twice
            ],
            "crawl": {"allow_private_addresses": True, "seconds_between_requests": 0},
            "library": "library",
            "library_backend": self.backend.url,
            "metrics_file": "pipeline.prom",
            "target_precision": 0.6,
            **ports,
        }
        self.config.write_text(json.dumps(settings))
        self.rater = Program("meme-rater/rater_server.py", self.config, ports["rater_port"])
        self.queue = Program("meme-rater/library_processing_server.py", self.config, ports["queue_port"])

    def run(self, program: str, *more: str) -> str:
        command = [sys.executable, str(PROJECT / program), *more]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert ended.returncode == 0, f"{program}: {ended.stderr}"
        return ended.stdout

    def step(self, program: str, *more: str) -> str:
        return self.run(f"meme-rater/{program}", str(self.config), *more)

    def picture(self, name: str) -> Path:
        return self.folder / "images" / name


def rate(thresher: Thresher, person: Person, answers: int) -> None:
    """Answer so many pairs, as the page would."""
    with running(thresher.rater):
        deck = thresher.rater.get("api/pair")
        for _ in range(answers):
            pair = deck["pairs"][0]
            grade = person.grade(thresher.picture(pair["first"]), thresher.picture(pair["second"]))
            deck = thresher.rater.post("api/answer", {"token": pair["token"], "grade": grade})
            assert deck["stored"]


def decide_all(thresher: Thresher, person: Person) -> list[bool]:
    """Keep or discard what is in the queue; what was liked of it."""
    liked = []
    with running(thresher.queue):
        while cards := thresher.queue.get("api/next?k=1")["pictures"]:
            card = cards[0]
            path = thresher.picture(card["file"])
            liked.append(person.liked(path))
            decision: dict[str, Any] = {"token": card["token"], "hash": card["hash"], "decision": "discard"}
            if person.keeps(path):
                decision |= {"decision": "keep", "name": card["name"], "folder": card["folder"], "tags": []}
            thresher.queue.post("api/decide", decision)
    return liked


def let_through(thresher: Thresher, person: Person) -> list[bool]:
    """Of each picture that was shown because the model thought it good enough: whether the person likes it."""
    with closing(sqlite3.connect(thresher.folder / "rater.db")) as db:
        return [person.likes[content] for (content,) in db.execute("SELECT hash FROM decisions WHERE explored = 0")]


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sample") / "pictures"
    subprocess.run([sys.executable, str(PROJECT / "demo/sample_library.py"), str(folder)], check=True)
    pictures = sorted(path for path in folder.glob("*/*") if path.suffix != ".json")
    random.Random(1).shuffle(pictures)
    return pictures


def test_nine_steps_make_a_library_of_what_a_person_likes_out_of_a_stream(tmp_path: Path, sample: list[Path]) -> None:
    person, waves, start = Person(sample), [], 0
    for size in WAVES:
        waves.append(sample[start : start + size])
        start += size
    base_rate = share([person.liked(path) for path in sample])
    with source_server(tmp_path / "stream") as source, ExitStack() as stack:
        service = stack.enter_context(running(clip_server(tmp_path, max_batch_size=32)))
        thresher = Thresher(tmp_path, service, source.url)
        shown = 0

        def appear(wave: list[Path]) -> None:
            nonlocal shown
            for path in wave:
                shown += 1
                shutil.copyfile(path, tmp_path / "stream/memes" / f"{shown:04}{path.suffix}")

        appear(waves[0])
        stack.enter_context(running(thresher.backend))
        thresher.step("crawler.py")
        assert len([path for path in (tmp_path / "images").rglob("*") if path.is_file()]) == WAVES[0]
        thresher.run("mse.py", str(thresher.mse))
        rate(thresher, person, FIRST_ANSWERS)
        thresher.step("train.py")
        for iteration in range(ROUNDS):
            thresher.step("active_learning.py", "--count", str(PAIRS))
            thresher.step("copy_into_queue.py", str(iteration))
            rate(thresher, person, PAIRS)
            thresher.step("train.py")

        shown_to_person: list[bool] = []
        for wave in waves[1:]:
            appear(wave)
            print(thresher.step("meme_pipeline.py"))
            shown_to_person += decide_all(thresher, person)
            reload(thresher.backend)
            wait_until_idle(thresher.backend)
            thresher.step("train.py")  # what was decided teaches too
        again = thresher.step("meme_pipeline.py")  # nothing new: nothing is shown twice
        assert decide_all(thresher, person) == [] or "explored" in again

        kept = [path for path in thresher.library.rglob("*") if path.is_file()]
        precision = share([person.liked(path) for path in kept])
        through = let_through(thresher, person)
        found = sum(person.liked(path) for path in kept) / sum(person.likes.values())
        print(
            f"the stream: {base_rate:.2f} liked; the queue: {share(shown_to_person):.2f} of {len(shown_to_person)}, "
            f"{share(through):.2f} of the {len(through)} above the threshold; "
            f"the library: {precision:.2f} of {len(kept)}, which are {found:.2f} of all that is liked"
        )
        assert share(shown_to_person) > base_rate + 0.05
        assert share(through) > base_rate + 0.1
        assert precision > 0.85
        assert found > 0.1
        assert wait_for(lambda: (tmp_path / "pipeline.prom").read_text())
        assert len({digest(path) for path in kept}) == len(kept)
