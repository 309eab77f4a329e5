"""XML of strangers: no entities are declared, nothing outside is read, nothing is nested without end."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from memesearch.crawl.post import NotUnderstood

DEPTH = 100


def parse(raw: bytes) -> Element:
    """The root; names are `{namespace}name`. Raises NotUnderstood.

    A document in another charset than it says is read as Windows-1252, which can be read always.
    """
    try:
        return parse_as(raw, None)
    except expat.ExpatError as error:
        if is_utf8(raw) or raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise NotUnderstood(f"answers something else than XML: {error}") from error
    except (LookupError, ValueError) as error:
        raise NotUnderstood(f"answers XML in an unknown charset: {error}") from error
    try:
        return parse_as(raw.decode("cp1252", "replace").encode(), "utf-8")
    except expat.ExpatError as error:
        raise NotUnderstood(f"answers something else than XML: {error}") from error


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_as(raw: bytes, charset: str | None) -> Element:
    """Raises ExpatError, NotUnderstood."""
    builder, depth = TreeBuilder(), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH:
            raise NotUnderstood("answers XML that is nested too deeply")
        builder.start(qualified(name), {qualified(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(qualified(name))

    def refuse(*_: object) -> int:
        raise NotUnderstood("answers XML that declares entities, which is refused")

    parser = expat.ParserCreate(charset, "}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    parser.Parse(raw, True)
    return builder.close()


def qualified(name: str) -> str:
    return "{" + name if "}" in name else name


def local(element: Element) -> str:
    """The name without its namespace, in lower case."""
    return element.tag.rpartition("}")[2].lower()


def children(element: Element, *names: str) -> Iterator[Element]:
    return (child for child in element if local(child) in names)


def first_text(element: Element, *names: str) -> str:
    """The text of the first child of one of these names that has any; names in the order of preference."""
    for name in names:
        for child in children(element, name):
            if text := "".join(child.itertext()).strip():
                return text
    return ""


def plain(text: str) -> str:
    """Without tags, on one line. Takes time in proportion to the text, whatever a stranger made of it."""
    return " ".join(re.sub(r"<[^<>]*>", " ", text).split())
