"""The configuration that all programs of `meme-rater/` read: `rater_config.json`."""

from pathlib import Path
from typing import Literal

import msgspec

from memesearch.config import Config, MseConfig, check_port, load_config
from memesearch.crawl.config import AnySource, CrawlSettings, FolderConfig, check_sources

LONGEST_DIMENSION = 100  # bytes


class RaterConfig(Config, kw_only=True):
    """Where things are and what the person wants. Pictures and their vectors are those of `mse_config`."""

    mse_config: str = "rater_mse_config.json"
    database: str = "rater.db"
    meta: str = "meta"
    models: str = "models"
    model: Literal["ridge", "ensemble"] = "ridge"
    dimensions: tuple[str, ...] = ()
    library: str | None = None
    library_backend: str | None = None
    trash: str = "trash"
    trash_days: float = 30.0
    duplicate_similarity: float = 0.95
    target_precision: float = 0.75
    exploration: float = 0.03
    learning_decisions: int = 30
    metrics_file: str | None = None
    host: str = "127.0.0.1"
    rater_port: int = 1710
    queue_port: int = 1711
    sources: tuple[AnySource, ...] = ()
    crawl: CrawlSettings = CrawlSettings()
    eval_port: int = 1713

    def __post_init__(self) -> None:
        check_port(self.rater_port)
        check_port(self.queue_port)
        check_port(self.eval_port)
        for name, low, high in (
            ("duplicate_similarity", 0.5, 1.0),
            ("target_precision", 0.05, 0.99),
            ("exploration", 0.0, 0.5),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"`{name}` must be between {low} and {high}")
        for name in ("trash_days", "learning_decisions"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be 0 or more")
        check_dimensions(self.dimensions)
        check_sources(self.sources)

    def path_keys(self) -> tuple[str, ...]:
        return ("mse_config", "database", "meta", "models", "library", "trash", "metrics_file")

    def resolve(self, folder: Path) -> None:
        super().resolve(folder)
        self.sources = tuple(
            msgspec.structs.replace(source, path=str((folder / source.path).absolute()))
            if isinstance(source, FolderConfig)
            else source
            for source in self.sources
        )

    def pictures(self) -> MseConfig:
        """The configuration of the search backend that indexes the crawled pictures. Raises ConfigError."""
        return load_config(Path(self.mse_config), MseConfig)


def check_dimensions(names: tuple[str, ...]) -> None:
    """Each gives its name to a folder of models beside the models of the whole taste, so it is checked before anybody
    answers about it. Raises ValueError."""
    for name in names:
        if not name or not name.isprintable() or len(name.encode()) > LONGEST_DIMENSION:
            raise ValueError(
                f"`dimensions`: {name[:LONGEST_DIMENSION]!r} must be a name of 1 to {LONGEST_DIMENSION} bytes"
                " whose characters can be seen"
            )
        if "/" in name or name.startswith(".") or name == "current":
            raise ValueError(f"`dimensions`: {name!r} cannot be the name of a folder; choose another")
        if names.count(name) > 1:
            raise ValueError(f"`dimensions` names {name!r} twice")
