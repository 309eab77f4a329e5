"""The shape of the code: imports go down, files fit in the head, importing has no effect."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memesearch.machine import THREADS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "memesearch"
SMALL_PARTS = {
    "errors", "config", "machine", "seldom", "wire", "web", "picture", "workers", "admission", "bodies", "inside",
    "durable", "file_lock", "content_hash", "resize", "mistyped",
}  # fmt: skip
ALLOWED = {
    "clip": {"clip"},
    "library": {"library", "clip", "search"},
    "search": {"search", "clip", "library"},
    "thumbs": {"thumbs", "library"},
    "taste": {"taste"},
    "crawl": {"crawl"},
    "rater": {"rater", "taste", "crawl", "library", "clip"},
    "backend": {"backend", "clip", "library", "search", "taste", "thumbs"},
}
PROGRAMS = ["clip_server", "mse", "thumbnailer"]
SOURCES = sorted(
    [*PACKAGE.rglob("*.py"), *ROOT.glob("*.py"), *(ROOT / "demo").glob("*.py"), *(ROOT / "meme-rater").glob("*.py")]
)


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(path: Path) -> set[str]:
    """The parts of the package that a file imports."""
    return {name.split(".")[1] for name in imported(path) if name.startswith("memesearch.")}


@pytest.mark.parametrize("part", sorted(SMALL_PARTS))
def test_small_parts_import_no_room(part: str) -> None:
    assert rooms(PACKAGE / f"{part}.py") <= SMALL_PARTS


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_only_what_is_below_them(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        assert rooms(path) <= SMALL_PARTS | ALLOWED[room], path


def test_torch_and_http_stay_apart() -> None:
    files = {path.relative_to(PACKAGE).as_posix(): imported(path) for path in PACKAGE.rglob("*.py")}
    heavy = {path for path, names in files.items() if "torch" in names}
    clip = {f"clip/{name}.py" for name in ("loading", "model", "precision", "engine", "cuda")}
    assert heavy == clip | {"taste/ensemble.py", "taste/gradient.py"}
    assert not {path for path in heavy if any(name.startswith("aiohttp") for name in files[path])}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_not_import_each_other(program: str) -> None:
    assert not imported(ROOT / f"{program}.py") & (set(PROGRAMS) - {program})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_below_300_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 300


def test_importing_the_backend_has_no_effect_and_brings_no_torch() -> None:
    code = "import sys, mse; assert 'torch' not in sys.modules and 'rapidocr' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "program", ["mse.py", *(f"meme-rater/{path.name}" for path in (ROOT / "meme-rater").glob("*.py"))]
)
def test_programs_start_no_threads_of_numpy(program: str) -> None:
    """Threads that wait for each other by spinning take a hundred times as long on a busy machine."""
    code = f"""
import os, runpy, sys
sys.argv = [{program!r}, "--help"]
try:
    runpy.run_path({program!r}, run_name="__main__")
except SystemExit:
    print("numpy" in sys.modules, len(os.listdir("/proc/self/task")))
"""
    alone = {name: value for name, value in os.environ.items() if name not in THREADS}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=alone, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] in ("True 1", "False 1"), ended.stdout
