"""Label schemes: what the numbers, names and files of a segmentation mean.

The schemes are data (``schemes/*.csv``, one a scheme, with source, licence and certainty as comments); this module
reads them and recognizes which one a mask follows. Recognizing by numbers alone is refused unless a single
answer is left, because label 5 is the liver in one scheme and the esophagus in another, and a report about the
wrong organ is worse than a question. Names are compared as sets of words, so ``left kidney``, ``Kidney-Left`` and
``kidney_left`` are one name; further synonyms are data too (``schemes/aliases.tsv``).
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from radvlm.errors import InputError, StructureError
from radvlm.types.anatomy import structures
from radvlm.types.mask_names import name_key, read_mask_name

#: Name of a scheme that the caller gave as a mapping.
GIVEN_SCHEME = "given by the caller"
#: With fewer distinct labels than this, numbers alone say too little to choose between schemes.
MIN_LABELS_TO_GUESS = 12
#: A scheme is plausible when at least this share of what can be checked in the voxels agrees with it.
MIN_PLAUSIBILITY = 0.85
#: ... and it wins only when every rival fails this many checks more, and three times as many.
MIN_LEAD = 4
#: A rival with too few checks for that (teeth, parts of the brain) is out when at most this share agrees, provided that
#: the winner passes 95 % of at least this many.
REFUTED, MIN_CHECKS = 0.6, 20
#: With fewer checks nothing is called implausible; shares that differ by less rank no scheme before the commonest.
FEWEST_CHECKS, NEARLY = 8, 0.05

_WORD_SPELLINGS = MappingProxyType(
    {
        "oesophagus": "esophagus",
        "oesophageal": "esophageal",
        "tumour": "tumor",
        "tumours": "tumor",
        "tumors": "tumor",
        "coeliac": "celiac",
        "haematoma": "hematoma",
        "haemorrhage": "hemorrhage",
        "haemangioma": "hemangioma",
        "caecum": "cecum",
        "vertebra": "vertebrae",
        "vertebral": "vertebrae",
        "kidneys": "kidney",
        "lungs": "lung",
        "lesions": "lesion",
        "cysts": "cyst",
        "nodules": "nodule",
        "stones": "stone",
        "nodes": "node",
        "rt": "right",
        "lt": "left",
        "r": "right",
        "l": "left",
        "clavicle": "clavicula",
        "lymphnode": "lymph node",
        "metastases": "metastasis",
        "arteries": "artery",
        "veins": "vein",
        "ribs": "rib",
    }
)
_FILLERS = frozenset({"the", "of"})


@dataclass(frozen=True)
class SchemeEntry:
    """One class of a scheme: its number (None in folder-only schemes), its own name, and our structure.

    ``structure`` is "" for a number that is background by another name. ``searched`` is False when the absence of
    the label from a file says nothing, because the method does not look for the class by default.
    """

    label: int | None
    name: str
    structure: str
    searched: bool = True


@dataclass(frozen=True)
class Scheme:
    """A label scheme: entries, where they are known from, and which versions of a program or data set have them."""

    name: str
    title: str
    entries: tuple[SchemeEntry, ...]
    source: str = ""
    licence: str = ""
    certainty: str = ""
    also: tuple[str, ...] = ()
    versions: str = ""

    @property
    def labels(self) -> Mapping[int, str]:
        """Label number -> structure ("" = background); empty for a scheme that has only file names."""
        return {entry.label: entry.structure for entry in self.entries if entry.label is not None}

    @property
    def names(self) -> Mapping[str, str]:
        """Folded class name -> structure."""
        return {fold(entry.name): entry.structure for entry in self.entries if entry.structure}

    @property
    def searched(self) -> frozenset[str]:
        """Structures that a whole file of this scheme has looked for."""
        return frozenset(entry.structure for entry in self.entries if entry.searched and entry.structure)

    @property
    def structures(self) -> frozenset[str]:
        """Every structure that the scheme can hold."""
        return frozenset(entry.structure for entry in self.entries if entry.structure)

    @property
    def note(self) -> str:
        """Title, versions, source, licence and certainty in one line."""
        parts = (self.title, self.versions, self.source, self.licence, self.certainty)
        return "; ".join(part for part in parts if part)


@cache
def schemes() -> Mapping[str, Scheme]:
    """Every built-in scheme by name, and ``radvlm`` (canonical names, no numbers)."""
    found = {}
    for path in sorted(
        files("radvlm.types").joinpath("schemes").iterdir(), key=lambda item: item.name.removesuffix(".csv")
    ):
        if path.name.endswith(".csv"):
            scheme = _read_scheme(path.name.removesuffix(".csv"), path.read_text(encoding="utf-8"))
            found[scheme.name] = scheme
    found["radvlm"] = Scheme(
        "radvlm",
        "canonical names of radvlm's anatomy table; numbers come from the file's own label table",
        tuple(SchemeEntry(None, name, name) for name in structures()),
        source="anatomy.csv",
    )
    return MappingProxyType(found)


def scheme_named(name: str) -> Scheme:
    """The scheme of that name or second name (``liver_segments``); StructureError with near names otherwise."""
    table = schemes()
    key = name.strip()
    for candidate in (key, key.lower()):
        if candidate in table:
            return table[candidate]
    for scheme in table.values():
        if key.lower() in (other.lower() for other in scheme.also):
            return scheme
    known = [*table, *(other for scheme in table.values() for other in scheme.also)]
    near = difflib.get_close_matches(key.lower(), known, n=3, cutoff=0.5)
    meant = f"Did you mean {', '.join(near)}? " if near else ""
    remedy = f"{meant}`radvlm info schemes` lists them; or pass scheme={{label: structure}}"
    raise StructureError("the label scheme is a known one", repr(name), remedy)


def scheme_from_mapping(mapping: Mapping[int, str], name: str = GIVEN_SCHEME) -> Scheme:
    """A scheme from {label: structure}; names may be canonical, aliases or "" for background.

    Raises StructureError for an unknown structure, InputError for a label outside 1 to 65535.
    """
    entries = []
    for label, given in mapping.items():
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label <= 65535:
            raise InputError("labels are whole numbers from 0 to 65535", repr(label), "Pass {label: structure}")
        if label == 0:
            continue
        structure = structure_from_name(given) if given and fold(given) != "background" else ""
        if structure is None:
            raise unknown_names([given])
        entries.append(SchemeEntry(label, given, structure))
    if not any(entry.structure for entry in entries):
        raise InputError("a {label: structure} mapping names at least one structure", str(dict(mapping)))
    return Scheme(name, name, tuple(entries))


def fold(name: str) -> str:
    """Key under which two spellings of a name are the same: lower case, words in any order, US spelling."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words: list[str] = []
    for word in re.split(r"[\W_]+", spaced.lower()):
        if word and word not in _FILLERS:
            words += _WORD_SPELLINGS.get(word, word).split()
    return " ".join(sorted(words))


def structure_from_name(name: str, scheme: Scheme | None = None) -> str | None:
    """Canonical structure for a name: the scheme's own names first, then the table, then aliases; None if unknown."""
    key = fold(name)
    if scheme is not None and key in scheme.names:
        return scheme.names[key]
    if name in structures():
        return name
    found = _name_index().get(key)
    if found is None and (match := re.fullmatch(r"(.*\D)\d+", name.strip())):  # "liver lesion 2", one of several
        numbered = structure_from_name(match[1].rstrip(" _-#.("), scheme)
        if numbered is not None and structures()[numbered].kind in ("lesion", "fluid"):
            return numbered
    return found or _read_freely(name)


def near_names(name: str, count: int = 3) -> list[str]:
    """Canonical names that look like ``name``, best first."""
    return difflib.get_close_matches(
        fold(name).replace(" ", "_"), structures(), n=count, cutoff=0.5
    ) or difflib.get_close_matches(name.lower(), structures(), n=count, cutoff=0.5)


def unknown_names(names: Iterable[str], what: str = "structure names") -> StructureError:
    """The error for names that no table holds, each with the nearest ones that do exist."""
    return StructureError(
        f"{what} are known to radvlm",
        with_near_names(names),
        "Rename them, remove them, or pass scheme={label: structure}; `radvlm info structures` lists all names",
    )


def with_near_names(names: Iterable[str], most: int = 8) -> str:
    """Unknown names in quotes, each with the nearest known ones, and how many more there are."""
    listed = []
    for name in names:
        near = near_names(name)
        listed.append(f"{name!r}" + (f" (near: {', '.join(near)})" if near else ""))
    return "; ".join(listed[:most]) + (f"; and {len(listed) - most} more" if len(listed) > most else "")


def detect_scheme(
    labels: set[int],
    names: Mapping[int, str] | None = None,
    file_names: Sequence[str] | None = None,
    plausibility: Callable[[Scheme], tuple[int, int]] | None = None,
) -> tuple[Scheme, str]:
    """Which scheme a mask follows, and why, as one sentence part for a Decision.

    Args:
        labels: non-zero label values found in the voxels; empty for a folder of binary masks.
        names: label -> name from the file's own header.
        file_names: stems of the mask files in a folder; then only the names count.
        plausibility: (checks on the voxels that agree with a scheme, checks made); asked only when numbers alone
            must decide.

    Raises:
        StructureError: no scheme fits, or several do; it lists them.
    """
    if file_names is not None:
        return _from_file_names(file_names)
    if names:
        named = _from_header_names(labels, names)
        if named is not None:
            return named
    try:
        return _from_numbers(labels, plausibility)
    except StructureError as error:
        known = {label: name for label, name in (names or {}).items() if label in labels}
        if not known:
            raise
        raise StructureError(
            "label names are known to radvlm, or the label numbers fit exactly one scheme",
            f"names {with_near_names(known[label] for label in sorted(known))}; {error.received}",
            error.remedy,
        ) from None


def _from_file_names(file_names: Sequence[str]) -> tuple[Scheme, str]:
    keys = {fold(name) for name in file_names}
    table = schemes()

    def score(name: str) -> tuple[int, bool, int]:  # most names known, then the common ones, then the tightest fit
        known = set(table[name].names)
        return len(keys & known), name in ("totalsegmentator", "abdomenatlas"), -len(known)

    best = max(table, key=score)
    hits = score(best)[0]
    if hits == 0:
        return table["radvlm"], "by the names of its files"
    rivals = [scheme for name, scheme in table.items() if score(name)[0] == hits]
    for key in sorted(keys - set(_name_index())):
        meanings = {scheme.names[key]: scheme.name for scheme in rivals if key in scheme.names}
        if len(meanings) > 1 and len(keys) > 1:  # left to be listed as unknown; the other files are clear
            return table["radvlm"], "by the names of its files"
        if len(meanings) > 1:
            raise StructureError(
                "the file names mean the same in every scheme that they fit",
                f"{key!r}: " + ", ".join(f"{structure} in {name}" for structure, name in meanings.items()),
                "Say which with scheme=",
            )
    return table[best], f"by {hits} of its {len(keys)} file names"


def _from_header_names(labels: set[int], names: Mapping[int, str]) -> tuple[Scheme, str] | None:
    """Scheme by the names in the header; None when the header names nothing that is known."""
    resolved = {label: structure_from_name(name) for label, name in names.items() if fold(name) != "background"}
    if not any(resolved.values()):
        return None
    background = [label for label, name in names.items() if fold(name) == "background"]
    unnamed = sorted(labels - set(names))
    if unnamed:
        raise StructureError(
            "the header names every label in the voxels",
            ", ".join(f"{label} (not named)" for label in unnamed),
            "Pass scheme= (a scheme name or {label: structure})",
        )
    unused = [label for label in sorted(labels) if not resolved[label] and label not in background]
    known = {label: structure for label, structure in resolved.items() if structure}
    for scheme in schemes().values():
        if scheme.labels and not unused and dict(scheme.labels) == known:
            return scheme, "by the label names in its header"
    entries = tuple(SchemeEntry(label, names[label], structure) for label, structure in sorted(known.items()))
    entries += tuple(SchemeEntry(label, names[label], "") for label in (*background, *unused))
    for scheme in schemes().values():
        if scheme.labels and known.items() <= dict(scheme.labels).items() and len(known) > 2:
            return (
                Scheme(scheme.name, scheme.title, entries),
                f"by the {len(known)} label names in its header, a part of that scheme",
            )
    return Scheme("header names", "label names of the file itself", entries), "by the label names in its header"


def _from_numbers(labels: set[int], plausibility: Callable[[Scheme], tuple[int, int]] | None) -> tuple[Scheme, str]:
    fitting = [scheme for scheme in schemes().values() if scheme.labels and labels <= set(scheme.labels)]
    numbers = _ranges(labels)
    if not fitting:
        best = max(schemes().values(), key=lambda scheme: (len(labels & set(scheme.labels)), -len(scheme.labels)))
        missing = sorted(labels - set(best.labels))
        raise StructureError(
            "the labels belong to a known scheme",
            f"labels {numbers}; the nearest scheme, {best.name}, lacks {_ranges(set(missing))}",
            "Pass scheme= (a scheme name or {label: structure})",
        )
    votes = {scheme.name: plausibility(scheme) if plausibility else (0, 0) for scheme in fitting}
    share = {name: agreed / made if made else None for name, (agreed, made) in votes.items()}
    failed = {name: made - agreed for name, (agreed, made) in votes.items()}
    ranked = sorted(fitting, key=lambda scheme: (-(share[scheme.name] or 0.0), len(scheme.labels)))
    winner, top = ranked[0], share[ranked[0].name]
    if len(labels) >= MIN_LABELS_TO_GUESS:
        if len(fitting) == 1 and (top is None or top >= MIN_PLAUSIBILITY):
            return winner, f"by its label numbers ({numbers}), which no other known scheme has"
        needed = max(failed[winner.name] + MIN_LEAD, 3 * failed[winner.name])
        convincing = top is not None and top >= 0.95 and votes[winner.name][1] >= MIN_CHECKS
        beaten = all(
            failed[rival.name] >= needed or ((share[rival.name] or 0.0) <= REFUTED and convincing)
            for rival in ranked[1:]
            if not _agree(rival, winner, labels)
        )
        if top is not None and top >= MIN_PLAUSIBILITY and beaten:
            common = schemes()["totalsegmentator"]
            if common in fitting and _agree(common, winner, labels):
                winner = common
            return winner, (
                f"by its label numbers and {top:.0%} agreement with the anatomy in the voxels; "
                "the file itself names nothing"
            )
    shown = [
        scheme.name if share[scheme.name] is None else f"{scheme.name} ({share[scheme.name]:.0%} plausible)"
        for scheme in ranked[:6]
    ]
    more = f" and {len(ranked) - 6} more" if len(ranked) > 6 else ""
    raise StructureError(
        "the label numbers fit exactly one scheme",
        f"labels {numbers}; they fit {', '.join(shown)}{more}",
        "Say which with scheme=, a scheme name or {label: structure}",
    )


def implausible_schemes(labels: set[int], plausibility: Callable[[Scheme], tuple[int, int]]) -> tuple[Scheme, ...]:
    """Every scheme that has the numbers, likeliest first, where none is plausible; () where one is, or little is known.

    So many checks fail in all of them that the masks may lie wrong rather than have other names.
    """
    votes = [(scheme, *plausibility(scheme)) for scheme in schemes().values() if labels <= set(scheme.labels)]
    shares = {scheme.name: agreed / made for scheme, agreed, made in votes if made >= FEWEST_CHECKS}
    top = max(shares.values(), default=1.0)
    if top >= MIN_PLAUSIBILITY:
        return ()
    ranked = sorted((scheme for scheme, _, _ in votes if scheme.name in shares), key=lambda s: -shares[s.name])
    common = schemes()["totalsegmentator"]
    if common in ranked and shares[common.name] >= top - NEARLY:
        ranked.insert(0, ranked.pop(ranked.index(common)))
    return tuple(ranked)


def _agree(first: Scheme, second: Scheme, labels: set[int]) -> bool:
    """True when two schemes call every one of ``labels`` the same."""
    return all(first.labels[label] == second.labels[label] for label in labels)


def _ranges(labels: set[int]) -> str:
    """Numbers in short, such as ``1-3, 7``."""
    parts: list[list[int]] = []
    for label in sorted(labels):
        if parts and parts[-1][1] == label - 1:
            parts[-1][1] = label
        else:
            parts.append([label, label])
    text = [str(low) if low == high else f"{low}-{high}" for low, high in parts]
    return ", ".join(text[:12]) + (f" and {len(text) - 12} more" if len(text) > 12 else "")


def _read_scheme(name: str, text: str) -> Scheme:
    facts = dict(line[2:].split(": ", 1) for line in text.splitlines() if line.startswith("# "))
    rows = csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#"))
    entries = tuple(
        SchemeEntry(
            int(row["label"]) if row["label"] else None, row["name"], row["structure"], row["searched"] == "yes"
        )
        for row in rows
    )
    return Scheme(
        name,
        facts["title"],
        entries,
        facts["source"],
        facts["licence"],
        facts["certainty"],
        tuple(facts.get("also", "").split()),
        facts.get("versions", ""),
    )


@cache
def _read_freely(name: str) -> str | None:
    """The structure that a name in people's own words means ("cyst of the left kidney"), None when not understood."""
    found = read_mask_name(name, lambda exact: _singular_index().get(name_key(exact)))
    return None if found is None else found.structure


@cache
def _singular_index() -> Mapping[str, str]:
    """``_name_index`` with every word in the singular; keys that would then mean two things are left out."""
    index: dict[str, set[str]] = {}
    for key, structure in _name_index().items():
        index.setdefault(name_key(key), set()).add(structure)
    return MappingProxyType({key: next(iter(found)) for key, found in index.items() if len(found) == 1})


@cache
def _name_index() -> Mapping[str, str]:
    """Folded name -> structure, from canonical names, report words, scheme names that agree, and aliases."""
    index = {fold(name): name for name in structures()}
    softer: dict[str, set[str]] = {}
    for name, item in structures().items():
        softer.setdefault(fold(item.words), set()).add(name)
    for scheme in schemes().values():
        for key, structure in scheme.names.items():
            if " " in key:  # single words such as "tumor" mean something within their own scheme only
                softer.setdefault(key, set()).add(structure)
    text = files("radvlm.types").joinpath("schemes").joinpath("aliases.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            alias, structure = line.split("\t")
            softer[fold(alias)] = {structure}
    for key, candidates in softer.items():
        if len(candidates) == 1 and key not in index:
            index[key] = next(iter(candidates))
    return MappingProxyType(index)
