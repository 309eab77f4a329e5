"""Names that come from a browser or from a post's title, before they become names of files.

What is refused is what some common file system refuses, or what would hide the file: libraries lie on network shares
and sticks, too.
"""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from memesearch.errors import BadRequest

MAX_NAME_BYTES = 255  # of one part of a path, on nearly every file system
MAX_PATH_BYTES = 1024
ROOM = len(" (99999)") + len(".part") + 1  # for the number of a collision, and for the name while it is copied
SUGGESTED_CHARACTERS = 80
FORBIDDEN = '<>:"/\\|?*'
DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789")}
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, half characters, line and paragraph separators
TURNING = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they show a name in another order
MAX_TAGS, MAX_TAG_CHARACTERS = 32, 64


def unseen(character: str) -> bool:
    return unicodedata.category(character) in UNSEEN or character in TURNING


def check_name(name: str, what: str = "the name") -> str:
    """One part of a path, in Unicode's composed form. Raises BadRequest saying what is wrong with it."""
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise BadRequest(f"{what} is empty")
    if any(unseen(character) for character in name):
        raise BadRequest(f"{what} holds characters that cannot be seen; type it again")
    if found := sorted(set(name) & set(FORBIDDEN)):
        raise BadRequest(f"{what} cannot hold {' '.join(found)}, which not every disk can store")
    if name.startswith("."):
        raise BadRequest(f"{what} cannot begin with a dot: such files are hidden")
    if name.endswith("."):
        raise BadRequest(f"{what} cannot end with a dot")
    if name.split(".")[0].strip().lower() in DEVICES:
        raise BadRequest(f"{what} cannot be {name!r}: some systems keep that name for a device")
    if len(name.encode()) > MAX_NAME_BYTES - ROOM:
        raise BadRequest(f"{what} is longer than {MAX_NAME_BYTES - ROOM} bytes; shorten it")
    return name


def check_file_name(stem: str, extension: str) -> str:
    """The name of a file; `extension` (with its dot) is the picture's own. Raises BadRequest."""
    stem = stem.strip()
    if extension and stem.lower().endswith(extension.lower()):
        stem = stem[: -len(extension)]
    check_name(stem)
    return check_name(stem.strip() + extension)


def check_folder(folder: str, root: Path) -> str:
    """A folder inside `root`, there already or not, relative to it; "" is `root` itself.

    Raises:
        BadRequest: it is no such name, or links lead out of `root`.
    """
    if not folder.strip():
        return ""
    if folder.startswith("/"):
        raise BadRequest("the folder must be one inside the library, so it cannot begin with a slash")
    parts = [check_name(part, "the folder") for part in folder.split("/")]
    path = "/".join(parts)
    if len(path.encode()) > MAX_PATH_BYTES:
        raise BadRequest(f"the folder is longer than {MAX_PATH_BYTES} bytes; shorten it")
    if not lies_inside(root, path):
        raise BadRequest(f"the folder {path!r} leads out of the library")
    return path


def lies_inside(root: Path, path: str) -> bool:
    """Whether `root / path`, wherever links lead, is below `root`. The path need not exist yet."""
    if "\0" in path:
        return False
    real = os.path.realpath(root)
    target = os.path.realpath(root / path)
    return target == real or target.startswith(real.rstrip("/") + "/")


def check_tags(tags: Iterable[str]) -> list[str]:
    """Tags without twins, in their order. Raises BadRequest."""
    checked: dict[str, str] = {}
    for raw in tags:
        tag = " ".join(unicodedata.normalize("NFC", raw).split())
        if not tag:
            continue
        if any(unseen(character) for character in tag) or "," in tag:
            raise BadRequest(f"the tag {tag!r} holds a comma or characters that cannot be seen")
        if len(tag) > MAX_TAG_CHARACTERS:
            raise BadRequest(f"a tag has at most {MAX_TAG_CHARACTERS} characters")
        checked.setdefault(tag.casefold(), tag)
    if len(checked) > MAX_TAGS:
        raise BadRequest(f"a picture has at most {MAX_TAGS} tags")
    return list(checked.values())


def safe_name(text: str, otherwise: str) -> str:
    """A name made of a title, without extension; `otherwise` where nothing is left of it."""
    text = unicodedata.normalize("NFC", text)
    kept = "".join(" " if unseen(character) or character in FORBIDDEN else character for character in text)
    name = " ".join(kept.split())[:SUGGESTED_CHARACTERS].strip(" .")
    try:
        return check_name(name)
    except BadRequest:
        return otherwise


def numbered(path: str, number: int) -> str:
    """`a/name.jpg` as `a/name (2).jpg`; the first has no number."""
    stem, extension = os.path.splitext(path)
    return path if number == 1 else f"{stem} ({number}){extension}"
