"""Frozen records from the mappings in which JSON keeps them: the way back from ``dataclasses.asdict`` and ``json``."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar

T = TypeVar("T")


def record_from(kind: type[T], data: Mapping[str, Any], *, skip_unknown: bool = False) -> T:
    """The record of which ``data`` holds the fields, with its tuples and the records within it.

    ``skip_unknown`` passes over what a later release may have added. TypeError or ValueError for anything that was no
    such record, beside what the records themselves refuse.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{kind.__name__} from {data!r}")
    kinds = _field_kinds(typing.cast("Any", kind))
    known = {name: value for name, value in data.items() if name in kinds or not skip_unknown}
    return kind(**{name: _value(kinds.get(name, Any), value, skip_unknown) for name, value in known.items()})


@cache
def _field_kinds(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _value(kind: Any, value: Any, skip_unknown: bool) -> Any:
    """A value of JSON as the type that a field asks for."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (UnionType, typing.Union):
        if value is None:
            return None
        kind = next(option for option in args if option is not type(None))
        origin, args = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return record_from(typing.cast("type[Any]", kind), value, skip_unknown=skip_unknown)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError(f"a list is not {value!r}")
        inner = args[:1] * len(value) if args[1:] == (...,) else args
        return tuple(_value(one, item, skip_unknown) for one, item in zip(inner, value, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(value, Mapping) and origin is not None:
        return {key: _value(args[1], item, skip_unknown) for key, item in value.items()}
    return tuple(_value(Any, item, skip_unknown) for item in value) if isinstance(value, list) else value
