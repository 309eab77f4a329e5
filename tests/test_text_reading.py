"""The process that reads text from pictures: what it answers, and that its death costs one request."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from launched import PROJECT
from PIL import Image, ImageDraw, ImageFont
from services import draw

from memesearch.content_hash import hash_bytes
from memesearch.library.ocr_worker import ReadRequest, ReadText
from memesearch.library.progress import Progress
from memesearch.library.reading import TextReading
from memesearch.library.records import Content, FileStat
from memesearch.library.store import Store
from memesearch.workers import WorkerDied, WorkerPool

ANTON = PROJECT / "demo/drawings/Anton-Regular.ttf"


@pytest.fixture
async def reader() -> AsyncIterator[WorkerPool]:
    pool = WorkerPool("memesearch.library.ocr_worker", 1, 120.0)
    yield pool
    await pool.close()
    assert worker_ids() == []


def worker_ids() -> list[int]:
    """The reading processes that this process has started."""
    listing = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "memesearch.library.ocr_worker"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [int(line) for line in listing.stdout.split()]


def meme(path: Path, top: str, bottom: str, height: int = 420) -> Path:
    image = Image.new("RGB", (900, height), (40, 110, 60))
    pen, font = ImageDraw.Draw(image), ImageFont.truetype(ANTON, 72)
    for text, y, anchor in ((top, 20, "ma"), (bottom, height - 20, "md")):
        pen.text((450, y), text, "white", font, anchor, stroke_width=4, stroke_fill="black")
    image.save(path)
    return path


def blank(folder: Path) -> Path:
    """A picture that is read fast."""
    Image.new("RGB", (4, 4)).save(folder / "blank.png")
    return folder / "blank.png"


async def read(reader: WorkerPool, path: Path) -> list[str]:
    """The lines read, without spaces, which recognition often loses."""
    digest = hash_bytes(path.read_bytes()) if path.is_file() else b""
    text = (await reader.call(ReadRequest(str(path), digest), ReadText)).text
    if text is None:
        raise FileNotFoundError(path)
    return [line.replace(" ", "").upper() for line in text.splitlines()]


async def test_captions_are_read_from_top_to_bottom(reader: WorkerPool, tmp_path: Path) -> None:
    caption = meme(tmp_path / "a.png", "NOBODY EXPECTS", "A SLEEPING PENGUIN")
    assert await read(reader, caption) == ["NOBODYEXPECTS", "ASLEEPINGPENGUIN"]
    large = meme(tmp_path / "large.png", "SOMEWHERE FAR", "BELOW THE FOLD", height=2000)
    assert await read(reader, large) == ["SOMEWHEREFAR", "BELOWTHEFOLD"]


async def test_pictures_that_say_nothing_have_no_text(reader: WorkerPool, tmp_path: Path) -> None:
    draw(tmp_path / "circle.png", 3)
    draw(tmp_path / "sliver.png", 4, (300, 2))
    (tmp_path / "words.png").write_text("these are not pixels")
    whole = meme(tmp_path / "whole.png", "CUT OFF", "IN THE MIDDLE").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    for name in ("circle.png", "sliver.png", "words.png", "half.png"):
        assert await read(reader, tmp_path / name) == [], name
    assert len(worker_ids()) == 1


async def test_nothing_is_said_of_a_file_that_is_gone_or_holds_other_bytes(reader: WorkerPool, tmp_path: Path) -> None:
    path = meme(tmp_path / "a.png", "ONE", "THING")
    digest = hash_bytes(path.read_bytes())
    meme(path, "QUITE", "ANOTHER")
    assert (await reader.call(ReadRequest(str(path), digest), ReadText)).text is None
    path.unlink()
    assert (await reader.call(ReadRequest(str(path), digest), ReadText)).text is None


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[tuple[Store, TextReading]]:
    """A store of three memes in `a/`, and what reads their texts."""
    (tmp_path / "a").mkdir()
    async with Store.open(tmp_path / "library.db") as store:
        model = await store.model_number("model", 1)
        for number, word in enumerate(("FIRST", "SECOND", "THIRD")):
            path = meme(tmp_path / f"a/{number}.png", word, "CAPTION")
            content = Content(hash_bytes(path.read_bytes()), "image", 900, 420, 1)
            await store.add(model, [(content, [b"\0\0"], [FileStat(f"a/{number}.png", 0, 0)])])
        reading = TextReading(tmp_path, store, Progress())
        yield store, reading
        await reading.close()


async def until_settled(reading: TextReading) -> str:
    """Run the background task until it has nothing to do; returns its state."""
    task = asyncio.create_task(reading.run())
    await asyncio.sleep(0.1)
    while reading.progress.state == "reading":
        await asyncio.sleep(0.1)
    state = reading.progress.state
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return state


async def test_a_folder_that_is_away_meanwhile_is_read_when_it_is_back(
    library: tuple[Store, TextReading], tmp_path: Path
) -> None:
    store, reading = library
    (tmp_path / "a").rename(tmp_path / "b")
    assert await until_settled(reading) == "idle"
    assert (await store.counts())["texts"] == 0
    (tmp_path / "b").rename(tmp_path / "a")
    assert await until_settled(reading) == "idle"
    texts = [hit.text or "" for hit in (await store.hits([1, 2, 3])).values()]
    assert ["FIRST" in texts[0], "SECOND" in texts[1], "THIRD" in texts[2]] == [True] * 3


async def test_a_reader_that_does_not_work_at_all_is_said_and_no_picture_is_called_wordless(
    library: tuple[Store, TextReading], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reading = library
    (tmp_path / "rapidocr.py").write_text("raise ImportError('libGL.so.1 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert await until_settled(reading) == "waiting"
    assert "text recognition does not work here" in (reading.progress.message or "")
    assert (await store.counts())["texts"] == 0
    monkeypatch.delenv("PYTHONPATH")
    assert await until_settled(reading) == "idle"
    assert (await store.counts())["texts"] == 3


async def test_a_reader_that_is_killed_at_work_is_replaced_and_its_picture_read(
    reader: WorkerPool, tmp_path: Path
) -> None:
    assert await read(reader, blank(tmp_path)) == []
    (first,) = worker_ids()
    os.kill(first, signal.SIGSTOP)
    at_work = asyncio.create_task(read(reader, meme(tmp_path / "a.png", "STILL", "READING")))
    await asyncio.sleep(0.1)
    os.kill(first, signal.SIGKILL)
    assert await at_work == ["STILL", "READING"]
    assert first not in worker_ids()


async def test_a_request_that_kills_two_workers_is_given_up(tmp_path: Path) -> None:
    pool = WorkerPool("tests.crashing_worker", 1, 60)
    notes = tmp_path / "notes"
    for requests in (1, 2):
        with pytest.raises(WorkerDied, match="crashed"):
            await pool.call(ReadRequest(str(notes)), ReadText)
        assert notes.read_text() == "died\n" * 2 * requests
    await pool.close()


async def test_a_reader_that_is_killed_while_idle_costs_nothing(reader: WorkerPool, tmp_path: Path) -> None:
    assert await read(reader, blank(tmp_path)) == []
    (first,) = worker_ids()
    os.kill(first, signal.SIGKILL)
    while worker_ids():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    assert await read(reader, blank(tmp_path)) == []
    assert first not in worker_ids()


async def test_the_answer_to_a_request_that_was_given_up_is_never_taken_for_another(
    reader: WorkerPool, tmp_path: Path
) -> None:
    given_up = asyncio.create_task(read(reader, meme(tmp_path / "a.png", "GIVEN UP", "LONG AGO")))
    await asyncio.sleep(0.1)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert await read(reader, meme(tmp_path / "b.png", "SOMETHING", "ELSE")) == ["SOMETHING", "ELSE"]
