"""No search returns anything of the patient it is asked about, whatever was done to the index before."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from radvlm.errors import InputError, VerificationError
from radvlm.retrieve import HashedText, IndexSettings, Record, ReportIndex, SearchOptions, random_report, vector_files
from radvlm.types.study import Study

WORDS = ("cyst", "tumor", "stone", "abscess", "clip")
PLACES = ("liver", "spleen", "pancreas", "left kidney")


def _text(i: int) -> str:
    return f"A {i % 97} mm {WORDS[i % 5]} in the {PLACES[i % 4]} beside {i // 3} others."


class Leaks(RuleBasedStateMachine):
    """Adds, removes, rebuilds, merges, reloads, and tries to get a hit of an excluded patient in between."""

    kind = "flat"
    patients = Bundle("patients")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.next = 0
        self.index: ReportIndex

    def _records(self, n: int, patient: str = "") -> list[Record]:
        out = []
        for _ in range(n):
            i = self.next
            self.next += 1
            who = patient or f"P{i % 4}"
            key = f"K{int(who[1:]) % 2}" if i % 5 == 0 else ""  # two pseudonyms of one person, known by a key
            out.append(Record(who, f"S{i}", _text(i), split="train", patient_key=key, region="abdomen"))
        return out

    @initialize(target=patients)
    def start(self) -> str:
        self.index = ReportIndex.build(
            self._records(48),
            HashedText(16),
            self.place / "index",
            settings=IndexSettings(levels=("report", "sentence"), kind=self.kind),
        )
        return "P0"

    @rule(target=patients, n=st.integers(1, 45), who=st.integers(0, 5))
    def add(self, n: int, who: int) -> str:
        self.index = self.index.add(self._records(n, f"P{who}"))
        return f"P{who}"

    @rule(target=patients, who=st.integers(0, 5), i=st.integers(0, 40))
    def copy_under_another_name(self, who: int, i: int) -> str:
        """The same report once more, as somebody else's."""
        self.index = self.index.add([Record(f"P{who}", f"S{self.next}", _text(i))])
        self.next += 1
        return f"P{who}"

    @rule(who=patients)
    def remove(self, who: str) -> None:
        mine = [r for s in self.index.segments for r in s.column("patient")]
        live = {p for p, gone in zip(mine, self.index.removed, strict=True) if not gone}
        if who in live and len(live) > 1:
            self.index = self.index.remove(patients=[who])

    @rule()
    def rebuild(self) -> None:
        self.index = self.index.rebuild()

    @rule()
    def reload(self) -> None:
        self.index = ReportIndex.load(self.index.folder)

    @rule(target=patients)
    def merge(self) -> str:
        shard = ReportIndex.build(
            self._records(3, "P5"),
            HashedText(16),
            self.place / f"shard{self.next}",
            settings=IndexSettings(levels=("report", "sentence"), kind=self.kind),
        )
        self.index = ReportIndex.merge([self.index, shard], self.place / f"merged{self.next}")
        return "P5"

    def _same_person(self, who: str) -> set[str]:
        """By plain Python: pseudonyms joined by keys."""
        pairs = [
            (p, k)
            for s in self.index.segments
            for p, k in zip(s.column("patient"), s.column("patient_key"), strict=True)
        ]
        people, keys, size = {who}, {who}, 0
        while size < len(people) + len(keys):
            size = len(people) + len(keys)
            keys |= {k for p, k in pairs if p in people and k}
            people |= {p for p, k in pairs if k in keys}
        return people

    @rule(
        who=patients,
        k=st.sampled_from([1, 3, 10, 10_000]),
        level=st.sampled_from(["report", "sentence"]),
        i=st.integers(0, 200),
        how=st.sampled_from(["name", "study", "header"]),
    )
    def attack(self, who: str, k: int, level: str, i: int, how: str) -> None:
        people = self._same_person(who)
        columns = [(s.column("patient"), s.column("text"), s.column("study")) for s in self.index.segments]
        everything = [row for c in columns for row in zip(*c, strict=True)]
        theirs = {" ".join(t.lower().split()) for p, t, _ in everything if p in people}
        own = [t for p, t, _ in everything if p in people]
        query: Any = own[i % len(own)] if own else _text(i)  # their own words: the nearest of all
        given: dict[str, Any] = {"exclude_patient": who}
        studies = [s for p, _, s in everything if p == who]
        if how == "study" and studies:
            given = {"exclude_studies": [studies[i % len(studies)]]}
        if how == "header" and studies:

            class Seen:
                study = Study(study_uid=studies[i % len(studies)])

            vector = HashedText(16).embed_text([query])[0]
            embedder = type(
                "E",
                (),
                {
                    "encoder_id": "hashed-text-16",
                    "digest": HashedText(16).digest,
                    "dimension": 16,
                    "embed_volume": lambda self, volume: vector,
                },
            )()
            found = self.index.with_embedder(embedder).search(Seen(), k, SearchOptions(level=level))
        else:
            found = self.index.search(query, k, SearchOptions(level=level, **given))
        assert not {h.patient for h in found} & people
        assert not {" ".join(h.text.lower().split()) for h in found} & theirs, "a copy under another name"
        live = sum(
            not gone and p not in people and " ".join(t.lower().split()) not in theirs
            for (p, t, _), gone in zip(everything, self.index.removed, strict=True)
        )
        if k == 10_000:
            near = found.excluded.get("copy of the patient's report", 0)
            exact = sum(
                not gone and p not in people and " ".join(t.lower().split()) in theirs
                for (p, t, _), gone in zip(everything, self.index.removed, strict=True)
            )
            assert len({h.record for h in found}) == live - (near - exact), "all that is allowed, and nothing else"

    @rule()
    def exclude_everybody(self) -> None:
        everyone = [p for s in self.index.segments for p in s.column("patient")]
        assert len(self.index.search("cyst", 5, SearchOptions(exclude_patient=everyone))) == 0
        assert random_report(self.index, 1, exclude_patient=everyone, evaluation=False) is None

    @invariant()
    def removed_stay_away(self) -> None:
        if hasattr(self, "index"):
            assert len({h.record for h in self.index.search("cyst", 10_000, SearchOptions(level="report"))}) == len(
                self.index
            )

    def teardown(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq"])
def test_no_leak_in_any_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "EXACT_ROWS", 0)  # so that small indexes go through faiss too
    machine = type("Leaks_" + kind, (Leaks,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=4,
            stateful_step_count=9,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_scan_must_say_whose_it_is(tmp_path: Path, records: Any, encoder: Any, scan: Any) -> None:
    index = ReportIndex.build(records(10), encoder, tmp_path / "i")
    for query in (scan("cyst"), np.ones(32, np.float32)):
        with pytest.raises(InputError, match="says whose it is"):
            index.search(query)
        assert len(index.search(query, 3, SearchOptions(patient_not_indexed=True))) == 3
        assert len(index.search(query, 3, SearchOptions(exclude_patient="somebody new"))) == 3
    with pytest.raises(InputError, match="names a patient"):
        index.search("cyst", options=SearchOptions(exclude_patient=""))
    with pytest.raises(InputError, match="list of studies"):
        index.search("cyst", options=SearchOptions(exclude_studies="S1"))


def test_near_copies_are_left_out(tmp_path: Path, encoder: Any) -> None:
    words = " ".join(
        f"The {w} is of normal size and contour without focal lesion."
        for w in ("liver", "spleen", "pancreas", "stomach", "aorta", "heart", "colon", "prostate")
    )
    index = ReportIndex.build(
        [
            Record("A", "1", words + " A 12 mm cyst in segment IV."),
            Record("B", "2", words + " A 13 mm cyst in segment IV."),
            Record("C", "3", "Fracture of the left seventh rib. Small pleural effusion. No pneumothorax."),
        ],
        encoder,
        tmp_path / "i",
    )
    assert index.duplicates() == [("1", "2")]
    result = index.search("cyst in segment IV", 100, SearchOptions(exclude_patient="A"))
    assert {h.patient for h in result} == {"C"}
    assert result.excluded == {"same patient": 1, "copy of the patient's report": 1}


def test_a_leak_inside_is_never_silent(
    tmp_path: Path, records: Any, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If faiss ever ignored the selector, the search would stop with an error instead of returning the hit."""
    index = ReportIndex.build(records(30), encoder, tmp_path / "i")

    def ignore(self: Any, query: Any, k: int, allowed: np.ndarray, count: int) -> np.ndarray:
        return np.arange(len(allowed))

    monkeypatch.setattr(vector_files.Shelf, "_candidates", ignore)
    with pytest.raises(VerificationError, match="allowed rows only"):
        index.search("cyst", options=SearchOptions(exclude_patient="P1"))


def test_a_key_says_whose_a_scan_is_only_where_every_record_has_one(
    tmp_path: Path, records: Any, encoder: Any, scan: Any
) -> None:
    """One record without a key could be the same patient's, under a name that the scan does not carry."""
    keyed = records(6, patient_key="K")
    mine = scan("cyst", Study(patient_key="somebody else"))
    whole = ReportIndex.build(keyed, encoder, tmp_path / "whole")
    assert len(whole.search(mine, 3)) == 3
    mixed = ReportIndex.build([*keyed, *records(6, first=6)], encoder, tmp_path / "mixed")
    grown = whole.add(records(6, first=6))  # a second segment, none of whose records has a key
    for index in (mixed, grown):
        with pytest.raises(InputError, match="says whose it is"):
            index.search(mine)
        assert len(index.search(mine, 3, options=SearchOptions(patient_not_indexed=True))) == 3


def test_a_scan_excludes_its_own_patient_by_key_and_by_study(
    tmp_path: Path, records: Any, encoder: Any, scan: Any
) -> None:
    world = [*records(4, patients=1, patient_key="K0"), *records(8, first=4, patients=100, patient_key="K1")]
    index = ReportIndex.build(world, encoder, tmp_path / "i")
    by_key = index.search(scan("cyst", Study(patient_key="K0")), 100)
    assert by_key.excluded["same patient"] == 4 and "P0" not in {h.patient for h in by_key}
    by_study = index.search(scan("cyst", Study(study_uid="S2")), 100)
    assert by_study.excluded["same patient"] == 4 and "P0" not in {h.patient for h in by_study}
    assert index.whose(scan("cyst", Study(patient_key="K0", study_uid="S2")), SearchOptions(exclude_patient="P7")) == (
        ("P7", "K0"),
        ("S2",),
    )
    assert index.whose(scan("cyst"), SearchOptions(exclude_patient=("P7", "P8"))) == (("P7", "P8"), ())
    with pytest.raises(InputError, match="names a patient"):
        SearchOptions(exclude_patient=("P7", " "))
