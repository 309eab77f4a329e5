"""Program configurations: one typed class per program, read from one JSON file.

`load_config` is called once at start. Whatever is wrong with the file is one `ConfigError` naming
the file and the key.
"""

import json
import re
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from memesearch.errors import ConfigError
from memesearch.mistyped import with_way_out


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the configurations; `path_keys` are resolved against the folder of the config file."""

    def path_keys(self) -> tuple[str, ...]:
        return ()

    def resolve(self, folder: Path) -> None:
        """Make relative paths absolute."""
        for key in self.path_keys():
            value = getattr(self, key)
            if value is not None:
                setattr(self, key, str((folder / value).absolute()))


class ClipServerConfig(Config, kw_only=True):
    """Configuration of `clip_server.py`."""

    model: str
    port: int
    device: str | list[str] = "auto"
    pretrained: str | None = None
    model_name: str | None = None
    max_batch_size: int = 64
    towers: Literal["both", "vision", "text"] = "both"
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    compile: bool = True
    decode_workers: int = 0
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        check_port(self.port)
        if self.max_batch_size < 1:
            raise ValueError("`max_batch_size` must be at least 1")
        if not self.device:
            raise ValueError("`device` must name at least one device")
        check_workers(self.decode_workers)

    def devices(self) -> list[str]:
        return [self.device] if isinstance(self.device, str) else self.device


class IndexConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where vectors are searched. `uri` and `token` are Milvus' address and credentials."""

    type: Literal["auto", "exact", "compact", "milvus"] = "auto"
    uri: str = ""
    token: str = ""

    def __post_init__(self) -> None:
        if (self.type == "milvus") != bool(self.uri):
            raise ValueError("`index`: `uri` belongs to the type milvus, which needs it")
        if self.uri:
            check_milvus_uri(self.uri)


class MseConfig(Config, kw_only=True):
    """Configuration of `mse.py`."""

    clip_server: str
    db_path: str
    files: str
    port: int
    host: str = "127.0.0.1"
    no_run_server: bool = False
    watch: bool = True
    ocr: bool = True
    decode_workers: int = 0
    requests_in_flight: int = 0
    thumbnails: str | None = None
    thumbnail_formats: tuple[str, ...] = ("webp-400",)
    predefined_embeddings: str | None = None
    index: IndexConfig = IndexConfig()
    index_memory_mb: int = 0
    index_recall_target: float = 0.98
    taste: str | None = None
    rater: str | None = None
    queue: str | None = None

    def __post_init__(self) -> None:
        check_port(self.port)
        if self.index_memory_mb < 0:
            raise ValueError("`index_memory_mb` must be 0 (half of the machine's memory) or more")
        if not 0.5 <= self.index_recall_target <= 1:
            raise ValueError("`index_recall_target` must be between 0.5 and 1")
        for name in ("clip_server", "rater", "queue"):
            check_url(name, getattr(self, name))
        check_workers(self.decode_workers)
        if self.requests_in_flight < 0:
            raise ValueError("`requests_in_flight` must be 0 (what the service advises) or more")

    def path_keys(self) -> tuple[str, ...]:
        return ("db_path", "files", "thumbnails", "predefined_embeddings", "taste")

    def resolve(self, folder: Path) -> None:
        super().resolve(folder)
        if self.index.uri and "://" not in self.index.uri:
            self.index = msgspec.structs.replace(self.index, uri=str((folder / self.index.uri).absolute()))


class ThumbnailerConfig(Config, kw_only=True):
    """Configuration of `thumbnailer.py`. `formats`: names of those to make; None is all."""

    input: str
    output: str
    database: str
    formats: list[str] | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError("`workers` must be 0 (one per core) or more")

    def path_keys(self) -> tuple[str, ...]:
        return ("input", "output", "database")


def check_port(port: int) -> None:
    """Raise ValueError unless `port` can be listened on."""
    if not 0 < port < 65536:
        raise ValueError("`port` must be between 1 and 65535")


def check_url(name: str, value: str | None) -> None:
    """Raise ValueError unless the value of the key `name`, where there is one, is an address to append paths to."""
    if value is None:
        return
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"`{name}` must be a URL that starts with http:// or https://")
    if "?" in value or "#" in value:
        raise ValueError(f"`{name}` must be a URL without ? and #")


def check_milvus_uri(uri: str) -> None:
    """Raise ValueError unless Milvus could be there: a server's address, or a path for milvus-lite."""
    if "://" not in uri:
        if not uri.endswith(".db"):
            raise ValueError(f"`index`: `uri` is neither http://HOST:PORT nor a path that ends in .db: {uri}")
        return
    try:
        parts = urlsplit(uri)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", uri)
    except ValueError:  # of a port that is none, or half an IPv6 address
        sound = False
    if not sound:
        raise ValueError("`index`: `uri` is no address of a server, which looks like http://HOST:PORT")


def check_workers(count: int) -> None:
    """Raise ValueError for a number of processes that makes no sense."""
    if count < 0:
        raise ValueError("`decode_workers` must be 0 (one per core) or more")


C = TypeVar("C", bound=Config)


def load_config(path: str | Path, kind: type[C]) -> C:
    """Read a JSON config file into `kind`, with relative paths made absolute.

    Raises:
        ConfigError: the file is missing, is not JSON, or has an unknown, missing or mistyped key.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        config = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {with_way_out(str(error), kind)}; docs/configuration.md lists the keys") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid JSON: {json_error(raw, error)}") from error
    config.resolve(path.parent)
    return config


def json_error(raw: bytes, error: Exception) -> str:
    """Say where JSON is broken; Python's own parser gives line and column, msgspec does not."""
    try:
        json.loads(raw)
    except ValueError as located:
        return str(located)
    return str(error)
