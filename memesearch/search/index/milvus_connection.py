"""The connection to Milvus: opened when needed, its collections in place, its errors made ours.

Every request has a timeout; while Milvus is away, calls fail at
once or within CONNECT_SECONDS.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from memesearch.errors import ConfigError, Unavailable
from memesearch.search.index.base import Ids
from memesearch.search.index.milvus_address import trouble, usable

CONNECT_SECONDS = 3
SECONDS = 10  # an integer: pymilvus waits for an index without end if given a float
PAUSE_SECONDS = 1.0  # after an attempt that failed, other callers fail at once for so long
TOKEN_LENGTH = 1024
RECONNECTING = {"grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 2000}

_embedded: Counter[str] = Counter()  # connections to each embedded Milvus, for the last one stops it
_embedding = threading.Lock()


class Connection:
    """A client of the Milvus at `uri`, with the collection `name` and one beside it for the position."""

    def __init__(self, uri: str, name: str, dimensions: int, token: str) -> None:
        remote = "://" in uri
        self._pymilvus, self._errors = usable(uri)
        if not re.fullmatch(r"[A-Za-z_]\w{0,200}", name, re.ASCII):
            raise ConfigError(f"Milvus takes no collection named {name!r}: letters, digits and _ only")
        self._path = None if remote else str(Path(uri).resolve())
        self._uri = self._path or uri
        self._where = f"{urlsplit(uri).scheme}://{urlsplit(uri).netloc.rpartition('@')[2]}" if remote else uri
        self._name, self._position, self._dimensions, self._token = name, f"{name}_position", dimensions, token
        self.lite = not remote
        self._client: Any = None
        self.openings = 0  # how often the collection was looked at anew: at first, and after any trouble
        self._ready = False
        self._closed = False
        self._opening = threading.Lock()
        self._away: tuple[float, Unavailable] | None = None

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """The client, with the collection in place; a failed request becomes `Unavailable`."""
        client = self._opened()
        try:
            yield client
        except self._errors as error:
            self._ready = False
            raise self._unavailable(error) from error

    def position(self, client: Any) -> tuple[str, int] | None:
        if not self._keeps_position(client):
            return None
        rows = client.query(
            self._position,
            filter="id == 0",
            output_fields=["token", "seq"],
            consistency_level="Strong",
            timeout=SECONDS,
        )
        return (str(rows[0]["token"]), int(rows[0]["seq"])) if rows else None

    def set_position(self, client: Any, token: str, seq: int) -> None:
        if not self._keeps_position(client):
            self._drop(client, self._position)
            self._create_position(client)
        row = {"id": 0, "token": token, "seq": seq, "vector": [1.0, 0.0]}
        client.upsert(self._position, [row], timeout=SECONDS)

    def drop(self, client: Any) -> None:
        """The position goes first, so that it never speaks of data that are not there."""
        self._drop(client, self._position)
        self._drop(client, self._name)
        self._ready = False

    def disk_bytes(self) -> int:
        if self._path is None:
            return 0
        total = 0
        for file in Path(self._path).rglob("*"):
            with suppress(FileNotFoundError):  # files are merged meanwhile
                total += file.stat().st_size
        return total

    def close(self) -> None:
        with self._opening:
            self._ready, self._closed = False, True
            client, self._client = self._client, None
            if client is None:
                return
            client.close()
            if self._path is not None:
                _stop_embedded(self._path)

    def connect(self) -> None:
        """Connect, without looking at the collection. Raises Unavailable."""
        with self._opening:
            try:
                self._client = self._client or self._connected()
            except self._errors as error:
                raise self._unavailable(error) from error

    def _opened(self) -> Any:
        if self._ready:
            return self._client
        with self._opening:
            if self._closed:
                raise Unavailable(f"the connection to Milvus at {self._where} has been closed")
            if self._ready:
                return self._client
            if self._away is not None and time.monotonic() < self._away[0]:
                raise self._away[1]
            try:
                self._client = self._client or self._connected()
                self._prepare(self._client)
            except self._errors as error:
                self._away = time.monotonic() + PAUSE_SECONDS, self._unavailable(error)
                raise self._away[1] from error
            self.openings += 1
            self._ready, self._away = True, None
            return self._client

    def _connected(self) -> Any:
        if self._path is None:
            client = self._new_client()
            self.lite = client.get_server_version(timeout=SECONDS).startswith("milvus_lite")
            return client
        with _embedding:
            client = self._new_client()
            _embedded[self._path] += 1
            return client

    def _new_client(self) -> Any:
        client = self._pymilvus.MilvusClient(
            uri=self._uri,
            token=self._token,
            dedicated=True,
            timeout=CONNECT_SECONDS,
            grpc_options=RECONNECTING,
        )
        # pymilvus would reconnect under one lock of the whole process, callers one after the other, and try again
        # until the timeout; gRPC reconnects by itself.
        client._handler._on_rpc_error = _give_up
        return client

    def _prepare(self, client: Any) -> None:
        if not client.has_collection(self._name, timeout=CONNECT_SECONDS):
            self._drop(client, self._position)
            self._create(client)
        fields = {field["name"]: field for field in client.describe_collection(self._name, timeout=SECONDS)["fields"]}
        if not {"id", "content", "part", "vector"} <= fields.keys() or not fields["id"].get("is_primary"):
            raise ConfigError(
                f"the collection {self._name} of Milvus at {self._where} was made by another program; drop it there, "
                "or choose another `uri`"
            )
        held = int(fields["vector"]["params"].get("dim", 0))
        if held != self._dimensions:
            raise ConfigError(
                f"the collection {self._name} of Milvus at {self._where} has vectors of {held} numbers, not of "
                f"{self._dimensions}; drop it there, or choose another `uri`"
            )
        if not client.list_indexes(
            self._name, field_name="vector", timeout=SECONDS
        ):  # whoever created it was killed in between
            client.create_index(self._name, self._index(), timeout=SECONDS)
        client.load_collection(self._name, timeout=SECONDS)

    def _index(self) -> Any:
        """What AUTOINDEX means to a server is up to it; to milvus-lite it is HNSW, which loses what filters keep."""
        parameters = self._pymilvus.MilvusClient.prepare_index_params()
        parameters.add_index("vector", index_type="FLAT" if self.lite else "AUTOINDEX", metric_type="COSINE")
        return parameters

    def _create(self, client: Any) -> None:
        kinds = self._pymilvus.DataType
        schema = self._pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("content", kinds.INT64)
        schema.add_field("part", kinds.INT8)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=self._dimensions)
        self._create_collection(client, self._name, schema)

    def _create_position(self, client: Any) -> None:
        kinds = self._pymilvus.DataType
        schema = self._pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("token", kinds.VARCHAR, max_length=TOKEN_LENGTH)
        schema.add_field("seq", kinds.INT64)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=2)  # Milvus takes no collection without vectors
        self._create_collection(client, self._position, schema)

    def _create_collection(self, client: Any, name: str, schema: Any) -> None:
        client.create_collection(
            name, schema=schema, index_params=self._index(), consistency_level="Session", timeout=SECONDS
        )

    def _keeps_position(self, client: Any) -> bool:
        if not client.has_collection(self._position, timeout=SECONDS):
            return False
        fields = client.describe_collection(self._position, timeout=SECONDS)["fields"]
        if not {"id", "token", "seq"} <= {field["name"] for field in fields}:
            return False
        if not client.list_indexes(self._position, field_name="vector", timeout=SECONDS):
            return False
        client.load_collection(self._position, timeout=SECONDS)
        return True

    def _drop(self, client: Any, name: str) -> None:
        if client.has_collection(name, timeout=SECONDS):
            client.drop_collection(name, timeout=SECONDS)

    def _unavailable(self, error: Exception) -> Unavailable:
        if self._path is not None and self._client is None:
            return Unavailable(f"Milvus cannot open {self._where}; perhaps another program has it open")
        return Unavailable(f"Milvus at {self._where} {trouble(error)}")


def trouble_at(uri: str, token: str) -> str | None:
    """Ask whether the server at `uri` is there, for want of an index that does: a sentence if it is not."""
    if "://" not in uri:  # milvus-lite is opened by who needs it
        return None
    connection = Connection(uri, "memes", 1, token)
    try:
        connection.connect()
    except Unavailable as error:
        return str(error)
    finally:
        connection.close()
    return None


def expression(field: str, values: Ids) -> str:
    """A filter. Its values are written out, for milvus-lite ignores template parameters."""
    return f"{field} in {values.tolist()}"


def _stop_embedded(path: str) -> None:
    from milvus_lite.server_manager import server_manager_instance

    with _embedding:
        _embedded[path] -= 1
        if not _embedded[path]:
            server_manager_instance.release_server(path)


def _give_up(error: Exception) -> bool:
    raise error
