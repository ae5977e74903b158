"""Which values a field of a body may have, where it may have some words only: for those who sent another."""

import re
from functools import lru_cache
from typing import Any

from msgspec import inspect

_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


@lru_cache(maxsize=256)
def allowed_values(type_: Any, path: str) -> tuple[str, ...]:
    """
    List the words that a place in a body of a type may have; empty where it is no place of words.

    Args:
        type_: What the body is decoded as.
        path: The place, as `msgspec.ValidationError` names it: ``limits.method_types[...]``.
    """
    found = [inspect.type_info(type_)]
    for step in _STEP.findall(path):
        found = [inner for each in found for inner in _inside(each, step)]
    words = [each.values for each in found if isinstance(each, inspect.LiteralType)]
    return tuple(str(value) for values in words for value in values)


def _inside(type_: inspect.Type, step: str) -> list[inspect.Type]:
    if isinstance(type_, inspect.StructType):
        return [
            inner
            for field in type_.fields
            if field.encode_name == step
            for inner in _alternatives(field.type)
        ]
    if isinstance(type_, inspect.CollectionType) and step.startswith("["):
        return _alternatives(type_.item_type)
    return []


def _alternatives(type_: inspect.Type) -> list[inspect.Type]:
    if isinstance(type_, inspect.UnionType):
        return [inner for each in type_.types for inner in _alternatives(each)]
    if isinstance(type_, inspect.Metadata):
        return _alternatives(type_.type)
    return [type_]
