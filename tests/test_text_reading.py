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

from memesearch.library.ocr_worker import ReadRequest, ReadText
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


async def read(reader: WorkerPool, path: Path) -> list[str]:
    """The lines read, without spaces, which recognition often loses."""
    text = (await reader.call(ReadRequest(str(path)), ReadText)).text
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
    for name in ("circle.png", "sliver.png", "words.png", "half.png", "gone.png"):
        assert await read(reader, tmp_path / name) == [], name
    assert len(worker_ids()) == 1


async def test_a_reader_that_is_killed_at_work_is_replaced_and_its_picture_read(
    reader: WorkerPool, tmp_path: Path
) -> None:
    assert await read(reader, tmp_path / "gone.png") == []
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
    assert await read(reader, tmp_path / "gone.png") == []
    (first,) = worker_ids()
    os.kill(first, signal.SIGKILL)
    while worker_ids():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    assert await read(reader, tmp_path / "gone.png") == []
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
