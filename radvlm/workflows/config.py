"""Settings of a run: frozen dataclasses with documented attributes; YAML holds only values.

Unusual: unknown keys are refused with the nearest known one, and every run records the digest of the values it
used, so that two reports can be compared honestly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from radvlm.compose import Style
from radvlm.errors import InputError
from radvlm.export import PageOptions


@dataclass(frozen=True)
class Measuring:
    """How masks are measured.

    Attributes:
        min_lesion_voxels: smaller lesion instances are ignored and counted in the decisions.
        min_lesion_ml: the same by volume in mL.
    """

    min_lesion_voxels: int = 4
    min_lesion_ml: float = 0.0

    def __post_init__(self) -> None:
        if self.min_lesion_voxels < 1 or self.min_lesion_ml < 0:
            raise InputError(
                "min_lesion_voxels is at least 1 and min_lesion_ml at least 0",
                f"{self.min_lesion_voxels}, {self.min_lesion_ml}",
            )


@dataclass(frozen=True)
class Config:
    """Everything a report depends on beside its inputs.

    Attributes:
        measuring: see Measuring.
        style: wording of the report, see radvlm.compose.Style.
        page: the HTML page, see radvlm.export.PageOptions.
        rules_file: YAML file that changes or adds rules by id to thresholds.yaml; None for the built-in rules.

    Example:
        >>> import radvlm
        >>> radvlm.Config.from_mapping({"measuring": {"min_lesion_voxels": 5}}).measuring.min_lesion_voxels
        5
        >>> try:
        ...     radvlm.Config.from_mapping({"measurng": {}})
        ... except radvlm.RadvlmError as error:
        ...     print(error.remedy)
        Did you mean measuring?
    """

    measuring: Measuring = field(default_factory=Measuring)
    style: Style = field(default_factory=Style)
    page: PageOptions = field(default_factory=PageOptions)
    rules_file: str | None = None

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Read a YAML file; InputError names an unknown key, a wrong type or a missing file."""
        import yaml

        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError("a configuration is a readable YAML file", f"{path}: {error}") from error
        if data is None:
            data = {}
        if not isinstance(data, Mapping):
            raise InputError("a configuration is a mapping of settings", type(data).__name__)
        return cls.from_mapping(data)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Config:
        return _build(cls, data, "")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def digest(self) -> str:
        """sha256 of the values, independent of their order; includes the text of rules_file."""
        text = json.dumps(self.to_dict(), sort_keys=True, default=str)
        if self.rules_file:
            text += Path(self.rules_file).read_text(encoding="utf-8")
        return hashlib.sha256(text.encode()).hexdigest()


def _build(cls: type, data: Mapping[str, Any], where: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    known = {f.name for f in fields(cls)}
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in data.items():
        path = f"{where}{key}"
        if key not in known:
            import difflib

            near = difflib.get_close_matches(str(key), known, n=1)
            raise InputError(
                f"the configuration knows the keys {', '.join(sorted(known))} here",
                path,
                f"Did you mean {near[0]}?" if near else "Remove it",
            )
        if is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise InputError(f"{path} is a mapping of settings", repr(value))
            values[key] = _build(hints[key], value, f"{path}.")
            continue
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value, strict=not isinstance(value, (int, list)))
        except ValidationError as error:
            raise InputError(f"{path} is {hints[key]}", repr(value), error.errors()[0]["msg"]) from error
    return cls(**values)
