"""Names of masks in people's own words: ``cyst of the left kidney``, ``ct001_a_mass_in_the_left_upper_lobe``.

Programs that segment what a text asks for name their files after the text. Such a name is a finding, a site, a side
and words around them, in any order; each word has a role (``name_words.tsv``), and the site is looked up among the
names of structures. A name is understood only when every word of it is (save adjectives of how a finding looks).
What says "no tumor", "wall of the aorta" or anything unknown names no structure, because a mask under the wrong name is
worse than one that is left out.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from radvlm.types.anatomy import Structure, structures
from radvlm.types.finding_kinds import finding_kinds

#: Longest phrase of the table, in words.
MAX_PHRASE = 4
#: More words about the site than this are not tried in every combination.
MAX_SITE_WORDS = 8
_FINDINGS = ("lesion", "fluid")
_LEVEL = re.compile(r"(c[1-7]|t1[0-3]|t[1-9]|l[1-6]|s1)")
_SIZE = re.compile(r"\d+([.,]\d+)?(mm|cm)")
_ROMAN: Mapping[str, str] = MappingProxyType(
    {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8"}
)
_COUNTED = frozenset({"segment", "level", "station", "zone", "grade", "type", "stage", "bosniak", "couinaud"})
_SPELLINGS = (
    ("haem", "hem"),
    ("oesoph", "esoph"),
    ("oedem", "edem"),
    ("tumour", "tumor"),
    ("caec", "cec"),
    ("coeli", "celi"),
    ("calculi", "calculus"),
    ("metastases", "metastasis"),
    ("metastatis", "metastasis"),
    ("vertebrae", "vertebra"),
    ("foci", "focus"),
    ("vertebral body", "vertebra"),
    ("fibre", "fiber"),
    ("centre", "center"),
)
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh"),
    *("eighth", "ninth", "tenth", "eleventh", "twelfth", "thirteenth"),
)
_REGIONS: Mapping[str, str] = MappingProxyType({"cervical": "c", "thoracic": "t", "dorsal": "t", "lumbar": "l"})
#: What a name may say of an organ beside its name.
_KINDS_OF_ORGAN = frozenset({"muscle", "bone", "bones", "gland"})
#: Endings of plurals and what they become, tried in this order on words that no table knows.
_PLURALS = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ses", "sis"), ("ae", "a"), ("s", ""))
#: What a finding of a kind becomes where its organ has no structure for it.
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {"bone": "bone_lesion", "muscle": "soft_tissue_lesion", "tissue": "soft_tissue_lesion"}
)


#: Adjectives that say what kind a lesion or mass is.
_WORSE: Mapping[str, str] = MappingProxyType(
    {"malignant": "tumor", "cancerous": "tumor", "neoplastic": "tumor", "metastatic": "metastasis"}
)
#: Endings of adjectives that say how a finding looks, and never where it is (those end in -al, -ar, -ic).
_LOOKS = re.compile(r"[a-z]{3,}(y|ed|ing|ive|oid|ous)")


@dataclass(frozen=True)
class MaskName:
    """What a name says.

    Attributes:
        structure: canonical name.
        side: ``left``, ``right`` or "".
        kind: kind of finding in the words of the table (``cyst``), "" for an organ.
        site: the structure that a finding was said to lie in, "" when none was named.
    """

    structure: str
    side: str = ""
    kind: str = ""
    site: str = ""


@dataclass(frozen=True)
class _Words:
    """The table of words: phrase -> roles, kinds and meanings."""

    roles: Mapping[tuple[str, ...], frozenset[str]]
    sides: Mapping[str, str]
    kinds: Mapping[str, tuple[str, ...]]
    named: Mapping[str, tuple[str, str]]
    adjectives: Mapping[str, tuple[str, ...]]
    within: Mapping[str, str]

    def known(self, word: str) -> bool:
        return (word,) in self.roles


@dataclass(frozen=True)
class _Parsed:
    """The words of a name by role; ``rest`` is about the site, in order."""

    side: str
    kinds: tuple[str, ...]
    named: tuple[str, ...]
    rest: tuple[str, ...]
    qualities: tuple[str, ...]


def read_mask_name(name: str, lookup: Callable[[str], str | None]) -> MaskName | None:
    """What a name means; None when it is not understood to the last word.

    ``lookup`` gives the structure of an exact name in any word order. Tokens before the name that only say which case
    it is (``ct001``, ``patient 12``) are left out.
    """
    tokens = _with_levels(_tokens(name))
    if tokens and re.fullmatch(r"0\d{3}", tokens[-1]):  # the channel that nnU-Net puts behind a name
        tokens.pop()
    for start in _starts(tokens):
        rest = tokens[start:]
        exact = lookup(" ".join(rest)) if start else None
        if exact is not None:
            return MaskName(exact, structures()[exact].side)
        parsed = _parse(rest, lookup)
        found = None if parsed is None else _meaning(parsed, lookup)
        if found is not None:
            return found
    return None


def _meaning(parsed: _Parsed, lookup: Callable[[str], str | None]) -> MaskName | None:
    if not parsed.kinds and not parsed.named:
        found = _looked_up(parsed.rest, parsed.side, lookup) if parsed.rest else None
        if found is None or (parsed.qualities and structures()[found].kind not in _FINDINGS):
            return None
        if parsed.side in ("left", "right") and structures()[found].side != parsed.side:
            return None
        return MaskName(found, structures()[found].side)
    return _finding(parsed, lookup)


# -- findings -------------------------------------------------------------------------------------------------------


def _finding(parsed: _Parsed, lookup: Callable[[str], str | None]) -> MaskName | None:
    words = _words()
    host, kind = words.named[parsed.named[0]] if parsed.named else ("", _one_kind(parsed.kinds))
    if not kind or len(set(parsed.named)) > 1:
        return None
    if kind in ("lesion", "mass"):
        kind = next((_WORSE[word] for word in parsed.qualities if word in _WORSE), kind)
    site, left_over = _site(parsed, lookup, host)
    if not all(_is_place(word) for word in left_over):
        return None
    if host and site and not _same_organ(site, host):
        return None
    site = site or host
    if site and structures()[site].side and parsed.side not in ("", "both", structures()[site].side):
        return None
    side = parsed.side if parsed.side != "both" else ""
    side = side or (structures()[site].side if site else "")
    base = _special(kind, site) or _of_host(kind, site)
    if base is None and not site:
        base = _without_organ(kind, left_over, parsed)
    if not base:
        return None
    sided = f"{base}_{side}" if side and f"{base}_{side}" in structures() else base
    return MaskName(sided, side, kind, site) if sided in structures() else None


def _one_kind(kinds: tuple[str, ...]) -> str:
    """The kind that several words agree on: the most exact one; "" when they name different things."""
    exact = [kind for kind in dict.fromkeys(kinds) if kind not in ("lesion", "mass")] or list(dict.fromkeys(kinds))[:1]
    for wide, narrow in (("tumor", "metastasis"), ("nodule", "metastasis"), ("nodule", "tumor"), ("tumor", "pdac")):
        if narrow in exact and wide in exact:
            exact.remove(wide)
    if "node" in exact:
        exact = ["node"]
    return exact[0] if len(exact) == 1 else ""


def _of_host(kind: str, site: str) -> str | None:
    """The lesion of that kind in the organ that a site is a part of, without its side."""
    if not site:
        return None
    wanted = _words().kinds.get(kind, (kind,))
    hosts: list[str] = []
    row: Structure | None = structures()[site]
    while row is not None:
        hosts.append(_base(row.name))
        row = structures().get(row.parent)
    for host in hosts:
        for word in (kind, *wanted):
            if found := _lesions().get((host, word)):
                return found
    if "lesion" not in wanted:
        return None
    return next((_ELSEWHERE[kind] for name in hosts if (kind := _row_kind(name)) in _ELSEWHERE), None)


def _row_kind(name: str) -> str:
    row = structures().get(name) or structures().get(f"{name}_left")
    return row.kind if row else ""


def _special(kind: str, site: str) -> str | None:
    """Findings that are no lesion of an organ: effusions, nodes, fractures, free fluid and air."""
    chain = _chain(site)
    chest = bool(chain & {"lung", "pleura", "thoracic_cavity", "lung_pleural"})
    if kind == "node":
        return "lymph_node"
    if kind == "effusion" or (kind == "fluid" and site):
        heart = bool(chain & {"heart", "pericardium"})
        return "pericardial_effusion" if heart else "pleural_effusion" if chest else None
    if kind == "fracture":
        return "vertebra_fracture" if "vertebrae" in chain else None
    if kind == "hemorrhage":
        return "intracerebral_hemorrhage" if "brain" in chain else None
    if kind == "aneurysm":
        return "brain_aneurysm" if "brain" in chain else None
    if kind == "hematoma" and "brain" not in chain:
        return "hematoma"
    return None


def _without_organ(kind: str, left_over: tuple[str, ...], parsed: _Parsed) -> str | None:
    """Findings that need no organ, and those of soft tissue and of the peritoneum."""
    roles = _words().roles
    has = {role for word in left_over for role in roles.get(tuple(word.split()), ())}
    if kind in ("consolidation", "atelectasis", "infiltrate", "opacity"):
        return f"lung_{'covid_infiltrate' if kind == 'infiltrate' else kind}"
    if kind in ("pneumothorax", "ascites"):
        return kind
    if kind in ("fluid", "air"):
        inside = "peritoneal" in has or ("free" in parsed.qualities and (kind == "air" or "abdomen" in has))
        return ("ascites" if kind == "fluid" else "pneumoperitoneum") if inside else None
    if "lesion" in _words().kinds.get(kind, ()):
        return "soft_tissue_lesion" if "soft" in has else "peritoneal_lesion" if "peritoneal" in has else None
    return None


def _chain(site: str) -> frozenset[str]:
    found = set()
    row = structures().get(site)
    while row is not None:
        found |= {row.name, _base(row.name)}
        row = structures().get(row.parent)
    return frozenset(found)


def _same_organ(site: str, host: str) -> bool:
    return _base(host) in _chain(site) or _base(site) in _chain(host)


def _base(name: str) -> str:
    return re.sub(r"_(left|right)$", "", name)


@cache
def _lesions() -> Mapping[tuple[str, str], str]:
    """(organ, kind) -> lesion, both without side, from the names, words and parents of the anatomy table."""
    found: dict[tuple[str, str], str] = {}
    for row in structures().values():
        if row.kind not in _FINDINGS:
            continue
        base = _base(row.name)
        host = _base(row.parent) if row.parent else base.rpartition("_")[0]
        for kind in (base.rpartition("_")[2], row.words.rpartition(" ")[2]):
            found.setdefault((host, kind), base)
    for kind_row in finding_kinds().values():
        for words in (kind_row.words, *kind_row.aliases):
            if kind_row.structure and kind_row.site:
                base = _base(kind_row.structure.replace("_{side}", ""))
                found.setdefault((kind_row.site, words.rpartition(" ")[2]), base)
    found[("gallbladder", "stone")] = "gallstone"
    found[("mediastinum", "lesion")] = "mediastinal_lesion"
    found[("urinary_bladder", "lesion")] = "bladder_lesion"
    found[("bones", "lesion")] = "bone_lesion"
    return MappingProxyType(found)


# -- sites ----------------------------------------------------------------------------------------------------------


def _site(parsed: _Parsed, lookup: Callable[[str], str | None], host: str) -> tuple[str, tuple[str, ...]]:
    """The structure that the words of the site name, the most words first, and the words that are left over."""
    rest = parsed.rest
    if len(rest) > MAX_SITE_WORDS:
        return "", rest
    within = _words().within
    for size in range(len(rest), 0, -1):
        for chosen in itertools.combinations(range(len(rest)), size):
            words = tuple(rest[i] for i in chosen)
            phrase = " ".join(words)
            found = _looked_up(words, parsed.side, lookup) or within.get(phrase)
            if found is None and host:
                found = _looked_up((*_base(host).split("_"), *words), parsed.side, lookup)
            if found is None and size == 1 and _LEVEL.fullmatch(phrase):
                found = lookup(f"vertebrae {phrase}")
            left_over = tuple(rest[i] for i in range(len(rest)) if i not in chosen)
            if found is None or structures()[found].kind in _FINDINGS:
                continue
            left_over = tuple(word for word in left_over if not _is_around(word, found, lookup))
            if all(_is_place(word) for word in left_over):
                return found, left_over
    return "", rest


def _is_around(word: str, site: str, lookup: Callable[[str], str | None]) -> bool:
    """Whether a word names what the site is a part of anyway: the lung of a lobe."""
    organ = _looked_up((word,), "", lookup)
    return organ is not None and _base(organ) in _chain(site)


def _looked_up(words: tuple[str, ...], side: str, lookup: Callable[[str], str | None]) -> str | None:
    """The structure of these words and side, as they are and with adjectives made nouns."""
    adjectives = _words().adjectives
    spelled = tuple(_ROMAN.get(word, word) for word in words)
    nouns = tuple(noun for word in spelled for noun in adjectives.get(word, (word,)))
    fewer = tuple(noun for noun in nouns if noun not in _KINDS_OF_ORGAN)
    sides = (side, "") if side in ("left", "right") else ("",)
    for one in sides:
        for tried in dict.fromkeys((words, spelled, nouns, tuple(dict.fromkeys(nouns)), fewer)):
            if not tried:
                continue
            for form in (tried, tuple(f"{word}s" if i == len(tried) - 1 else word for i, word in enumerate(tried))):
                found = lookup(" ".join((*form, one)).strip())
                if found is not None and (structures()[found].side in ("", side) or side in ("", "both")):
                    sided = f"{found}_{side}"
                    return sided if sided in structures() else found
    return None


def _is_place(word: str) -> bool:
    roles = _words().roles.get(tuple(word.split()), frozenset())
    return bool(roles & {"place", "region", "soft", "peritoneal", "abdomen", "quality"}) or word.startswith("#")


# -- words ----------------------------------------------------------------------------------------------------------


def _parse(tokens: list[str], lookup: Callable[[str], str | None]) -> _Parsed | None:
    """Tokens by role; None where one refuses, or two things are joined."""
    table = _words()
    sides: list[str] = []
    kinds: list[str] = []
    named: list[str] = []
    rest: list[str] = []
    qualities: list[str] = []
    index, joined, places_joined = 0, False, False
    while index < len(tokens):
        phrase, length = _longest(tokens, index)
        roles = table.roles.get(phrase, frozenset())
        text = " ".join(phrase)
        before = tokens[index - 1] if index else ""
        index += length
        if "refuse" in roles:
            return None
        if text in ("and", "or", "plus"):
            after = tokens[index] if index < len(tokens) else ""
            if not (before in table.sides and after in table.sides):
                joined = joined or not (_is_place(before) and _is_place(after))
                places_joined = True
        elif "cut" in roles:
            if kinds or named:
                break
            return None
        elif "side" in roles:
            sides.append(table.sides[text])
        elif "named" in roles:
            named.append(text)
        elif "kind" in roles:
            kinds.append(_kind_of(text))
        elif "quality" in roles or _SIZE.fullmatch(text):
            qualities.append(text)
        elif "filler" in roles:
            continue
        elif before in _COUNTED and re.fullmatch(r"\d{1,2}[a-f]?|[iv]+[a-f]?", text):
            whole = before == "segment" and text[-1] not in "abcdef"
            rest += [text] if whole else [f"#{text}"]
        elif text.isdigit() and (_is_length(tokens, index) or ((kinds or named) and int(text) < 1000)):
            qualities.append(text)
        else:
            rest.append(text)
    side = sides[0] if len(set(sides)) == 1 else "both" if sides else ""
    if kinds or named:
        looks = [word for word in rest if _LOOKS.fullmatch(word) and not _is_word(word)]
        rest, qualities = [word for word in rest if word not in looks], qualities + looks
    if joined or (places_joined and not kinds and not named):
        return None
    return _Parsed(side, tuple(kinds), tuple(named), tuple(rest), tuple(qualities))


def _is_length(tokens: list[str], after: int) -> bool:
    return after < len(tokens) and tokens[after] in ("mm", "cm", "x", "by")


def _longest(tokens: list[str], index: int) -> tuple[tuple[str, ...], int]:
    for length in range(min(MAX_PHRASE, len(tokens) - index), 0, -1):
        phrase = tuple(tokens[index : index + length])
        if phrase in _words().roles:
            return phrase, length
    return (tokens[index],), 1


def _kind_of(text: str) -> str:
    return _kind_words()[text]


def without_shared_start(names: Sequence[str]) -> dict[str, str]:
    """Names of one folder without the words that all of them begin with and that no table knows (``smith_liver``)."""
    pieces = [re.split(r"[_\s.-]+", name) for name in names]
    shared = 0
    if len(names) > 1:
        for column in itertools.takewhile(lambda words: len(set(words)) == 1, zip(*pieces, strict=False)):
            token = " ".join(_tokens(column[0]))
            if _is_word(token) or _words().known(token) or _LEVEL.fullmatch(token):
                break
            shared += 1
    return {
        name: " ".join(words[shared:]) if len(words) > shared else name
        for name, words in zip(names, pieces, strict=True)
    }


def _starts(tokens: list[str]) -> Iterator[int]:
    """Where the name may begin: at once, after what only says which case it is, and after an organ and a number.

    Unknown words say which case it is when a number follows (``TCGA-DD-A1EB``); organs do in data sets that name their
    cases after them (``lung_001``). Words for findings never do: ``stone_12_spleen`` is no spleen.
    """
    yield 0
    roles = _words().roles
    for index, token in enumerate(tokens[:-1]):
        own = roles.get((token,), frozenset())
        if "case" in own or _is_number(token):
            yield index + 1
        elif len(token) > 1 and (own or token in _vocabulary()):
            break
    for index, token in enumerate(tokens[1:6], start=1):
        before = roles.get((tokens[index - 1],), frozenset())
        if before & {"kind", "named", "refuse", "cut", "quality", "side"}:
            return
        counted = re.fullmatch(r"\d{2,}", token) or (token.isdigit() and "case" in before)
        if counted and index + 1 < len(tokens):
            yield index + 1


def _is_number(token: str) -> bool:
    return any(c.isdigit() for c in token) and not _LEVEL.fullmatch(token) and not _SIZE.fullmatch(token)


def _with_levels(tokens: list[str]) -> list[str]:
    """``first lumbar vertebra`` and ``lumbar vertebra 1`` as ``vertebra l1``."""
    region = next((token for token in tokens if token in _REGIONS), None)
    if region is None or "vertebra" not in tokens:
        return tokens
    counts = [token for token in tokens if token in _ORDINALS or (token.isdigit() and int(token) <= len(_ORDINALS))]
    if len(counts) != 1:
        return tokens
    number = _ORDINALS.index(counts[0]) + 1 if counts[0] in _ORDINALS else int(counts[0])
    return [f"{_REGIONS[region]}{number}" if token == region else token for token in tokens if token != counts[0]]


def _tokens(name: str) -> list[str]:
    """Lower-case words of a name, in US spelling and singular where a table knows the singular only."""
    plain = unicodedata.normalize("NFKD", name.replace("%20", " ")).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower()
    for british, american in _SPELLINGS:
        spaced = spaced.replace(british, american)
    words = [word for word in re.split(r"[\W_]+", re.sub(r"'s\b", "", spaced)) if word]
    tokens: list[str] = []
    for word in words:
        counted = re.fullmatch(r"([a-z]{3,})(\d+)", word)
        ordinal = re.fullmatch(r"(\d{1,2})(st|nd|rd|th)", word)
        if counted and _is_word(_singular(counted[1])):  # lesion2, but not ct001
            tokens += [_singular(counted[1]), counted[2]]
        elif ordinal and 1 <= int(ordinal[1]) <= len(_ORDINALS):
            tokens.append(_ORDINALS[int(ordinal[1]) - 1])
        else:
            tokens.append(_singular(word))
    return tokens


def _is_word(word: str) -> bool:
    return word in _vocabulary() and "case" not in _words().roles.get((word,), ())


def name_key(name: str) -> str:
    """Key under which all spellings of an exact name are the same: words in any order, singular, US spelling."""
    return " ".join(sorted(token for token in _tokens(name) if token not in ("the", "of")))


def _singular(word: str) -> str:
    vocabulary = _vocabulary()
    if _words().known(word) or len(word) < 4:
        return word
    for ending, instead in _PLURALS:
        if word.endswith(ending) and (changed := word[: -len(ending)] + instead) in vocabulary:
            return changed
    return word


@cache
def _vocabulary() -> frozenset[str]:
    """Every single word of the tables."""
    words = {word for phrase in _words().roles for word in phrase}
    for row in structures().values():
        words |= set(re.split(r"[\W_]+", f"{row.name} {row.words}".lower()))
    return frozenset(words)


@cache
def _kind_words() -> Mapping[str, str]:
    return MappingProxyType({word: group[0] for group, listed in _kind_rows() for word in listed})


@cache
def _rows() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """(role, words, meaning) of every line of the table."""
    text = files("radvlm.types").joinpath("name_words.tsv").read_text(encoding="utf-8")
    lines = ((line + "\t").split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return tuple((line[0], tuple(word.strip() for word in line[1].split(",")), line[2]) for line in lines)


def _kind_rows() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(tuple(meaning.split()), listed) for role, listed, meaning in _rows() if role == "kind"]


@cache
def _words() -> _Words:
    roles: dict[tuple[str, ...], set[str]] = {}
    for role, listed, _ in _rows():
        for word in listed:
            roles.setdefault(tuple(word.split()), set()).add(role)
    for joining in ("and", "or", "plus"):
        roles.setdefault((joining,), set()).add("join")
    rows = _rows()

    def table(role: str) -> dict[str, str]:
        return {word: meaning for one, listed, meaning in rows if one == role for word in listed}

    named = {word: tuple(meaning.split()) for word, meaning in table("named").items()}
    return _Words(
        MappingProxyType({phrase: frozenset(found) for phrase, found in roles.items()}),
        MappingProxyType(table("side")),
        MappingProxyType({kinds[0]: kinds for kinds, _ in _kind_rows()}),
        MappingProxyType({word: (pair[0], pair[1]) for word, pair in named.items()}),
        MappingProxyType({word: tuple(meaning.split()) for word, meaning in table("adjective").items()}),
        MappingProxyType(table("within")),
    )
