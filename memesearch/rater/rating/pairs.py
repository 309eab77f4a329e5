"""Choosing pairs in advance and putting them into the queue: `top.json` and what becomes of it.

`top.json` is `[[[meme1, meme2], value], …]`, the most telling pair first; other programs write and read it too. Why
each was chosen stands beside it in `top_reasons.json`, `[[[meme1, meme2], reason], …]`.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from memesearch import durable
from memesearch.errors import BadRequest, ConfigError, NotFound
from memesearch.library.pool import read_pool
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import read_examples
from memesearch.rater.rating.answers import answered_pairs, as_rows
from memesearch.rater.rating.offers import queued_pairs, shown_pairs
from memesearch.taste.checkpoint import load, newest
from memesearch.taste.chooser import Rule
from memesearch.taste.select import propose

TOP, REASONS = "top.json", "top_reasons.json"
Names = tuple[str, str]


@dataclass(frozen=True)
class Chosen:
    """`value`: the rule's own measure; `reason`: see `memesearch.taste.select.Pair`."""

    names: Names
    value: float
    reason: str


@dataclass(frozen=True)
class Copied:
    """What became of the pairs of `top.json`; `refused`: names that are no pictures of the library."""

    queued: int
    rated: int
    waiting: int
    refused: list[str]


def choose(config: RaterConfig, rule: Rule, count: int, seed: int | None) -> list[Chosen]:
    """At most `count` pairs by the current model; equal seeds choose equally.

    Raises:
        ConfigError: nothing was trained yet, or on vectors of another model; the library or database cannot be read;
            all pictures are gone.
    """
    pictures = config.pictures()
    pool = read_pool(Path(pictures.db_path))
    checkpoint = load(newest(Path(config.models)))
    checkpoint.require(pool.model_id)
    database = RaterDatabase(Path(config.database))
    try:
        examples = read_examples(database, pool)
        with database.reading() as db:
            known = answered_pairs(database) | shown_pairs(db) | queued_pairs(db)
    finally:
        database.close()
    rows = {name: row for row, name in enumerate(pool.names)}
    eligible = np.zeros(len(examples.names), bool)
    eligible[: len(pool)] = [os.path.isfile(os.path.join(pictures.files, name)) for name in pool.names]
    if not eligible.any() and len(pool):
        raise ConfigError(f"{pictures.files}: none of the library's pictures is there; is the folder in its place?")
    avoid = as_rows(known, rows)
    random = np.random.default_rng(seed)
    pairs = propose(
        rule, checkpoint.model, examples.vectors, examples.labels, count, random, eligible,
        similarity=config.duplicate_similarity, avoid=avoid,
    )  # fmt: skip
    return [Chosen((pool.names[pair.first], pool.names[pair.second]), pair.value, pair.reason) for pair in pairs]


def write_top(folder: Path, chosen: list[Chosen]) -> None:
    """Both files, the reasons first; each appears whole."""
    write_json(folder / REASONS, [[pair.names, pair.reason] for pair in chosen])
    write_json(folder / TOP, [[pair.names, pair.value] for pair in chosen])


def write_json(path: Path, value: Any) -> None:
    """Raises ConfigError; what was there before is then still there."""
    try:
        durable.write_whole(path, json.dumps(value).encode(), path.with_name(f".{path.name}.new"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def read_listing(path: Path, kind: type) -> list[tuple[Names, Any]]:
    """Raises NotFound, BadRequest."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[tuple[Names, kind]])  # type: ignore[valid-type]
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file; run active_learning.py first") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: is not a list of [[meme1, meme2], value]: {error}") from error


def copy_top(config: RaterConfig, folder: Path, iteration: str) -> Copied:
    """Put the pairs of `top.json` into the queue; twice is the same as once.

    Raises:
        NotFound, BadRequest: there is no usable `top.json`.
        ConfigError: the library or database cannot be read.
    """
    listing = read_listing(folder / TOP, float)
    reasons: dict[Names, str] = {}
    if (folder / REASONS).exists():
        reasons = dict(read_listing(folder / REASONS, str))
    there = set(read_pool(Path(config.pictures().db_path)).names)
    database = RaterDatabase(Path(config.database))
    try:
        refused = sorted({name for names, _ in listing for name in names if name not in there})
        fine = [names for names, _ in listing if there.issuperset(names) and names[0] != names[1]]
        rated = answered_pairs(database)
        with database.transaction() as db:
            waiting = queued_pairs(db)
            fresh = {frozenset(names): names for names in reversed(fine)}
            new = [fresh[pair] for pair in dict.fromkeys(map(frozenset, fine)) if pair not in rated | waiting]
            db.executemany(
                "INSERT INTO queue(meme1, meme2, iteration, reason) VALUES (?, ?, ?, ?)",
                [(*names, iteration, reasons.get(names)) for names in new],
            )
    finally:
        database.close()
    asked = set(map(frozenset, fine))
    return Copied(len(new), len(asked & rated), len(asked & waiting - rated), refused)
