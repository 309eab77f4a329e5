"""Pictures of a folder as posts, and posts in the formats that tests/source_server.py speaks."""

import email.utils
import hashlib
import html
import json
import time
from pathlib import Path
from typing import Any

PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bin")
RSS_SHAPES = (
    '<enclosure url="{url}" type="image/png" length="1"/>',
    '<media:group><media:content url="{url}" medium="image"/>'
    '<media:content url="{url}?small" medium="image"/></media:group>',
    "<description>&lt;p&gt;&lt;img src='{url}'&gt;&lt;img src='/other.png'&gt;</description>",
)
ATOM_SHAPES = (
    '<link rel="enclosure" type="image/png" href="{url}"/>',
    '<content type="html">&lt;img src="{url}"&gt;</content>',
    '<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><img src="{url}"/></div></content>',
)
ENTITIES = '<!DOCTYPE rss [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><channel><item>&b;</item></channel></rss>'


def offered(root: Path, name: str | None, origin: str) -> list[dict[str, Any]]:
    """Posts, the newest first."""
    folder = root / name if name and (root / name).is_dir() else root
    files = sorted((path for path in folder.rglob("*") if path.suffix in PICTURES), reverse=True)
    found = [described(path, root, rank, origin) for rank, path in enumerate(files)]
    shown_elsewhere = {file for post in found for file in post["gallery"]}
    return [post for post in found if post["file"] not in shown_elsewhere]


def described(path: Path, root: Path, rank: int, origin: str) -> dict[str, Any]:
    file = path.relative_to(root).as_posix()
    beside = path.with_name(path.name + ".json")
    more = json.loads(beside.read_text()) if beside.is_file() else {}
    number = int(hashlib.md5(file.encode()).hexdigest()[:8], 16)
    created = time.time() - 60 * rank
    post = {"file": file, "number": number, "id": f"{number:08x}", "title": path.stem, "created": created}
    extra = {"adult": False, "deleted": False, "gallery": [], "url": f"{origin}/picture/{file}"}
    return post | extra | more


def reddit(post: dict[str, Any], origin: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": f"t3_{post['id']}", "id": post["id"], "title": post["title"], "author": "somebody",
        "permalink": f"/r/x/comments/{post['id']}/", "created_utc": post["created"], "over_18": post["adult"],
        "score": 7, "url": post["url"], "url_overridden_by_dest": post["url"], "post_hint": "image", "is_self": False,
    }  # fmt: skip
    if post["deleted"]:
        data |= {"removed_by_category": "moderator", "author": "[deleted]"}
    if "text" in post:
        data |= {"is_self": True, "post_hint": "self", "url": origin + data["permalink"]}
        del data["url_overridden_by_dest"]
    if "preview" in post:
        data["preview"] = {"images": [{"source": {"url": html.escape(f"{data['url']}?width=10&s=1")}}]}
        data["url_overridden_by_dest"] = origin + "/picture/gone.jpg"
    if post["gallery"]:
        items = [f"media{number}" for number in range(len(post["gallery"]))]
        data |= {"is_gallery": True, "gallery_data": {"items": [{"media_id": item} for item in items]}}
        data["media_metadata"] = {
            item: {"status": "valid", "s": {"u": html.escape(f"{origin}/picture/{file}?a=1&b=2")}}
            for item, file in zip(items, post["gallery"], strict=True)
        }
    if "cross" in post:
        kept = ("name", "id", "title", "author", "permalink", "created_utc", "over_18", "score")
        own = {key: data[key] for key in kept}
        return own | {"url": "/r/other/", "crosspost_parent_list": [data | {"name": "t3_original"}]}
    return data


def lemmy(post: dict[str, Any], origin: str) -> dict[str, Any]:
    return {
        "post": {
            "id": post["number"], "name": post["title"], "url": post["url"], "nsfw": post["adult"],
            "published": time.strftime("%Y-%m-%dT%H:%M:%S.123456Z", time.gmtime(post["created"])),
            "deleted": post["deleted"], "removed": False, "ap_id": f"{origin}/post/{post['number']}",
        },
        "creator": {"name": "somebody"}, "community": {"name": "memes", "nsfw": False}, "counts": {"score": 7},
    }  # fmt: skip


def mastodon(post: dict[str, Any], origin: str) -> dict[str, Any]:
    return {
        "id": post["id"], "uri": f"{origin}/users/a/{post['id']}", "url": f"{origin}/@a/{post['id']}",
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(post["created"])),
        "content": f"<p>{post['title']}</p>", "sensitive": post["adult"], "account": {"acct": "somebody"},
        "favourites_count": 7,
        "media_attachments": [{"type": "image", "url": post["url"]}, {"type": "video", "url": f"{origin}/a.mp4"}],
    }  # fmt: skip


def rss(posts: list[dict[str, Any]]) -> str:
    items = [
        f"<item><guid>{post['id']}</guid><title>{html.escape(post['title'])}</title>"
        f"<pubDate>{email.utils.formatdate(post['created'])}</pubDate><link>http://x/{post['id']}</link>"
        + RSS_SHAPES[index % 3].format(url=html.escape(post["url"]))
        + ("<category>NSFW</category>" if post["adult"] else "")
        + "</item>"
        for index, post in enumerate(posts)
    ]
    return f'<rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/"><channel>{"".join(items)}</channel></rss>'


def atom(posts: list[dict[str, Any]], following: str | None) -> str:
    entries = [
        f"<entry><id>tag:x,{post['id']}</id><title>{html.escape(post['title'])}</title>"
        f"<updated>{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(post['created']))}</updated>"
        f'<author><name>somebody</name></author><link href="http://x/{post["id"]}"/>'
        + ATOM_SHAPES[index % 3].format(url=html.escape(post["url"]))
        + ('<category term="nsfw"/>' if post["adult"] else "")
        + "</entry>"
        for index, post in enumerate(posts)
    ]
    link = f'<link rel="next" href="?after={following}"/>' if following else ""
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{link}{"".join(entries)}</feed>'
