"""When the library is indexed unasked: at start, after a failure, and when the embedding service has another model.

What changes in the folder is in watching.py.
"""

import asyncio
import logging

from memesearch.errors import MemeSearchError
from memesearch.library.library import Library

log = logging.getLogger(__name__)
CHECK_SECONDS = 10.0  # how often the embedding service is asked which model it has


async def keep_in_step(library: Library) -> None:
    """The background task."""
    outdated, told = True, ""
    while True:
        if outdated:
            try:
                await library.reload(asked=False)
                told = ""
            except MemeSearchError as error:
                if told != (told := str(error)):
                    log.error("%s; indexing goes on as soon as that is over", error)
                await until_worth_trying(library)
                continue
            except Exception:  # a mistake of ours; what it was about may change
                log.exception("indexing failed; it is tried again")
                await asyncio.sleep(CHECK_SECONDS)
                continue
        await asyncio.sleep(CHECK_SECONDS)
        outdated = library.problem is not None or await has_another_model(library)


async def until_worth_trying(library: Library) -> None:
    """Wait for a service that is away; when it answers at once, something else is wrong that takes time."""

    def tell(problem: str) -> None:
        library.problem = problem

    loop = asyncio.get_running_loop()
    asked = loop.time()
    await library.client.wait_until_ready(tell)
    if loop.time() - asked < 1:
        await asyncio.sleep(CHECK_SECONDS)


async def has_another_model(library: Library) -> bool:
    """Whether the embedding service has another model than answers now."""
    if library.running:
        return False
    try:
        config = await library.client.refresh()
    except MemeSearchError:
        return False
    return library.index is None or config.model_id != library.index.model_id
