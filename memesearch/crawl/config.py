"""What `rater_config.json` says of collecting: `sources`, a list of tagged objects, and `crawl`, the limits."""

import re
from typing import ClassVar
from urllib.parse import urlsplit

import msgspec

DEFAULT_USER_AGENT = "meme-search-engine crawler (one person's own collection)"


class SourceConfig(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, frozen=True):
    """Base of the kinds of sources. `name` tells one from another, in the database too."""

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def host(self) -> str | None:
        """The server that is asked, where the configuration names it."""
        url = getattr(self, "base_url", None) or getattr(self, "url", None)
        return urlsplit(url).hostname if url else None


class RedditConfig(SourceConfig, tag="reddit", frozen=True):
    """A subreddit, or several joined by `+`; with `client_id` and `client_secret` by OAuth.

    `base_url`: another server that speaks Reddit's interface, for the listing and for OAuth.
    """

    subreddit: str
    client_id: str | None = None
    client_secret: str | None = None
    base_url: str | None = None

    def __post_init__(self) -> None:
        check_word("subreddit", self.subreddit, r"[A-Za-z0-9_+-]+")
        check_url("base_url", self.base_url)
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("`client_id` and `client_secret` belong together")

    @property
    def name(self) -> str:
        return f"reddit:{self.subreddit}" + (f"@{host_of(self.base_url)}" if self.base_url else "")


class LemmyConfig(SourceConfig, tag="lemmy", frozen=True):
    """A community of a Lemmy server (`memes`, `memes@other.server`); without one, all that the server itself hosts."""

    base_url: str
    community: str | None = None

    def __post_init__(self) -> None:
        check_url("base_url", self.base_url)
        if self.community is not None:
            check_word("community", self.community, r"[\w.@:-]+")

    @property
    def name(self) -> str:
        return f"lemmy:{self.community or ''}@{host_of(self.base_url)}"


class MastodonConfig(SourceConfig, tag="mastodon", frozen=True):
    """What a Mastodon server knows under a hashtag. `token`: for servers that show timelines to members only."""

    base_url: str
    tag: str
    token: str | None = None

    def __post_init__(self) -> None:
        check_url("base_url", self.base_url)
        check_word("tag", self.tag, r"\w+")

    @property
    def name(self) -> str:
        return f"mastodon:{self.tag}@{host_of(self.base_url)}"


class FeedConfig(SourceConfig, tag="feed", frozen=True):
    """An RSS 2.0 or Atom feed."""

    url: str

    def __post_init__(self) -> None:
        check_url("url", self.url)

    @property
    def name(self) -> str:
        return f"feed:{self.url}"


class FolderConfig(SourceConfig, tag="folder", frozen=True):
    """A local folder; its pictures are copied."""

    path: str

    @property
    def name(self) -> str:
        return f"folder:{self.path}"


AnySource = RedditConfig | LemmyConfig | MastodonConfig | FeedConfig | FolderConfig


class CrawlSettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """Manners and limits of a run; 0 switches `max_pictures`, `max_age_days` and `max_seconds` off.

    Attributes:
        seconds_between_requests: to one host.
        request_seconds: after which one request is given up.
        max_bytes: of one picture.
        max_pictures: stored in one run; the next goes on.
        max_age_days: of a post; files of a folder may be of any age.
        max_pages: of a source's listing in one run.
        allow_adult: also posts that their source flags as adult or sensitive.
        allow_private_addresses: the servers that `sources` names may be on this machine or its network, on any port;
            other addresses that their posts name may not.
    """

    ZERO_IS_NONE: ClassVar = ("max_pictures", "max_age_days", "max_seconds", "seconds_between_requests")
    user_agent: str = DEFAULT_USER_AGENT
    seconds_between_requests: float = 2.0
    request_seconds: float = 60.0
    max_bytes: int = 50_000_000
    max_pictures: int = 1000
    max_age_days: float = 30.0
    max_pages: int = 100
    max_seconds: float = 3600.0
    allow_adult: bool = False
    allow_private_addresses: bool = False

    def __post_init__(self) -> None:
        for name in ("request_seconds", "max_bytes", "max_pages"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be more than 0")
        for name in self.ZERO_IS_NONE:
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be 0 or more")
        if not self.user_agent.isprintable() or not self.user_agent.isascii() or not self.user_agent.strip():
            raise ValueError("`user_agent` must be one line of ASCII text")


def check_sources(sources: tuple[AnySource, ...]) -> None:
    """Raise ValueError where two are the same: they would share one position."""
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"`sources` names {name} twice")


def check_word(key: str, value: str, pattern: str) -> None:
    if not re.fullmatch(pattern, value):
        raise ValueError(f"`{key}`: {value!r} is not a name of this kind")


def check_url(key: str, url: str | None) -> None:
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`{key}` must be a URL that starts with http:// or https://")


def host_of(url: str) -> str:
    return urlsplit(url).netloc
