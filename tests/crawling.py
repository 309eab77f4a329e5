"""A collection with its configuration, and the crawler as a process, for the tests of crawling."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from launched import PROJECT
from services import configure_pictures, draw, rows_of
from source_server import SourceServer

CRAWLER = PROJECT / "meme-rater" / "crawler.py"
FORMATS = ("reddit", "lemmy", "mastodon", "rss/memes", "atom/memes")


class Collection:
    """A folder with `rater_config.json` and what the crawler makes of it."""

    def __init__(self, folder: Path, server: SourceServer | None = None) -> None:
        self.folder = folder
        self.base = server.url.rstrip("/") if server else ""
        self.config = folder / "rater_config.json"
        configure_pictures(folder)

    def configure(self, *sources: dict[str, Any], **limits: Any) -> "Collection":
        quick = {"seconds_between_requests": 0, "request_seconds": 2, "allow_private_addresses": True}
        self.config.write_text(json.dumps({"sources": sources, "crawl": {**quick, **limits}}))
        return self

    def reddit(self, subreddit: str = "memes", **more: Any) -> dict[str, Any]:
        return {"type": "reddit", "subreddit": subreddit, "base_url": self.base, **more}

    def lemmy(self, community: str = "memes") -> dict[str, Any]:
        return {"type": "lemmy", "community": community, "base_url": self.base}

    def mastodon(self, tag: str = "memes") -> dict[str, Any]:
        return {"type": "mastodon", "tag": tag, "base_url": self.base}

    def feed(self, path: str) -> dict[str, Any]:
        return {"type": "feed", "url": f"{self.base}/{path}"}

    def source(self, name: str) -> dict[str, Any]:
        """One of `FORMATS`."""
        return self.feed(name) if "/" in name else getattr(self, name)()

    def start(self, **more: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, str(CRAWLER), str(self.config)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def crawl(self, status: int = 0, **more: Any) -> tuple[str, str]:
        """One run that must end with this status: what it says on stdout and stderr."""
        process = self.start(**more)
        said, talk = process.communicate(timeout=90)
        assert process.returncode == status, said + talk
        assert "Traceback" not in talk, talk
        return said, talk

    def pictures(self) -> dict[str, bytes]:
        return {path.relative_to(self.folder / "images").as_posix(): path.read_bytes() for path in self.files("images")}

    def metas(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self.files("meta")]

    def files(self, name: str) -> list[Path]:
        return sorted(path for path in (self.folder / name).rglob("*") if path.is_file())

    def forget(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.folder / "images")
        shutil.rmtree(self.folder / "meta")
        for path in self.folder.glob("rater.db*"):
            path.unlink()

    def rows(self, query: str) -> list[Any]:
        return rows_of(self.folder / "rater.db", query)

    def outcomes(self) -> dict[str, int]:
        return dict(self.rows("SELECT outcome, count(*) FROM posts GROUP BY outcome"))


def offer(server: SourceServer, count: int, first: int = 0, folder: str = "memes") -> set[bytes]:
    """Pictures at the source; returns their bytes."""
    paths = [server.folder / folder / f"p{number:03d}.png" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        draw(path, number)
    return {path.read_bytes() for path in paths}
