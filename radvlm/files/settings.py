"""Settings in YAML as frozen dataclasses: the file holds only values, and what does not fit is refused by its name.

Types are strict, so that ``learning_rate: 1e-4`` (which YAML reads as text, for want of a dot) is told with its remedy
and not found out after a night. A list becomes a tuple, and a whole number a float where one is asked for; nothing else
changes.
"""

from __future__ import annotations

import difflib
import os
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar

from radvlm.errors import InputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Settings = TypeVar("Settings")
#: A path, or a file of a package as ``importlib.resources.files`` gives it.
Source = str | os.PathLike[str] | Traversable


def read_settings(cls: type[Settings], path: Source, what: str, remedy: str = "") -> Settings:
    """A YAML file as a dataclass; InputError names an unknown or missing key, a wrong type or an unreadable file.

    ``what`` the file is ("a recipe"), and the ``remedy`` where it is none or lacks a key, are parts of the messages.
    """
    return settings_from(cls, read_mapping(path, what, remedy), what, remedy)


def read_mapping(path: Source, what: str, remedy: str = "") -> dict[str, Any]:
    """The mapping in a YAML file, empty for an empty file; InputError when it holds something else."""
    import yaml

    source = Path(path) if isinstance(path, str | os.PathLike) else path
    try:
        data = yaml.safe_load(source.read_text(encoding="utf-8"))
    # PyYAML lets errors of Python through: a date that is none, an empty !!float, thousands of brackets
    except (OSError, yaml.YAMLError, ValueError, IndexError, RecursionError) as error:
        raise InputError(f"{what} is a readable YAML file", f"{source.name}: {error}", remedy) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(f"{what} is a mapping of settings", type(data).__name__, remedy)
    return data


def settings_from(cls: type[Settings], data: Mapping[str, Any], what: str, remedy: str = "") -> Settings:
    """A mapping, as YAML gives it, as a dataclass; errors as in ``read_settings``."""
    made: Settings = _dataclass(cls, data, "", what, remedy)
    return made


def _dataclass(cls: Any, data: Any, where: str, what: str, remedy: str) -> Any:
    """``where`` the mapping stands in the file, "" for the whole of it."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where} is a mapping of settings", repr(data))
    known = {field.name: field for field in fields(cls) if field.init}
    at = f"{where}." if where else ""
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise InputError(
                f"keys of {where or what} are {', '.join(known)}",
                f"{at}{key}",
                f"Did you mean {near[0]}?" if near else "Remove it",
            )
    missing = [n for n, f in known.items() if n not in data and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise InputError(f"{where or what} has its required keys", f"missing {', '.join(missing)}", remedy)
    kinds = typing.get_type_hints(cls)
    return cls(**{key: _value(kinds[key], value, f"{at}{key}", what, remedy) for key, value in data.items()})


def _value(kind: Any, value: Any, where: str, what: str, remedy: str) -> Any:
    """A value of YAML as the type that a field asks for."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        *options, last = (option for option in args if option is not type(None))
        for option in options:
            with suppress(InputError):
                return _value(option, value, where, what, remedy)
        return _value(last, value, where, what, remedy)
    if is_dataclass(kind):
        return _dataclass(kind, value, where, what, remedy)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is a list", repr(value))
        inner = args[:1] * len(value) if args[1:] == (...,) else args
        if len(inner) != len(value):
            raise InputError(f"{where} has {len(inner)} values", repr(value))
        items = enumerate(zip(inner, value, strict=True))
        return tuple(_value(one, item, f"{where}[{n}]", what, remedy) for n, (one, item) in items)
    return _plain(kind, value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        told = error.errors()[0]["msg"]
        if kind is float and isinstance(value, str):
            told = f"YAML reads {value} as text. Write 1.0e-4 and not 1e-4"
        raise InputError(f"{where} is of type {getattr(kind, '__name__', kind)}", repr(value), told) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
