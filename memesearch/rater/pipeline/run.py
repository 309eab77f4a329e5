"""From new pictures on the net to a short queue: crawl, index, score, drop what is known, queue what is good.

Each step can be repeated: what was stored stays, and a run goes on where a killed one stopped. `scores` says what was
looked at; a score is stored before anything else happens to its picture, and no picture is deleted here.
"""

import asyncio
import contextlib
import logging
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from memesearch.errors import ConfigError, MemeSearchError, Unavailable, UnreadablePicture
from memesearch.library.pool import Pool, read_pool
from memesearch.library.progress import Progress
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.rater.pipeline import scoring
from memesearch.rater.pipeline.chosen import choose, still_to_learn, threshold_now
from memesearch.rater.pipeline.known import Known, known_pictures
from memesearch.rater.pipeline.library_check import LibraryCheck, NotTaken
from memesearch.rater.pipeline.scoring import Candidate
from memesearch.rater.pipeline.steps import one_at_a_time, run_step
from memesearch.rater.pipeline.summary import Summary, metrics, table, write_metrics
from memesearch.taste.checkpoint import Checkpoint, load, newest
from memesearch.taste.model import Numbers, Vectors

log = logging.getLogger("meme_pipeline")
BATCH = 1024  # pictures that are scored and stored at a time
TELL_SECONDS = 5.0
PARALLEL = 8  # questions to the library at once
Answer = str | Unavailable | UnreadablePicture | None


@dataclass
class Run:
    """One run; `summary` grows as it goes on."""

    config: RaterConfig
    config_file: Path
    programs: Path
    database: RaterDatabase
    started: float = field(default_factory=time.time)
    summary: Summary = field(default_factory=Summary)


async def main(config: RaterConfig, config_file: Path, programs: Path) -> int:
    """The whole pipeline; `programs` is the folder of `crawler.py`. Returns the exit status: 1 when a part failed."""
    pictures = config.pictures()
    if not pictures.no_run_server:
        raise ConfigError(f"{config.mse_config}: `no_run_server` must be true, or the index step would never end")
    task = asyncio.ensure_future(locked(config, config_file, programs))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        log.info("stopped; the next run goes on here")
        return 0


async def locked(config: RaterConfig, config_file: Path, programs: Path) -> int:
    with one_at_a_time(Path(config.database + ".pipeline.lock")):
        database = RaterDatabase(Path(config.database))
        try:
            run = Run(config, config_file, programs, database)
            await every_step(run)
            return report(run)
        except sqlite3.DatabaseError as error:
            raise Unavailable(
                f"{config.database}: is damaged: {error}; put back a copy, or let `sqlite3 DATABASE .recover` make one"
            ) from error
        finally:
            database.close()


async def every_step(run: Run) -> None:
    """Raises ConfigError, Unavailable when the rest cannot be done either."""
    await crawl(run)
    await index(run)
    config = run.config
    pool = await asyncio.to_thread(read_pool, Path(config.pictures().db_path))
    checkpoint = load(newest(Path(config.models)))
    checkpoint.require(pool.model_id)
    run.summary.model = checkpoint.name
    rescore(run, pool, checkpoint)
    await score(run, pool, checkpoint)
    await queue(run, pool, checkpoint)


async def crawl(run: Run) -> None:
    """A crawl that fails (the net is away) does not keep what is there from being scored."""
    if not run.config.sources:
        log.info("`sources` is empty, so nothing is crawled")
        return
    status = await run_step(run.programs / "crawler.py", str(run.config_file))
    if status:
        run.summary.problems.append(f"the crawl failed (status {status}), its message is above; scored what is there")
    run.summary.crawled = scoring.crawled_since(run.database, run.started)


async def index(run: Run) -> None:
    """Raises Unavailable: without vectors nothing can be scored."""
    status = await run_step(run.programs.parent / "mse.py", run.config.mse_config)
    if status:
        raise Unavailable(
            f"the pictures could not be indexed (mse.py {run.config.mse_config} ended with status {status}, its "
            "message is above); nothing was scored, run again when that is put right"
        )


def rescore(run: Run, pool: Pool, checkpoint: Checkpoint) -> None:
    """What is queued and undecided is put in the newest model's order; what is gone leaves the queue."""
    rows = {name: row for row, name in enumerate(pool.names)}
    run.summary.gone = scoring.take_out_gone(run.database, rows, Path(run.config.pictures().files))
    run.summary.rescored = scoring.rescore_queue(run.database, checkpoint, rows, pool.vectors)


async def score(run: Run, pool: Pool, checkpoint: Checkpoint) -> None:
    """Store what the model thinks of each picture that nothing was decided about yet."""
    scoring.reopen(run.database, checkpoint.name)
    outcomes, decided = scoring.seen(run.database), scoring.decided(run.database)
    todo = [row for row, digest in enumerate(pool.hashes) if outcomes.get(digest, "waiting") == "waiting"]
    run.summary.new = sum(pool.hashes[row] not in outcomes for row in todo)
    async with told("scoring", len(todo)) as progress:
        for start in range(0, len(todo), BATCH):
            rows = todo[start : start + BATCH]
            score, keep = await asyncio.to_thread(judge, checkpoint, pool.vectors[rows])
            named = [(pool.hashes[row], pool.names[row]) for row in rows]
            scoring.store_scores(run.database, named, score, keep, checkpoint.name)
            progress.advance(len(rows))
    known = [picture for picture in waiting(run, pool) if picture.hash in decided]
    scoring.settle(run.database, known, "decided")
    run.summary.decided = len(known)


def judge(checkpoint: Checkpoint, vectors: Vectors) -> tuple[Numbers, Numbers]:
    """Score and P(keep) of each row, float64 [n]."""
    return checkpoint.model.mean_score(vectors), checkpoint.model.keep_probability(vectors)


def waiting(run: Run, pool: Pool) -> list[Candidate]:
    return scoring.waiting(run.database, {digest: row for row, digest in enumerate(pool.hashes)})


async def queue(run: Run, pool: Pool, checkpoint: Checkpoint) -> None:
    """Settle what is below the threshold, and queue what is not, unless somebody has it already."""
    config, summary = run.config, run.summary
    summary.threshold = threshold_now(run.database, config.target_precision)
    to_learn = still_to_learn(run.database, config.learning_decisions)
    chosen, below = choose(waiting(run, pool), summary.threshold.value, config.exploration, to_learn)
    scoring.settle(run.database, below, "below")
    summary.below = len(below)
    known = known_pictures(run.database, pool, config.duplicate_similarity)
    async with aiohttp.ClientSession() as session, told("comparing", len(chosen)) as progress:
        library = await reach(run, session, pool.model_id) if chosen else None
        for start in range(0, len(chosen), PARALLEL):
            if config.library_backend is not None and library is None:
                break
            part = unlike_known(run, chosen[start : start + PARALLEL], pool, known)
            found = await asyncio.gather(*(ask(run, library, picture, pool) for picture in part))
            for picture, answer in zip(part, found, strict=True):
                conclude(run, picture, answer, checkpoint)
            if any(isinstance(answer, Unavailable) for answer in found):
                library = None
            progress.advance(PARALLEL)
    summary.waiting = len(waiting(run, pool))
    summary.queue = scoring.queue_length(run.database)


async def reach(run: Run, session: aiohttp.ClientSession, model_id: str) -> LibraryCheck | None:
    """The library's backend, or None where there is none to ask now."""
    if run.config.library_backend is None:
        return None
    library = LibraryCheck(run.config.library_backend, session, run.config.duplicate_similarity)
    try:
        await library.connect(model_id)
    except Unavailable as error:
        run.summary.problems.append(f"{error}; what may be in the library already is left for the next run")
        return None
    return library


def unlike_known(run: Run, part: list[Candidate], pool: Pool, known: Known) -> list[Candidate]:
    """Those that are no near-duplicates of what the person has seen, or of better ones of this run."""
    left = []
    for picture in part:
        vector = pool.vectors[picture.row]
        like = known.nearest(vector)
        if like is None:
            known.add(picture.filename, vector)
            left.append(picture)
        else:
            scoring.settle(run.database, [picture], "duplicate", like)
            run.summary.duplicates += 1
    return left


async def ask(run: Run, library: LibraryCheck | None, picture: Candidate, pool: Pool) -> Answer:
    """The library's file that shows the same, None, or why that cannot be said."""
    if library is None:
        return None
    try:
        return await library.find(
            pool.vectors[picture.row], Path(run.config.pictures().files) / pool.names[picture.row]
        )
    except NotTaken as error:  # it would never be compared: the person sees for themselves
        log.warning("%s is queued without a look into the library: %s", picture.filename, error)
        return None
    except (Unavailable, UnreadablePicture) as error:
        return error


def conclude(run: Run, picture: Candidate, answer: Answer, checkpoint: Checkpoint) -> None:
    """Queue a picture, or store why not. What could not be compared waits for the next run."""
    summary = run.summary
    if isinstance(answer, MemeSearchError):
        summary.problems.append(f"{picture.filename}: {answer}; it is left for the next run")
    elif answer is not None:
        scoring.settle(run.database, [picture], "duplicate", f"library: {answer}")
        summary.duplicates += 1
    else:
        added = scoring.enqueue(run.database, picture, checkpoint.name)
        summary.decided += not added
        summary.queued += added and not picture.explored
        summary.explored += added and picture.explored


def report(run: Run) -> int:
    """Tell people and Prometheus; returns the exit status."""
    summary, config = run.summary, run.config
    if config.metrics_file is not None:
        now = time.time()
        try:
            write_metrics(Path(config.metrics_file), metrics(summary, now, now - run.started))
        except Unavailable as error:
            summary.problems.append(str(error))
    print(table(summary), flush=True)
    return 1 if summary.problems else 0


@contextlib.asynccontextmanager
async def told(what: str, total: int) -> AsyncIterator[Progress]:
    """Progress of long work, with rate and time left, on the log every few seconds."""
    progress = Progress()
    progress.start(what, total)

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            log.info("%s: %s", what, progress.report())

    task = asyncio.create_task(tell())
    try:
        yield progress
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
