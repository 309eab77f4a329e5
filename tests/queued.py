"""A real queue's server over a few drawn pictures, for the tests of deciding."""

import json
from pathlib import Path
from typing import Any

from launched import free_port
from services import Program, configure_pictures, digest, draw, rows_of

from memesearch.rater.database import RaterDatabase
from memesearch.rater.processing import queue


class Desk(Program):
    """The server with its folders; pictures are queued while it runs, as the pipeline does."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder, self.images, self.trash = folder, folder / "images", folder / "trash"
        self.library = Path(more.get("library", folder / "library"))
        for path in (self.images, self.library, folder / "meta"):
            path.mkdir(parents=True, exist_ok=True)
        port = free_port()
        configure_pictures(folder)
        self.settings = {"library": "library", "queue_port": port, **more}
        config = folder / "rater_config.json"
        config.write_text(json.dumps(self.settings))
        super().__init__("meme-rater/library_processing_server.py", config, port)

    def queue(
        self, seed: int, keep: float = 0.8, title: str = "", explored: bool = False, size: tuple[int, int] = (120, 90)
    ) -> str:
        """Draw a picture and put it into the queue; its name."""
        name = f"ab/{seed}.png"
        draw(self.images / name, seed, size)
        if title:
            meta = self.folder / "meta" / f"ab/{seed}.json"
            meta.parent.mkdir(exist_ok=True)
            meta.write_text(json.dumps({"title": title, "link": "https://example.org/post"}))
        database = RaterDatabase(self.folder / "rater.db")
        with database.transaction() as db:
            assert queue.add(db, name, digest(self.images / name), 0.0, keep, explored, "m")
        database.close()
        return name

    def next(self) -> dict[str, Any]:
        return dict(self.get("api/next?k=1")["pictures"][0])

    def decide(self, card: dict[str, Any], decision: str, **more: Any) -> dict[str, Any]:
        return dict(self.post("api/decide", wish(card, decision, **more)))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return rows_of(self.folder / "rater.db", statement)

    def files(self) -> set[str]:
        """All pictures in the three folders; those below dates in the trash without the date."""
        found = set()
        for folder in (self.images, self.library, self.trash):
            for path in folder.rglob("*"):
                if path.is_file():
                    inside = path.relative_to(folder)
                    found.add(f"{folder.name}/{inside.name if folder == self.trash else inside}")
        return found


def wish(card: dict[str, Any], decision: str, **more: Any) -> dict[str, Any]:
    """The body that the page sends."""
    kept = {"name": card["name"], "folder": card["folder"], "tags": card["tags"]} if decision == "keep" else {}
    return {"token": card["token"], "hash": card["hash"], "decision": decision, **kept, **more}
