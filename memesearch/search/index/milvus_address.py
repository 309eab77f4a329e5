"""What can be said of Milvus before it is asked, and of its errors: pymilvus, where it may be, sentences.

pymilvus is imported only where Milvus is configured.
"""

import logging
import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from memesearch.config import check_milvus_uri
from memesearch.errors import ConfigError


def usable(uri: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Whether Milvus could be asked at `uri`, as far as that can be told without asking it.

    Returns:
        pymilvus, and the exceptions that it lets out.

    Raises:
        ConfigError: packages are missing, `uri` is malformed, or what it names cannot hold milvus-lite's data.
    """
    try:
        check_milvus_uri(uri)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    libraries = _libraries(embedded="://" not in uri)
    if "://" in uri:
        return libraries
    path = Path(uri).resolve()
    if path.exists() and not path.is_dir():
        raise ConfigError(
            f"`index`: {path} is a file, but milvus-lite keeps its data in a folder; choose another `uri`"
        )
    try:
        path.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise ConfigError(f"`index`: milvus-lite cannot keep its data in {path}: {error.strerror}") from error
    return libraries


def _libraries(embedded: bool) -> tuple[Any, tuple[type[Exception], ...]]:
    """pymilvus, quiet, and the exceptions it lets out."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when gRPC is first imported
    try:
        import grpc
        import pymilvus

        if embedded:
            import_module("milvus_lite")
    except ImportError as error:
        raise ConfigError(
            f"`index`: the type milvus needs more packages ({error}): pip install -r requirements-milvus.txt"
        ) from error
    for name in ("pymilvus", "milvus_lite", "grpc"):  # after their import, which sets levels of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they log what they raise, with a traceback
    return pymilvus, (pymilvus.MilvusException, grpc.RpcError, TimeoutError)


def trouble(error: Exception) -> str:
    """What Milvus does instead of answering; its own words only where there are no better ones."""
    if status_of(error.__cause__) == "UNAUTHENTICATED":  # pymilvus only says that it fails to connect
        return "refuses the `token` of `index`"
    status, details = status_of(error), getattr(error, "details", None)  # a call of gRPC's errors
    said = details() if callable(details) else getattr(error, "message", "") or str(error)
    first = (str(said).strip() or type(error).__name__).splitlines()[0][:300]
    if status == "UNAVAILABLE" or first.startswith("Fail connecting"):
        return "cannot be reached"
    if "wait for loading collection timeout" in first:
        return "is still loading the vectors"
    if status == "DEADLINE_EXCEEDED" or isinstance(error, TimeoutError) or "Retry timeout" in first:
        return "does not answer in time"
    if status == "UNAUTHENTICATED":
        return "refuses the `token` of `index`"
    return f"cannot do what it is asked: {first}"


def status_of(error: BaseException | None) -> str:
    """The name of gRPC's status code, if it is an error of gRPC's."""
    code = getattr(error, "code", None)
    return getattr(code(), "name", "") if callable(code) else ""
