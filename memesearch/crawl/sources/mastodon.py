"""Mastodon: posts with a hashtag, https://docs.joinmastodon.org/methods/timelines/#tag."""

import html
import re
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from memesearch.crawl.config import MastodonConfig
from memesearch.crawl.fetch import Fetcher
from memesearch.crawl.post import Page, Post, each, need_list, need_text, seconds, text_of, whole
from memesearch.crawl.sources.safe_xml import plain
from memesearch.crawl.sources.web import WebSource

LIMIT = "40"
TITLE_LENGTH = 300
NEXT = re.compile(r'<([^>]*)>\s*;[^,<]*\brel="?next"?', re.IGNORECASE)


class Mastodon(WebSource):
    """The cursor is the id below which the timeline goes on."""

    def __init__(self, config: MastodonConfig, fetcher: Fetcher) -> None:
        super().__init__(config.name, fetcher)
        self._config = config

    async def page(self, cursor: str | None) -> Page:
        base = self._config.base_url.rstrip("/")
        query = {"limit": LIMIT, "only_media": "true", **({"max_id": cursor} if cursor else {})}
        headers = {"Authorization": f"Bearer {self._config.token}"} if self._config.token else {}
        told, answer = await self.ask_json(f"{base}/api/v1/timelines/tag/{quote(self._config.tag)}", query, headers)
        entries = need_list(told, "a timeline")
        posts, malformed = each(entries, self._post)
        return Page(posts, following(answer.headers.get("Link"), entries), malformed)

    def _post(self, status: dict[str, Any]) -> Post:
        number, host = need_text(status["id"]), urlsplit(self._config.base_url).netloc
        uri = text_of(status.get("uri")) or f"{self._config.base_url}#{number}"
        text = plain(text_of(status.get("spoiler_text")) + " " + text_of(status.get("content")))
        likes = status.get("favourites_count")
        media = status.get("media_attachments") or []
        pictures = tuple(addresses(item) for item in media if item.get("type") == "image")
        return Post(
            key=f"mastodon:{uri}",  # the same on every server that shows it
            name=f"mastodon_{host}_{number}",
            pictures=tuple(filter(None, pictures)),
            title=html.unescape(text)[:TITLE_LENGTH],
            author=text_of((status.get("account") or {}).get("acct")),
            link=text_of(status.get("url")) or uri,
            created=seconds(need_text(status["created_at"])),
            adult=bool(status.get("sensitive")),
            score=whole(likes),
        )


def addresses(media: dict[str, Any]) -> tuple[str, ...]:
    """This server's copy, then the original's place."""
    return tuple(url for url in (media.get("url"), media.get("remote_url")) if isinstance(url, str) and url)


def following(link: str | None, entries: list[Any]) -> str | None:
    """The `max_id` of the Link header's next page; where there is no such header, the last entry's id."""
    if link is not None:
        match = NEXT.search(link)
        return parse_qs(urlsplit(match[1]).query).get("max_id", [None])[0] if match else None
    last = entries[-1] if entries else None
    return text_of(last.get("id")) or None if isinstance(last, dict) else None
