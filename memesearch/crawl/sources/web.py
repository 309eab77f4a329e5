"""What the sources that are web servers share."""

import json
import logging
import re
from typing import Any
from urllib.parse import urlencode

from memesearch.crawl.fetch import Answer, Fetcher
from memesearch.crawl.post import NotUnderstood

log = logging.getLogger(__name__)
LONE_HALVES = re.compile(r"\\u[dD][89a-fA-F]")


class WebSource:
    newest_first = True

    def __init__(self, name: str, fetcher: Fetcher) -> None:
        self.name = name
        self.fetcher = fetcher
        self._said_charset = False

    async def read(self, picture: str) -> bytes:
        return await self.fetcher.picture(picture)

    async def ask_json(
        self, url: str, query: dict[str, str], headers: dict[str, str] | None = None
    ) -> tuple[Any, Answer]:
        """Raises NotUnderstood, Refused, GivenUp."""
        address = f"{url}?{urlencode(query)}" if query else url
        answer = await self.fetcher.ask(address, {"Accept": "application/json", **(headers or {})})
        return self.decode(answer), answer

    def decode(self, answer: Answer) -> Any:
        try:
            text = answer.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            if not self._said_charset:
                log.warning("%s: answers in another charset than UTF-8; odd characters are replaced", self.name)
            self._said_charset = True
            text = answer.body.decode("utf-8", "replace")
        try:
            told = json.loads(text)
            if LONE_HALVES.search(text):  # escapes that are no character, and can be stored nowhere
                told = json.loads(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))
            return told
        except RecursionError as error:
            raise NotUnderstood("answers JSON that is nested too deeply") from error
        except ValueError as error:
            raise NotUnderstood(f"answers something else than JSON: {start_of(text)}") from error


def start_of(text: str) -> str:
    """The first words of an answer, for a log: one short line."""
    start = " ".join(text[:200].split())[:60]
    return f"{len(text):,} characters that begin {start!r}" if text else "nothing at all"
