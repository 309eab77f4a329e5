"""Starting the queue's server: the folders that the configuration names, checked, and the parts put together."""

import os
from contextlib import closing
from pathlib import Path

import aiohttp

from memesearch.errors import ConfigError
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase, only_server
from memesearch.rater.processing.crawled import Crawled
from memesearch.rater.processing.decisions import Folders
from memesearch.rater.processing.desk import Desk
from memesearch.rater.processing.routes import make_app
from memesearch.rater.processing.suggestions import Neighbours
from memesearch.web import serve


async def run(config: RaterConfig, static: Path) -> int:
    """Serve the queue until SIGTERM. `static`: the built pages. Raises ConfigError."""
    pictures = config.pictures()
    folders = check_folders(config, Path(pictures.files))
    if config.library_backend and not config.library_backend.startswith(("http://", "https://")):
        raise ConfigError("`library_backend` must be a URL that starts with http:// or https://")
    with only_server(Path(config.database), "queue"), closing(RaterDatabase(Path(config.database))) as database:
        async with aiohttp.ClientSession() as session:
            neighbours = Neighbours(config.library_backend, session)
            desk = Desk(config, folders, database, Crawled(Path(pictures.db_path)), neighbours)
            await serve(make_app(desk, static), config.host, config.queue_port)
    return 0


def check_folders(config: RaterConfig, images: Path) -> Folders:
    """The three folders; the trash is made when it is missing. Raises ConfigError for any that cannot be used."""
    if config.library is None:
        raise ConfigError("`library` must name the folder that kept pictures go to")
    library, trash = Path(config.library), Path(config.trash)
    if not library.is_dir():
        raise ConfigError(f"`library`: {library} is not a folder; make it, or connect its disk")
    if not images.is_dir():
        raise ConfigError(f"`files` of {config.mse_config}: {images} is not a folder")
    try:
        trash.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"`trash`: {trash} cannot be made: {error.strerror}") from error
    named = {"`library`": library, "`trash`": trash, f"`files` of {config.mse_config}": images}
    for name, folder in named.items():
        for other, beside in named.items():
            if name != other and is_below(folder, beside):
                raise ConfigError(f"{name} must not lie inside {other}: its pictures would be found there again")
    return Folders(images, library, trash)


def is_below(folder: Path, other: Path) -> bool:
    """Whether `folder` is `other` or lies inside it."""
    real, outer = os.path.realpath(folder), os.path.realpath(other)
    return os.path.commonpath([real, outer]) == outer
