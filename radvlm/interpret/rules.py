"""The shape of a rule, and reading thresholds.yaml strictly.

A rule lists *classes* in ascending order, each with the words and the status it gives, so one number
always falls into exactly one class; and a rule lists the conditions it needs, so that an unmet one gives
"not assessed" with a reason instead of a class. A user's file extends or replaces rules by ``id``.
"""

from __future__ import annotations

import itertools
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from radvlm.errors import FileFormatError, InputError
from radvlm.types.anatomy import SECTIONS, structures
from radvlm.types.measurement import QUANTITIES
from radvlm.types.scan_measurements import PHASES
from radvlm.types.urgency import Urgency

Text = Annotated[str, Field(min_length=1, max_length=400)]
Address = Annotated[str, Field(pattern=r"^https?://\S+$")]
Certainty = Literal["high", "medium", "uncertain"]
T = TypeVar("T", "Rule", "Unmeasured")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RuleClass(_Strict):
    """One class of values. The first class that holds the value wins.

    Attributes:
        below: the class holds values < ``below``.
        up_to: the class holds values <= ``up_to``. A class with neither is the last one and holds the rest.
        category: words used in the report; null when the class is not worth a word (no finding is made).
        status: what it says of the rule's ``finding``.
        urgency: how soon somebody must know of it; ``none`` stays out of the impression.
        headline: noun phrase for the impression.
        reason: why, for an indeterminate class.
        doubt: its words after those of another class, where the error of the value holds both; else the category.
    """

    below: float | None = None
    up_to: float | None = None
    category: Text | None = None
    status: Literal["present", "absent", "indeterminate"] = "present"
    urgency: Urgency = Urgency.NONE
    headline: str = ""
    reason: str = ""
    doubt: str = ""

    @model_validator(mode="before")
    @classmethod
    def _no_importance(cls, data: object) -> object:
        if isinstance(data, dict) and "importance" in data:
            raise ValueError(f"`importance` is now `urgency`: {', '.join(Urgency)}")
        return data

    @model_validator(mode="after")
    def _check(self) -> RuleClass:
        if self.below is not None and self.up_to is not None:
            raise ValueError("a class has `below` or `up_to`, not both")
        if self.status == "indeterminate" and not self.reason:
            raise ValueError("an indeterminate class says why in `reason`")
        if self.urgency is not Urgency.NONE and not self.headline:
            raise ValueError("a class that reaches the impression has a `headline`")
        return self

    @property
    def limit(self) -> float | None:
        return self.below if self.below is not None else self.up_to

    def holds(self, value: float) -> bool:
        if self.below is not None:
            return value < self.below
        return self.up_to is None or value <= self.up_to


class Criterion(_Strict):
    """A further measurement of the same record that must lie within limits for a class to be given."""

    quantity: str
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Criterion:
        if self.quantity not in QUANTITIES:
            raise ValueError(f"quantity {self.quantity!r} is not in radvlm.types.measurement.QUANTITIES")
        if self.at_least is None and self.at_most is None:
            raise ValueError("a criterion has `at_least`, `at_most` or both")
        return self

    def holds(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


class AppliesWhen(_Strict):
    """Conditions of a rule; all must hold. An unmet or unknown one gives "not assessed" with the reason.

    Attributes:
        phases: contrast phases; the scan is certainly in one of them.
        min_age_years, below_age_years: the age is known and at least, or below, this.
        sex_known: the sex is known (for rules with ``classes_by_sex``).
        or_above: children have less, so that what is above the limit of adults (of both sexes) is judged at any age,
            and without knowing age or sex.
        complete: the structure is not cut by the field of view.
        min_long_axis_mm: a lesion is at least this long, and at least two slices.
        body_size_known: height and weight are known (for ``scale: bsa``).
        height_known, weight_known: one of them is (for ``scale: height squared`` and ``scale: spleen by weight``).
        max_voxel_mm: no side of a voxel is longer (for what a coarse grid cannot show).
        level: the measurement lies at the vertebral level L1 or lower; "absent" also needs the lower end to be imaged.
    """

    phases: tuple[str, ...] = ()
    min_age_years: Annotated[float, Field(ge=0, le=130)] | None = None
    below_age_years: Annotated[float, Field(gt=0, le=130)] | None = None
    sex_known: bool = False
    or_above: bool = False
    complete: bool = False
    min_long_axis_mm: Annotated[float, Field(gt=0)] | None = None
    body_size_known: bool = False
    height_known: bool = False
    weight_known: bool = False
    max_voxel_mm: Annotated[float, Field(gt=0)] | None = None
    level: Literal["abdominal"] | None = None

    @field_validator("phases")
    @classmethod
    def _phases(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(value) - set(PHASES)
        if unknown:
            raise ValueError(f"phases are among {', '.join(PHASES)}, not {', '.join(sorted(unknown))}")
        return value


_ONE_LESS: dict[Certainty, Certainty] = {"high": "medium", "medium": "uncertain", "uncertain": "uncertain"}


class SourceCheck(_Strict):
    """How the citation of a rule was looked up on a public page.

    Attributes:
        day: of the check.
        at: the page.
        found: what stands there: the limit, the number of people, the DOI, and what was not seen.
        limit_seen: false where the page shows the publication but not this limit.
    """

    day: date
    at: Address
    found: Text
    limit_seen: bool = True


class Rule(_Strict):
    """One rule.

    Attributes:
        id: unique.
        finding: kind of the finding that it makes, snake case.
        words: what it judges, for the list of what was not assessed.
        level: ``structure`` judges whole structures, ``pair`` the absolute difference of two structures,
            ``lesion`` each lesion instance, ``scan`` the acquisition; ``table`` gives the limits of a published table
            whose other conditions are code (pancreas.py, spine.py).
        structures: whom it judges. For ``pair`` exactly two.
        quantity: key of ``radvlm.types.measurement.QUANTITIES``. For lesions also ``mean_of_axes`` (mean of long and
        short
            axis); for a structure also ``difference_hu`` (its mean HU minus that of ``reference``).
        reference: the other structure of ``difference_hu``.
        unit: unit of the limits, must be that of the quantity.
        round_to: round the value to multiples of this before it is classed.
        scale: ``bsa`` divides the value by the body surface area in m2 (Mosteller), ``height squared`` by the square of
            the height in m; ``spleen by weight`` is percent of the upper limit for the weight (``spleen_limit_ml``).
        stations, except_stations: lymph nodes of these stations only, or of all others.
        alternative_to: skipped when the rule of that id, or one that it stands in for itself, gave a class for the
            same structure.
        section: report section; by default that of the structure.
        classes, classes_by_sex: exactly one of the two. ``{value}`` in a category or headline is the measured value.
        also: further measurements that must lie within limits, else no class is given.
        unless: measurements that, where they were made and lie within limits, make it another rule's matter.
        quiet: where the rule cannot be applied, the report does not list that; the reason stands in the tables.
        detail: said only where a lesion is described in full.
        graded: the classes are degrees of one thing, so that a value at a limit is "at least" of the lower degree.
        source: citation. certainty: how well the source supports the number; ``high`` is earned by a ``doi`` or
            ``url`` and a ``population``. Reports say ``earned_certainty``.
        convention: the limit is this library's own, so that there is no source to check.
        checked: on which public page the limit was found; None while it is cited from memory.
        doi, url: where the source is found.
        population: in whom the limit was found, and sample_size: in how many (None where no number applies).
        excludes: who is out of it.
        note: a caution for readers of docs/rules.md.
        enabled: false switches a rule off.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    finding: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    words: Text
    level: Literal["structure", "pair", "lesion", "scan", "table"]
    structures: tuple[str, ...] = ()
    quantity: str
    reference: str = ""
    unit: str
    round_to: Annotated[float, Field(gt=0)] | None = None
    scale: Literal["bsa", "height squared", "spleen by weight"] | None = None
    stations: tuple[str, ...] = ()
    except_stations: tuple[str, ...] = ()
    alternative_to: str = ""
    section: str = ""
    classes: tuple[RuleClass, ...] = ()
    classes_by_sex: dict[Literal["F", "M"], tuple[RuleClass, ...]] = Field(default_factory=dict)
    applies_when: AppliesWhen = AppliesWhen()
    also: tuple[Criterion, ...] = ()
    unless: tuple[Criterion, ...] = ()
    quiet: bool = False
    detail: bool = False
    graded: bool = False
    source: Text
    certainty: Certainty
    convention: bool = False
    checked: SourceCheck | None = None
    doi: Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")] | None = None
    url: Address | None = None
    population: str = ""
    sample_size: Annotated[int, Field(gt=0)] | None = None
    excludes: str = ""
    note: str = ""
    enabled: bool = True

    @model_validator(mode="after")
    def _check(self) -> Rule:
        unit = "mm" if self.quantity == "mean_of_axes" else QUANTITIES.get(self.quantity)
        if unit is None:
            raise ValueError(f"quantity {self.quantity!r} is not in radvlm.types.measurement.QUANTITIES")
        if unit != self.unit:
            raise ValueError(f"{self.quantity} is measured in {unit}, not {self.unit}")
        unknown = [n for n in (*self.structures, *filter(None, [self.reference])) if n not in structures()]
        if unknown:
            raise ValueError(f"not in the anatomy table: {', '.join(unknown)}")
        if (self.level == "scan") == bool(self.structures) or (self.level == "pair" and len(self.structures) != 2):
            raise ValueError("a scan rule names no structure, a pair rule two, any other at least one")
        if (self.quantity == "difference_hu") != bool(self.reference):
            raise ValueError("difference_hu, and nothing else, has a `reference` structure")
        if self.section and self.section not in SECTIONS:
            raise ValueError(f"section {self.section!r} is not in radvlm.types.anatomy.SECTIONS")
        if bool(self.classes) == bool(self.classes_by_sex):
            raise ValueError("a rule has `classes` or `classes_by_sex`")
        if self.classes_by_sex and (set(self.classes_by_sex) != {"F", "M"} or not self.applies_when.sex_known):
            raise ValueError("`classes_by_sex` has F and M, and needs applies_when.sex_known")
        needed = {
            "bsa": ("body_size_known", self.applies_when.body_size_known),
            "height squared": ("height_known", self.applies_when.height_known),
            "spleen by weight": ("weight_known", self.applies_when.weight_known),
        }
        if self.scale and not needed[self.scale][1]:
            raise ValueError(f"`scale: {self.scale}` needs applies_when.{needed[self.scale][0]}")
        if self.certainty == "high" and not ((self.doi or self.url) and self.population):
            raise ValueError("certainty high is earned by a `doi` or `url` and a `population`")
        if self.convention and (self.certainty != "uncertain" or self.checked is not None):
            raise ValueError("a limit that is a convention is `uncertain`, and has no source that was `checked`")
        for classes in (self.classes, *self.classes_by_sex.values()):
            _check_ascending(classes)
        return self

    @property
    def is_source_checked(self) -> bool:
        """True where a public page states the limit."""
        return self.checked is not None and self.checked.limit_seen

    @property
    def earned_certainty(self) -> Certainty:
        """``certainty``, one step less while nobody has seen the limit on a public page; reports say this one."""
        return self.certainty if self.is_source_checked else _ONE_LESS[self.certainty]

    def classes_for(self, sex: str | None) -> tuple[RuleClass, ...]:
        return self.classes or self.classes_by_sex[sex]  # type: ignore[index]

    def ratio_to_limit(self, outcome: RuleClass, value: float) -> float:
        """How far a value is beyond the limit of its class: their ratio, for HU 1 + the difference / 100; at least 1.

        The limit is the one at which its urgency begins, so that a worse class of one urgency never comes later. It is
        1 where there is none, where the limits scale with the body, or where a ratio means nothing.
        """
        classes = next(
            (c for c in (self.classes, *self.classes_by_sex.values()) if any(x is outcome for x in c)), (outcome,)
        )
        order = list(Urgency)
        ends = []
        for step in (-1, 1):
            n = next(n for n, c in enumerate(classes) if c is outcome)
            while 0 <= n + step < len(classes) and classes[n + step].urgency is outcome.urgency:
                n += step
            if 0 <= n + step < len(classes):
                ends.append((order.index(classes[n + step].urgency), classes[min(n, n + step)].limit))
        limit = max(ends, default=(0, None), key=lambda end: end[0])[1]
        if limit is None or self.scale:
            return 1.0
        if self.unit == "HU":
            return 1 + abs(value - limit) / 100
        return max(value / limit, limit / value, 1.0) if value > 0 and limit > 0 else 1.0


def _check_ascending(classes: tuple[RuleClass, ...]) -> None:
    if not classes:
        return
    limits = [c.limit for c in classes]
    if limits[-1] is not None or None in limits[:-1]:
        raise ValueError("every class but the last has a limit, and the last has none")
    numbers = [limit for limit in limits if limit is not None]
    if any(b <= a for a, b in itertools.pairwise(numbers)):
        raise ValueError(f"limits ascend, received {numbers}")


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [n for n in names if n not in structures()]
    if unknown:
        raise ValueError(f"not in the anatomy table: {', '.join(unknown)}")
    return names


class LesionUrgency(_Strict):
    """How soon somebody must know of lesions, collections, diseases or devices of these structures.

    ``reason`` says why those of urgency ``none`` stay out of the impression.
    """

    structures: tuple[str, ...]
    urgency: Urgency
    reason: str = ""

    @model_validator(mode="after")
    def _check(self) -> LesionUrgency:
        if (self.urgency is Urgency.NONE) != bool(self.reason):
            raise ValueError("urgency `none`, and no other, says why in `reason`")
        return self

    @field_validator("structures")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value)


class Unmeasured(_Strict):
    """Something that readers expect and that this version does not measure."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    words: Text
    when_present: tuple[str, ...]
    reason: Text

    @field_validator("when_present")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value)


class Rules(_Strict):
    """A validated set of rules, in order."""

    version: Literal[1]
    rules: tuple[Rule, ...] = ()
    lesion_urgency: tuple[LesionUrgency, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Rules:
        for items in (self.rules, self.unmeasured):
            ids = [item.id for item in items]
            repeated = sorted({i for i in ids if ids.count(i) > 1})
            if repeated:
                raise ValueError(f"ids are unique, repeated: {', '.join(repeated)}")
        return self

    def alternatives(self) -> dict[str, tuple[str, ...]]:
        """{id of a rule: ids of the rules that it stands in for, nearest first}."""
        stands_for = {r.id: r.alternative_to for r in self.rules if r.alternative_to}
        found: dict[str, tuple[str, ...]] = {}
        for rule_id in stands_for:
            chain = [rule_id]
            while (after := stands_for.get(chain[-1])) is not None and after not in chain:
                chain.append(after)
            found[rule_id] = tuple(chain[1:])
        return found

    def rule(self, rule_id: str) -> Rule:
        found = next((r for r in self.rules if r.id == rule_id), None)
        if found is None:
            raise InputError("a rule is named by its id", repr(rule_id), ", ".join(r.id for r in self.rules))
        return found

    def urgency_of(self, structure_name: str) -> Urgency:
        """Urgency of a lesion, collection, disease or device; ``days`` where the table is silent."""
        return next((i.urgency for i in self.lesion_urgency if structure_name in i.structures), Urgency.DAYS)

    def merged(self, other: Rules) -> Rules:
        """These rules with ``other``'s in place of those of the same id, and its further ones after them."""
        return Rules(
            version=1,
            rules=_merge(self.rules, other.rules),
            lesion_urgency=(*other.lesion_urgency, *self.lesion_urgency),
            unmeasured=_merge(self.unmeasured, other.unmeasured),
        )


def _merge(base: tuple[T, ...], new: tuple[T, ...]) -> tuple[T, ...]:
    merged: dict[str, T] = {item.id: item for item in base}
    merged.update({item.id: item for item in new})  # a replaced rule keeps its place
    return tuple(merged.values())


@cache
def _builtin() -> Rules:
    text = files("radvlm.interpret").joinpath("thresholds.yaml").read_text(encoding="utf-8")
    return _parse(text, "thresholds.yaml")


def load_rules(path: str | Path | None = None) -> Rules:
    """The built-in rules, extended or replaced by id from the YAML file at ``path``.

    Raises FileFormatError when the file cannot be read as YAML, InputError when a rule is not valid
    (unknown keys are refused).
    """
    if path is None:
        return _builtin()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError("a rules file is readable text", f"{Path(path).name}: {error}") from error
    return _builtin().merged(_parse(text, Path(path).name))


def _parse(text: str, name: str) -> Rules:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FileFormatError("a rules file is YAML", f"{name}: {' '.join(str(error).split())}") from error
    try:
        return Rules.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:4])
        raise InputError(
            "a rules file follows docs/rules.md",
            f"{name}: {faults}",
            "Unknown keys are refused; copy the form of a built-in rule",
        ) from error
