"""Lemmy: the newest posts of a community, https://join-lemmy.org/api (`/api/v3/post/list`)."""

import mimetypes
from typing import Any
from urllib.parse import urlsplit

from memesearch.crawl.config import LemmyConfig
from memesearch.crawl.fetch import Fetcher
from memesearch.crawl.post import Page, Post, each, need_list, need_text, seconds, text_of, whole
from memesearch.crawl.sources.web import WebSource

LIMIT = 50
NUMBERED = "page "  # before a cursor that is a number of ours


class Lemmy(WebSource):
    """Cursors are what the server names (from version 0.19 on), or a page's number."""

    def __init__(self, config: LemmyConfig, fetcher: Fetcher) -> None:
        super().__init__(config.name, fetcher)
        self._config = config

    async def page(self, cursor: str | None) -> Page:
        query = {"sort": "New", "limit": str(LIMIT), "type_": "All" if self._config.community else "Local"}
        if self._config.community:
            query["community_name"] = self._config.community
        if cursor:
            numbered = cursor.startswith(NUMBERED)
            query["page" if numbered else "page_cursor"] = cursor.removeprefix(NUMBERED)
        told, _ = await self.ask_json(f"{self._config.base_url.rstrip('/')}/api/v3/post/list", query)
        entries = need_list(told.get("posts") if isinstance(told, dict) else None, "a list of posts")
        posts, malformed = each(entries, self._post)
        following = told.get("next_page")
        if "next_page" not in told and len(entries) >= LIMIT and (cursor is None or cursor.startswith(NUMBERED)):
            following = f"{NUMBERED}{int((cursor or '1').removeprefix(NUMBERED)) + 1}"
        return Page(posts, following if isinstance(following, str) and following else None, malformed)

    def _post(self, entry: dict[str, Any]) -> Post:
        post, community = entry["post"], entry.get("community") or {}
        number = int(post["id"])
        host = urlsplit(self._config.base_url).netloc
        link = text_of(post.get("ap_id")) or f"{self._config.base_url.rstrip('/')}/post/{number}"
        deleted = bool(post.get("deleted") or post.get("removed"))
        creator = entry.get("creator") or {}
        score = (entry.get("counts") or {}).get("score")
        return Post(
            key=f"lemmy:{link}",  # the same on every server that shows it
            name=f"lemmy_{host}_{number}",
            pictures=() if deleted else pictures_of(post),
            title=text_of(post.get("name")),
            author=text_of(creator.get("name")),
            link=link,
            created=seconds(need_text(post["published"])),
            adult=bool(post.get("nsfw") or community.get("nsfw")),
            deleted=deleted,
            score=whole(score),
        )


def pictures_of(post: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    url = text_of(post.get("url"))
    kind = text_of(post.get("url_content_type")) or mimetypes.guess_type(urlsplit(url).path)[0] or ""
    return ((url,),) if url and kind.startswith("image/") else ()
