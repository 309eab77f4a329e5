"""Reddit: the newest posts of a subreddit, as anybody sees them or by OAuth with client credentials.

The listing's JSON is described at https://www.reddit.com/dev/api#GET_new, OAuth at
https://github.com/reddit-archive/reddit/wiki/OAuth2.
"""

import base64
import html
import time
from typing import Any
from urllib.parse import urlsplit

from memesearch.crawl.config import RedditConfig
from memesearch.crawl.fetch import Fetcher
from memesearch.crawl.post import PICTURE_URL, NotUnderstood, Page, Post, Refused, each, need_text, text_of, whole
from memesearch.crawl.sources.web import WebSource

LIMIT = "100"
EARLY = 60.0  # seconds before its end at which a token is renewed
GONE = ("[deleted]", "[removed]")
PREVIEWED_HOSTS = ("imgur.com", "m.imgur.com", "www.imgur.com")  # link posts whose preview is the picture itself


class Reddit(WebSource):
    def __init__(self, config: RedditConfig, fetcher: Fetcher) -> None:
        super().__init__(config.name, fetcher)
        self._config = config
        self._token, self._token_ends = "", 0.0

    async def page(self, cursor: str | None) -> Page:
        query = {"limit": LIMIT, "raw_json": "1", **({"after": cursor} if cursor else {})}
        told = await self._listing(query)
        data = told.get("data") if isinstance(told, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get("children"), list):
            raise NotUnderstood("answers JSON that is not a listing")
        posts, malformed = each(data["children"], lambda child: read_post(child["data"], self._web()))
        after = data.get("after")
        return Page(posts, after if isinstance(after, str) and after else None, malformed)

    def _web(self) -> str:
        return (self._config.base_url or "https://www.reddit.com").rstrip("/")

    async def _listing(self, query: dict[str, str]) -> Any:
        if self._config.client_id is None:
            return (await self.ask_json(f"{self._web()}/r/{self._config.subreddit}/new.json", query))[0]
        base = (self._config.base_url or "https://oauth.reddit.com").rstrip("/")
        url = f"{base}/r/{self._config.subreddit}/new"
        try:
            return (await self.ask_json(url, query, await self._authorization()))[0]
        except Refused as error:
            if error.answered != 401:
                raise
            self._token_ends = 0.0  # withdrawn early: once more with a new one
            return (await self.ask_json(url, query, await self._authorization()))[0]

    async def _authorization(self) -> dict[str, str]:
        """The header with a token that is good for this request."""
        if time.monotonic() > self._token_ends - EARLY:
            pair = f"{self._config.client_id}:{self._config.client_secret}".encode()
            headers = {"Authorization": f"Basic {base64.b64encode(pair).decode()}", "Accept": "application/json"}
            data = {"grant_type": "client_credentials"}
            try:
                answer = await self.fetcher.ask(f"{self._web()}/api/v1/access_token", headers, data)
            except Refused as error:
                raise Refused(f"gives no token for `client_id` and `client_secret`: {error}", error.answered) from error
            told = self.decode(answer)
            try:
                self._token = need_text(told["access_token"])
                self._token_ends = time.monotonic() + float(told.get("expires_in", 3600))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise NotUnderstood("answers something else than a token") from error
        return {"Authorization": f"Bearer {self._token}"}


def read_post(data: dict[str, Any], web: str) -> Post:
    """Raises what `each` catches."""
    name = data.get("name") or f"t3_{need_text(data['id'])}"
    deleted = bool(data.get("removed_by_category")) or (data.get("author") in GONE and not data.get("url"))
    parents = data.get("crosspost_parent_list") or [None]
    original = parents[0] if isinstance(parents[0], dict) else data
    score = data.get("score")
    return Post(
        key=f"reddit:{need_text(name)}",
        name=name,
        pictures=() if deleted else pictures_of(original),
        title=text_of(data.get("title")),
        author=text_of(data.get("author")),
        link=web + text_of(data.get("permalink")),
        created=float(data["created_utc"]),
        adult=bool(data.get("over_18") or original.get("over_18")),
        deleted=deleted,
        score=whole(score),
    )


def pictures_of(data: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Addresses of each picture: those of a gallery, or the one the post links to with Reddit's own copy of it."""
    if data.get("is_gallery") or "gallery_data" in data:
        return gallery(data)
    if data.get("is_self") or data.get("is_video"):
        return ()
    url = html.unescape(text_of(data.get("url_overridden_by_dest") or data.get("url")))
    parts = urlsplit(url)
    direct = bool(PICTURE_URL.search(parts.path))
    hint = data.get("post_hint")
    found = [url] if direct else []
    if direct or hint == "image" or parts.hostname in PREVIEWED_HOSTS:
        found += [html.unescape(source["url"]) for source in previews(data)]
    return (tuple(dict.fromkeys(found)),) if found else ()


def previews(data: dict[str, Any]) -> list[dict[str, Any]]:
    preview = data.get("preview")
    images = preview.get("images") if isinstance(preview, dict) else None
    sources = [image.get("source") for image in images or [] if isinstance(image, dict)]
    return [source for source in sources[:1] if isinstance(source, dict) and isinstance(source.get("url"), str)]


def gallery(data: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """In the gallery's order; pictures that are gone or were never made are left out."""
    media = data.get("media_metadata") or {}
    order = [item["media_id"] for item in (data.get("gallery_data") or {}).get("items") or []] or list(media)
    found = []
    for identifier in order:
        item = media.get(identifier)
        if not isinstance(item, dict) or item.get("status") != "valid":
            continue
        source = item.get("s") or {}
        url = source.get("u") or source.get("gif")
        if isinstance(url, str):
            found.append((html.unescape(url),))
    return tuple(found)
