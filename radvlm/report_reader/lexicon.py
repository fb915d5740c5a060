"""The lexicon: what words mean in a CT report. Pure data in ``lexicon/*.json``, compiled once into a token trie.

Text is matched as a sequence of normalised tokens (lower case, singular, US spelling, no hyphens), so a term is
written once and covers its plurals, spellings and hyphenations; all terms of all kinds are found in one pass, the
longest first. Users extend it with a JSON file of the same shape: ``load_lexicon(path)``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from radvlm.errors import InputError

#: Files of the lexicon; a user's file may hold any of their top-level parts under these names.
PARTS = ("sites", "cues", "findings", "spelling", "schemes")
_TOKEN = re.compile(
    r"\([-–+]\)|(?:w/o|s/p|r/o|h/o|c/w|d/t|b/l)\b|\bw/|[^\W\d_]+|\d+(?:[.,]\d+)*|(?<=\s)[-–](?=\s)|[—,;:()/?•*&+.!<>\[\]\"]"
)
_UK = (
    ("haem", "hem"),
    ("oesoph", "esoph"),
    ("oedem", "edem"),
    ("aemi", "emi"),
    ("tumour", "tumor"),
    ("gynaec", "gynec"),
    ("orrhoea", "orrhea"),
    ("caec", "cec"),
    ("coeli", "celi"),
    ("isation", "ization"),
    ("ised", "ized"),
    ("colour", "color"),
)
_GROUP = re.compile(r"\{((?:[^{}]|\{[^{}]*\})*)\}")


@dataclass(frozen=True)
class Site:
    """A place in the body: ``lineage`` runs from itself to its outermost parent."""

    id: str
    lineage: tuple[str, ...]
    side: str
    structures: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A finding that can be stated. ``family`` groups kinds that may be the same thing in other words; ``general``
    marks the vague member of a family (lesion, opacity), which agrees with every other."""

    id: str
    words: str
    home: str
    family: str
    general: bool = False
    metastatic: bool = False
    procedure: bool = False
    hidden: bool = False
    normal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Head:
    """A general word whose kind follows from the site; ``quality`` for predicates (enlarged), which need a site.

    ``carry``: whether the site may come from the sentence before.
    """

    id: str
    by_site: Mapping[str, str]
    default: str
    quality: bool
    status: str
    positive: bool
    last_words: frozenset[str]
    carry: bool = True


@dataclass(slots=True)
class Meaning:
    """All that a term may mean at once: a site, cues, finding kinds, a general head."""

    site: str = ""
    cues: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    head: str = ""


@dataclass(frozen=True)
class Lexicon:
    """Compiled lexicon. ``digest`` names its content in metric signatures."""

    trie: dict[str, Any]
    sites: Mapping[str, Site]
    kinds: Mapping[str, Kind]
    heads: Mapping[str, Head]
    cues: Mapping[str, Mapping[str, Any]]
    schemes: Mapping[str, Mapping[str, Any]]
    spelling: Mapping[str, tuple[str, ...]]
    measured: tuple[Mapping[str, Any], ...]
    report_kinds: Mapping[str, str]
    digest: str
    _lemmas: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def lemma(self, token: str) -> tuple[str, ...]:
        """The normalised token or tokens of one lower-case token."""
        found = self._lemmas.get(token)
        if found is None:
            found = _lemma(token, self.spelling)
            if len(self._lemmas) < 200_000:
                self._lemmas[token] = found
        return found

    def labels(self, scheme: str) -> Mapping[str, tuple[str, ...]]:
        """Label -> kinds of a scheme; InputError for an unknown one."""
        if scheme not in self.schemes:
            raise InputError("a label scheme is in the lexicon", repr(scheme), f"Choose from {', '.join(self.schemes)}")
        labels = self.schemes[scheme]["labels"]
        return labels or {k.id: (k.id,) for k in self.kinds.values() if not k.hidden}


def expand(term: str) -> list[str]:
    """Every plain term of one with groups: ``{a|b|} c`` -> ``a c``, ``b c``, ``c``. Groups may nest once."""
    match = _GROUP.search(term)
    if not match:
        return [" ".join(term.split())]
    options, depth, current = [], 0, ""
    for char in match[1]:
        depth += (char == "{") - (char == "}")
        if char == "|" and depth == 0:
            options.append(current)
            current = ""
        else:
            current += char
    options.append(current)
    inner = [text for option in options for text in expand(option)]
    return [
        " ".join(f"{a} {b} {c}".split())
        for a, b, c in product([term[: match.start()]], inner, expand(term[match.end() :]))
    ]


def _lemma(token: str, spelling: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if token in ("-", "–", "—"):  # a spaced dash separates like a comma
        return (",",)
    if token in spelling:
        return spelling[token]
    for uk, us in _UK:
        if uk in token:
            token = token.replace(uk, us)
    if token in spelling:
        return spelling[token]
    if token.endswith("omata"):
        token = token[:-2]
    if len(token) > 3 and token.endswith("s") and not token.endswith(("ss", "us", "is")):
        token = (
            token[:-3] + "y"
            if token.endswith("ies")
            else token[:-2]
            if token.endswith(("sses", "xes", "ches"))
            else token[:-1]
        )
    return spelling.get(token, (token,))


def tokens(text: str) -> Iterator[re.Match[str]]:
    """Tokens of lower-case text; hyphens inside words separate and are not tokens themselves."""
    return _TOKEN.finditer(text)


def _merge(base: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in extra.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            _merge(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            base[key] = old + value
        else:
            base[key] = value
    return base


def _read(extra: Path | None) -> dict[str, Any]:
    folder = files("radvlm.report_reader").joinpath("lexicon")
    data: dict[str, Any] = {p: json.loads(folder.joinpath(f"{p}.json").read_text(encoding="utf-8")) for p in PARTS}
    if extra is not None:
        try:
            added = json.loads(Path(extra).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError("a lexicon extension is a readable JSON file", f"{extra}: {error}") from error
        if not isinstance(added, dict) or not set(added) <= set(PARTS):
            raise InputError(f"a lexicon extension holds the parts {', '.join(PARTS)}", f"{extra}: {sorted(added)}")
        _merge(data, added)
    return data


def _compile(data: dict[str, Any]) -> Lexicon:
    spelling = {k: tuple(v.split()) for k, v in data["spelling"]["tokens"].items()}
    trie: dict[str, Any] = {}

    def words(term: str) -> list[str]:
        return [lemma for match in tokens(term) for lemma in _lemma(match[0], spelling)]

    def add(terms: list[str], payload: tuple[str, str]) -> set[str]:
        last = set()
        for pattern in terms:
            for term in expand(pattern):
                node, parts = trie, words(term)
                if not parts:
                    continue
                for part in parts:
                    node = node.setdefault(part, {})
                meaning, (what, name) = node.setdefault("", Meaning()), payload
                if what == "cue":
                    meaning.cues = tuple(dict.fromkeys((*meaning.cues, name)))
                elif what == "finding":
                    meaning.kinds = tuple(dict.fromkeys((*meaning.kinds, name)))
                elif what == "head":
                    meaning.head = meaning.head or name
                else:
                    meaning.site = meaning.site or name
                last.add(parts[-1])
        return last

    rows = data["sites"]["sites"]
    levels = {
        f"{letter}{n}": {
            "terms": [f"{letter.lower()} {n}"],
            "parent": "spine",
            "structures": [f"vertebrae_{letter}{n}"],
        }
        for letter, top in (("C", 7), ("T", 12), ("L", 5), ("S", 1))
        for n in range(1, top + 1)
    }
    rows = {**rows, **levels, "lymph_node": {"terms": []}}
    sites: dict[str, Site] = {}
    for id, row in rows.items():
        target = row.get("same_as", id)
        lineage, at = [], target
        while at:
            if at not in rows:
                raise InputError("the parent of a site is a site", f"{id}: {at}")
            lineage.append(at)
            at = rows[at].get("parent", "")
        sites[id] = Site(target, tuple(lineage), row.get("side", ""), tuple(row.get("structures", ())))
        add(row["terms"], ("site", id))
    cues = data["cues"]["cues"]
    for name, row in cues.items():
        add(row["terms"], ("cue", name))
    kinds: dict[str, Kind] = {}
    found = data["findings"]
    for id, row in found["kinds"].items():
        kinds[id] = Kind(
            id,
            row["words"],
            row["home"],
            row["family"],
            row.get("general", False),
            row.get("metastatic", False),
            row.get("procedure", False),
            row.get("hidden", False),
            tuple(row.get("normal", ())),
        )
        add(row["terms"], ("finding", id))
    for id, (text, home) in found["extra_kinds"].items():
        kinds[id] = Kind(id, text, home, id, procedure=id.endswith("ectomy"))
        add([text], ("finding", id))
    heads = {}
    for id, row in found["heads"].items():
        base = found["heads"][row["same_as"]] if "same_as" in row else row
        last = add(row["terms"], ("head", id))
        unknown = (set(base["by_site"].values()) | {base["default"]}) - set(kinds) - {""}
        if unknown:
            raise InputError("a head leads to kinds of the lexicon", f"{id}: {sorted(unknown)}")
        heads[id] = Head(
            id,
            base["by_site"],
            base["default"],
            base.get("quality", False),
            row.get("status", ""),
            row.get("positive", False),
            frozenset(last),
            base.get("carry", True),
        )
    schemes = {
        name: {**row, "labels": {label: tuple(ks) for label, ks in row["labels"].items()}}
        for name, row in data["schemes"].items()
        if name != "about"
    }
    for name, row in schemes.items():
        missing = {k for ks in row["labels"].values() for k in ks} - set(kinds)
        if missing:
            raise InputError("a label is made of kinds of the lexicon", f"{name}: {sorted(missing)}")
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
    return Lexicon(
        trie, sites, kinds, heads, cues, schemes, spelling, tuple(found["measured"]), found["report_kinds"], digest
    )


def load_lexicon(extension: Path | None = None) -> Lexicon:
    """The built-in lexicon, with a user's JSON file merged in (lists are appended, single values replaced).

    Raises InputError for an unreadable file or one that names unknown sites or kinds.
    """
    if extension is None:
        return _load(None, 0)
    path = Path(extension)
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


@cache
def _load(extension: Path | None, changed: int) -> Lexicon:
    return _compile(_read(extension))
