"""Asking web servers: one polite client for all sources.

One request at a time to a host and a pause between two; failures of the moment are tried again, later and later;
what a server says about waiting is done; redirects are followed one by one and checked like any other address.
"""

import asyncio
import email.utils
import logging
import math
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from memesearch.crawl.addresses import PublicResolver, check_address
from memesearch.crawl.config import CrawlSettings
from memesearch.crawl.post import GivenUp, Refused
from memesearch.errors import why_no_answer

log = logging.getLogger(__name__)
ATTEMPTS = 4
GIVE_UPS = 3  # in a row, after which a host is not asked any more in this run
REDIRECTS = 5
LONGEST_WAIT = 300.0  # seconds; who wants more is asked again by a later run
LONGEST_REST = 7 * 86_400.0  # seconds for which a server is left alone, whatever it says: it may err by centuries
TOLD = 200  # characters of what went wrong with a connection
LISTING_BYTES = 20 * 2**20
CHUNK_BYTES = 2**16
MOVED = (301, 302, 303, 307, 308)
PICTURES = "image/avif,image/webp,image/png,image/jpeg,image/gif,image/*;q=0.8"


@dataclass(frozen=True)
class Answer:
    """`url`: where the redirects ended."""

    url: str
    headers: CIMultiDictProxy[str]
    body: bytes


class Trouble(Exception):
    """A failure of the moment. `wait`: seconds that the server asked for, or None."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Gate:
    """The turns of one host."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.next = 0.0  # time.monotonic() before which nothing is asked
        self.give_ups = 0  # in a row
        self.closed_until = 0.0  # time.monotonic() before which nothing is asked, and nobody waits for it

    def wait(self, seconds: float) -> None:
        """Ask nothing more for so long."""
        if seconds > LONGEST_WAIT:
            self.closed_until = time.monotonic() + seconds
        else:
            self.next = max(self.next, time.monotonic() + seconds)


class Fetcher:
    """Use as an asynchronous context manager, from one event loop."""

    def __init__(self, settings: CrawlSettings, own_hosts: Iterable[str] = ()) -> None:
        """`own_hosts`: those that the configuration names; they may be private where the settings allow it."""
        self.settings = settings
        self._trusted = frozenset(own_hosts if settings.allow_private_addresses else ())
        self._gates: dict[tuple[str, int], Gate] = {}

    async def __aenter__(self) -> "Fetcher":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=PublicResolver(self._trusted)),
            timeout=aiohttp.ClientTimeout(total=self.settings.request_seconds),
            headers={"User-Agent": self.settings.user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def picture(self, url: str) -> bytes:
        """The bytes behind an address of a picture, whatever they are. Raises Refused, GivenUp."""
        headers = {"Accept": PICTURES, "Accept-Encoding": "identity"}
        return (await self.ask(url, headers, limit=self.settings.max_bytes)).body

    async def ask(
        self, url: str, headers: dict[str, str], data: dict[str, str] | None = None, limit: int = LISTING_BYTES
    ) -> Answer:
        """GET, or POST where there is `data`, until it is answered.

        Raises:
            Refused: this address will not give it.
            GivenUp: the server failed ATTEMPTS times, or wants to be left alone for long.
        """
        checked = check_address(url, self._trusted)
        host, gate = checked.host, self._gate(checked)
        if gate.give_ups >= GIVE_UPS:
            raise GivenUp(f"{host} failed too often in this run")
        try:
            answer = await self._attempts(url, host, headers, data, limit)
        except GivenUp:
            gate.give_ups += 1
            raise
        except Refused:
            gate.give_ups = 0
            raise
        gate.give_ups = 0
        return answer

    async def _attempts(
        self, url: str, host: str | None, headers: dict[str, str], data: dict[str, str] | None, limit: int
    ) -> Answer:
        for attempt in range(ATTEMPTS):
            try:
                return await self._follow(url, headers, data, limit)
            except Trouble as trouble:
                wait = trouble.wait
                if wait is not None and wait > LONGEST_WAIT:
                    raise GivenUp(f"{host} {trouble} and wants to be left alone for {wait:.0f} s", wait) from trouble
                if attempt + 1 == ATTEMPTS:
                    raise GivenUp(f"{host} {trouble}; tried {ATTEMPTS} times", wait or 0.0) from trouble
                log.info("%s %s; trying again", host, trouble)
                if wait is None:
                    await asyncio.sleep(self._backoff(attempt))
        raise AssertionError("unreachable")

    def _gate(self, url: URL) -> Gate:
        return self._gates.setdefault((url.host or "", url.port or 0), Gate())

    def _backoff(self, attempt: int) -> float:
        """Seconds: twice as long each time, and never the same for two programs."""
        return max(0.1, self.settings.seconds_between_requests) * float(2**attempt) * random.uniform(0.8, 1.2)

    async def _follow(self, text: str, headers: dict[str, str], data: dict[str, str] | None, limit: int) -> Answer:
        for _ in range(REDIRECTS + 1):
            url = check_address(text, self._trusted)
            answer = await self._once(url, headers, data, limit)
            if isinstance(answer, Answer):
                return answer
            answer = check_address(str(answer), self._trusted)
            if answer.origin() != url.origin():  # secrets are for the server they were made for
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
                if data is not None:
                    raise Refused(f"{url.host} sends a request with secrets on to {answer.host}")
            text = str(answer)
        raise Refused(f"{url.host} sends on more than {REDIRECTS} times")

    async def _once(self, url: URL, headers: dict[str, str], data: dict[str, str] | None, limit: int) -> Answer | URL:
        """One request in the host's turn: its answer, or where it leads. Raises Refused, Trouble."""
        gate = self._gate(url)
        async with gate.lock:
            if (wait := gate.closed_until - time.monotonic()) > 0:
                raise GivenUp(f"{url.host} wants to be left alone for {wait:.0f} s", wait)
            await asyncio.sleep(gate.next - time.monotonic())
            gate.next = time.monotonic() + self.settings.seconds_between_requests
            try:
                method = "GET" if data is None else "POST"
                async with self._session.request(
                    method, url, headers=headers, data=data, allow_redirects=False
                ) as response:
                    return await self._read(url, response, limit)
            except ValueError as error:  # also of names that cannot be asked for
                raise Refused(f"{str(url)[:200]!r} is not an address") from error
            except TimeoutError as error:
                raise Trouble(f"did not answer within {self.settings.request_seconds:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                told = why_no_answer(error)[:TOLD]  # some are pages long, with what the server sent
                raise Trouble(f"cannot be asked: {told}") from error
            except Trouble as trouble:
                if trouble.wait is not None:
                    gate.wait(trouble.wait)
                raise

    async def _read(self, url: URL, response: aiohttp.ClientResponse, limit: int) -> Answer | URL:
        status = response.status
        if status in MOVED and "Location" in response.headers:
            try:
                return url.join(URL(response.headers["Location"]))
            except ValueError as error:
                raise Refused(f"{url.host} sends on to something that is not an address") from error
        if status == 429 or status >= 500:
            raise Trouble(f"answers with status {status}", wanted_wait(response.headers, status))
        if status != 200:
            raise Refused(f"{url.host} answers with status {status}", status)
        too_large = Refused(f"is larger than {limit:,} bytes")
        if response.content_length is not None and response.content_length > limit:
            raise too_large
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > limit:
                raise too_large
        return Answer(str(url), response.headers, bytes(body))


def wanted_wait(headers: CIMultiDictProxy[str], status: int) -> float | None:
    """Seconds, from `Retry-After` (a number or a date) or, with status 429, Reddit's `x-ratelimit-reset`."""
    wait = told_wait(headers, status)
    return None if wait is None else min(max(0.0, wait), LONGEST_REST)


def told_wait(headers: CIMultiDictProxy[str], status: int) -> float | None:
    """The same as it is told: in the past, or centuries away."""
    text = headers.get("Retry-After", headers.get("x-ratelimit-reset", "") if status == 429 else "").strip()
    if not text:
        return None
    try:
        return None if math.isnan(float(text)) else float(text)
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
