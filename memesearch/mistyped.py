"""What JSON should have said: the choices and names that msgspec's messages leave out."""

import re
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")


def with_way_out(message: str, kind: type) -> str:
    """A `msgspec.ValidationError`'s message about JSON that should be a `kind`, with what would have been right."""
    found = MESSAGE.fullmatch(message)
    assert found is not None
    here = alternatives(inspect.type_info(kind))
    for step in STEP.finditer(found["path"] or ""):
        here = [deeper for type_ in here for deeper in below(type_, step[1])]
    if unknown := re.search(r"unknown field `(.*)`", found["what"]):
        names = [field.encode_name for type_ in here if isinstance(type_, inspect.StructType) for field in type_.fields]
        meant = get_close_matches(unknown[1], names, 1)
        return f"{message}; did you mean `{meant[0]}`?" if meant else message
    choices = [str(value) for type_ in here if isinstance(type_, inspect.LiteralType) for value in type_.values]
    return f"{message}; known are {', '.join(choices)}" if choices and found["what"].startswith("Invalid") else message


def below(type_: inspect.Type, name: str | None) -> list[inspect.Type]:
    """The types that may stand at a key, or, without a `name`, in a list or an object of any keys."""
    match type_:
        case inspect.StructType(tag_field=tag_field, tag=tag) if name is not None and name == tag_field:
            return [inspect.LiteralType((tag,))]
        case inspect.StructType(fields=fields):
            return [one for field in fields if field.encode_name == name for one in alternatives(field.type)]
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if name is None:
            return alternatives(item)
        case inspect.DictType(value_type=value):
            return alternatives(value)
    return []


def alternatives(type_: inspect.Type) -> list[Any]:
    return list(type_.types) if isinstance(type_, inspect.UnionType) else [type_]
