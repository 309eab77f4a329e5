"""Fixtures of more than one file of tests; a file's own fixture goes before one of the same name here."""

from collections.abc import Iterator
from pathlib import Path

from memesearch.machine import one_thread_each

one_thread_each()  # before NumPy is loaded: tests often share their cores with others

import pytest
from browser import chromium
from crawling import Collection
from judging import Evaluation
from playwright.sync_api import Browser
from rater_library import rater, unit_vectors
from rating_page import Open, pages
from services import Program, clip_server, running
from source_server import SourceServer, source_server

from memesearch.library.pool import Pool, read_pool


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """An embedding service with the demo model."""
    with running(clip_server(tmp_path_factory.mktemp("service"))) as program:
        yield program


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SourceServer]:
    """A source of pictures for the crawler, which has none yet."""
    (tmp_path / "source").mkdir()
    with source_server(tmp_path / "source") as started:
        yield started


@pytest.fixture
def collection(tmp_path: Path, server: SourceServer) -> Collection:
    """What the crawler fills from it."""
    folder = tmp_path / "collection"
    folder.mkdir()
    return Collection(folder, server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Program]:
    """A running rater over forty pictures, with one further question about each pair."""
    with running(rater(tmp_path, unit_vectors(40), dimensions=["funny"])) as program:
        yield program


@pytest.fixture
def open_rater(browser: Browser, asking: Program) -> Iterator[Open]:
    """Opens its page, as often as a test likes."""
    with pages(browser, asking) as opened:
        yield opened


@pytest.fixture(scope="module")
def pool(library: Path) -> Pool:
    """What the file's own `library`, the configuration of one, holds."""
    return read_pool(library.parent / "images.db")


@pytest.fixture
def evaluation(tmp_path: Path, library: Path, pool: Pool) -> Iterator[Evaluation]:
    program = Evaluation(tmp_path, library, pool)
    yield program
    if program.process is not None and program.process.poll() is None:
        assert program.stop() == 0
