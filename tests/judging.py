"""eval.py over a library, with a model of a made person's taste and pictures that were labelled before."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from launched import PROJECT, free_port
from services import Program, rows_of, wait_for, write_rows

from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import read_examples, remember
from memesearch.taste.checkpoint import save
from memesearch.taste.ridge import Ridge

SIMILARITY = 0.75  # so low that 60 of the 500 sample pictures have a near-duplicate, by the bundled model


class Person:
    """Likes pictures that lie high along one direction of the vectors; always sure."""

    def __init__(self, pool: Pool) -> None:
        centred = pool.vectors - pool.vectors.mean(axis=0)
        liking = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        self.liking = dict(zip(pool.names, (liking - np.median(liking)).tolist(), strict=True))

    def good(self, name: str) -> bool:
        return self.liking[name] > 0


class Evaluation(Program):
    """meme-rater/eval.py under a configuration of its own, with a model trained on 80 answers."""

    def __init__(self, folder: Path, library: Path, pool: Pool) -> None:
        port = free_port()
        self.folder, self.pool, self.person = folder, pool, Person(pool)
        config = folder / "rater_config.json"
        config.write_text(
            json.dumps({"mse_config": str(library), "eval_port": port, "duplicate_similarity": SIMILARITY})
        )
        super().__init__("meme-rater/eval.py", config, port)
        self.labelled = np.random.default_rng(0).permutation(len(pool))[:80].tolist()
        database = RaterDatabase(folder / "rater.db")
        with database.transaction() as db:
            for first, second in zip(self.labelled[::2], self.labelled[1::2], strict=True):
                one, other = pool.names[first], pool.names[second]
                rating = "1" if self.person.liking[one] > self.person.liking[other] else "2"
                db.execute("INSERT INTO ratings(meme1, meme2, rating) VALUES (?, ?, ?)", (one, other, rating))
            for row in self.labelled:
                values = (pool.names[row], pool.hashes[row], int(self.person.good(pool.names[row])))
                db.execute("INSERT INTO decisions(filename, hash, kept, at) VALUES (?, ?, ?, 0)", values)
            remember(db, pool, self.labelled)
        examples = read_examples(database, pool)
        database.close()
        self.good_model = self.train(Ridge(), examples.labels)

    def train(self, model: Ridge, labels: Any) -> Path:
        model.fit(self.pool.vectors, labels, np.arange(len(self.pool)))
        return save(self.folder / "models", model, self.pool.model_id, {}, {})

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(PROJECT / self.script), str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def succeed(self, *arguments: str) -> str:
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def serve(self) -> "Evaluation":
        command = [sys.executable, str(PROJECT / self.script), str(self.config), "serve"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.get("health"))
        return self

    def rows(self, statement: str) -> list[Any]:
        return rows_of(self.folder / "rater.db", statement)

    def judge_all(self, run: str, at_random: bool = False) -> None:
        """As the person would, straight into the database."""
        chance = np.random.default_rng(1)
        drawn = self.rows(f"SELECT filename FROM judged_pages WHERE run = '{run}'")
        said = [(run, name, chance.random() < 0.5 if at_random else self.person.good(name)) for (name,) in drawn]
        insert = "INSERT INTO judgements(run, filename, good, at) VALUES (?, ?, ?, 0)"
        write_rows(self.folder / "rater.db", insert, *said)
