"""The kinds of sources, one module each, behind one iterator of pages."""

import logging
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from memesearch.crawl.config import (
    AnySource,
    FeedConfig,
    FolderConfig,
    LemmyConfig,
    MastodonConfig,
    RedditConfig,
)
from memesearch.crawl.fetch import Fetcher
from memesearch.crawl.post import ODD, NotUnderstood, Page
from memesearch.crawl.sources.feed import Feed
from memesearch.crawl.sources.folder import Folder
from memesearch.crawl.sources.lemmy import Lemmy
from memesearch.crawl.sources.mastodon import Mastodon
from memesearch.crawl.sources.reddit import Reddit

log = logging.getLogger(__name__)
IDLE_PAGES = 3  # without a post that this pass has not seen, after which a listing is taken to repeat itself


class Source(Protocol):
    """One place that posts come from. `newest_first`: what follows a page is older than it."""

    name: str
    newest_first: bool

    async def page(self, cursor: str | None) -> Page:
        """A page of the listing, the first where `cursor` is None. Raises NotUnderstood, Refused, GivenUp."""

    async def read(self, picture: str) -> bytes:
        """The bytes of a picture that a post of this source names. Raises Refused, GivenUp."""


def open_source(config: AnySource, fetcher: Fetcher) -> Source:
    match config:
        case RedditConfig():
            return Reddit(config, fetcher)
        case LemmyConfig():
            return Lemmy(config, fetcher)
        case MastodonConfig():
            return Mastodon(config, fetcher)
        case FeedConfig():
            return Feed(config, fetcher)
        case FolderConfig():
            return Folder(config, fetcher.settings.max_bytes)


async def pages(source: Source, cursor: str | None, at_most: int) -> AsyncIterator[tuple[str | None, Page]]:
    """Page after page with the cursor that led to it, until the listing ends, repeats itself, or is too long.

    No post comes twice.

    Raises what `Source.page` raises.
    """
    cursors, seen, idle, malformed = {cursor}, set[str](), 0, 0
    for _ in range(at_most):
        try:
            page = await source.page(cursor)
        except ODD as error:
            raise NotUnderstood(f"answers a page that cannot be understood: {error}") from error
        if page.malformed and not malformed:
            log.warning("%s: %d posts of a page could not be understood and are left out", source.name, page.malformed)
        malformed += page.malformed
        if malformed and not page.posts:
            raise NotUnderstood(f"none of the {page.malformed} posts of a page could be understood")
        fresh = list({post.key: post for post in page.posts if post.key not in seen}.values())
        seen.update(post.key for post in fresh)
        idle = 0 if fresh else idle + 1
        yield cursor, msgspec.structs.replace(page, posts=fresh)
        if page.next is None:
            return
        if page.next in cursors or idle == IDLE_PAGES:
            log.warning("%s: the listing repeats itself and is left at that", source.name)
            return
        cursor = page.next
        cursors.add(cursor)
    log.warning("%s: the listing goes on after %d pages (`max_pages`) and is left at that", source.name, at_most)
