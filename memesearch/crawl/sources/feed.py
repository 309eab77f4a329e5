"""RSS 2.0 (with Media RSS) and Atom (RFC 4287, further pages as RFC 5005)."""

import email.utils
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element

from memesearch.crawl.config import FeedConfig
from memesearch.crawl.fetch import Fetcher
from memesearch.crawl.post import PICTURE_URL, NotUnderstood, Page, Post, each, seconds
from memesearch.crawl.sources import safe_xml as xml
from memesearch.crawl.sources.web import WebSource

ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1"
ROOTS = ("rss", "feed", "rdf")
ADULT_WORDS = ("nsfw", "adult", "porn")


class Feed(WebSource):
    """The cursor is the address of a further page, which only archives of Atom have."""

    def __init__(self, config: FeedConfig, fetcher: Fetcher) -> None:
        super().__init__(config.name, fetcher)
        self._url = config.url

    async def page(self, cursor: str | None) -> Page:
        answer = await self.fetcher.ask(cursor or self._url, {"Accept": ACCEPT})
        root = xml.parse(answer.body)
        if xml.local(root) not in ROOTS:
            raise NotUnderstood(f"answers XML that is no feed: <{xml.local(root)}>")
        channel = next(xml.children(root, "channel"), root)
        entries = [
            *xml.children(channel, "item", "entry"),
            *(xml.children(root, "item") if channel is not root else ()),
        ]
        adult = marked_adult(channel)
        posts, malformed = each(entries, lambda entry: self._post(entry, answer.url, adult))
        links = (link.get("href") for link in xml.children(channel, "link") if link.get("rel") == "next")
        following = next(filter(None, links), None)
        return Page(posts, urljoin(answer.url, following) if following else None, malformed)

    def _post(self, entry: Element, base: str, adult: bool) -> Post:
        link = urljoin(base, link_of(entry))
        identifier = xml.first_text(entry, "guid", "id") or link_of(entry)
        if not identifier:
            raise ValueError("neither an identifier nor a link")
        return Post(
            key=f"feed:{self._url}#{identifier}",
            name=f"feed_{urlsplit(self._url).netloc}_{identifier}",
            pictures=tuple((urljoin(link, url),) for url in pictures_of(entry)),
            title=xml.plain(xml.first_text(entry, "title")),
            author=author_of(entry),
            link=link,
            created=created(entry),
            adult=adult or marked_adult(entry),
        )


def link_of(entry: Element) -> str:
    for link in xml.children(entry, "link"):
        if link.get("rel", "alternate") == "alternate" and (found := link.get("href") or (link.text or "").strip()):
            return found
    return ""


def author_of(entry: Element) -> str:
    for author in xml.children(entry, "author", "creator"):
        return xml.first_text(author, "name") or (author.text or "").strip()
    return ""


def created(entry: Element) -> float | None:
    """Seconds since 1970; a date that cannot be read is none."""
    text = xml.first_text(entry, "pubdate", "published", "updated", "date")
    for read in (seconds, lambda text: email.utils.parsedate_to_datetime(text).timestamp()):
        try:
            return read(text)
        except (ValueError, OverflowError):
            continue
    return None


def marked_adult(element: Element) -> bool:
    """By Media RSS's rating, the podcasts' `explicit`, or a category that says so."""
    for child in xml.children(element, "rating", "explicit", "category"):
        text = (child.get("term") or child.text or "").strip().lower()
        if text in (("yes", "true", "explicit") if xml.local(child) == "explicit" else ADULT_WORDS):
            return True
    return False


def pictures_of(entry: Element) -> list[str]:
    """Enclosed pictures; else Media RSS's, one of each group; else the first that the text shows."""
    enclosed = [link.get("url") for link in xml.children(entry, "enclosure") if is_picture(link, "url")]
    enclosed += [
        link.get("href")
        for link in xml.children(entry, "link")
        if link.get("rel") == "enclosure" and is_picture(link, "href")
    ]
    found = list(filter(None, enclosed)) or list(media_pictures(entry))
    return list(dict.fromkeys(found)) or first_shown(entry)


def media_pictures(entry: Element) -> Iterator[str]:
    for part in [entry, *xml.children(entry, "group")]:
        urls = [item.get("url", "") for item in xml.children(part, "content") if is_picture(item, "url")]
        yield from urls[: None if part is entry else 1]


def is_picture(element: Element, key: str) -> bool:
    url = element.get(key)
    if not url:
        return False
    kind = element.get("type") or element.get("medium") or ""
    return kind.startswith("image") if kind else bool(PICTURE_URL.search(urlsplit(url).path))


def first_shown(entry: Element) -> list[str]:
    for text in (xml.first_text(entry, name) for name in ("encoded", "content", "description", "summary")):
        finder = FirstPicture()
        finder.feed(text)
        if finder.found:
            return [finder.found]
    return inline_pictures(entry)


def inline_pictures(entry: Element) -> list[str]:
    """Of Atom's content as XHTML, which is part of the document."""
    shown = (element.get("src") for element in entry.iter() if xml.local(element) == "img")
    return list(filter(None, shown))[:1]


class FirstPicture(HTMLParser):
    found = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "img" and not self.found:
            source = dict(attributes).get("src") or ""
            self.found = "" if source.startswith("data:") else source
