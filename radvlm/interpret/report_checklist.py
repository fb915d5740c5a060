"""What a report is expected to speak of (report_checklist.yaml). Data about reporting habits, no thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from radvlm.files.settings import read_settings
from radvlm.types.anatomy import structure
from radvlm.types.scan_measurements import Measurements


@dataclass(frozen=True)
class Station:
    """A part of the body: imaged when more than half of ``landmarks`` are present."""

    name: str
    landmarks: tuple[str, ...]
    organs: tuple[str, ...]

    def is_imaged(self, measurements: Measurements) -> bool:
        present = sum(measurements.structure(name) is not None for name in self.landmarks)
        return 2 * present > len(self.landmarks)


@dataclass(frozen=True)
class SurveyOrgan:
    """An organ that is named as not assessed when neither ``site`` nor a ``stand_in`` was searched for."""

    words: str
    site: str
    stand_ins: tuple[str, ...]


@dataclass(frozen=True)
class SurveyLesion:
    """A kind of focal lesion: its hosts, the masks that answer for it, and those that answer only in part."""

    id: str
    words: str
    hosts: tuple[str, ...]
    masks: tuple[str, ...]
    partial: tuple[str, ...]
    partly: str


@dataclass(frozen=True)
class Survey:
    stations: tuple[Station, ...]
    organs: tuple[SurveyOrgan, ...]
    lesions: tuple[SurveyLesion, ...]

    def expected_organs(self, measurements: Measurements) -> frozenset[str]:
        """Organs whose absence from the masks is worth a word, because their station is imaged."""
        return frozenset(o for s in self.stations if s.is_imaged(measurements) for o in s.organs)

    def organ_of(self, name: str) -> SurveyOrgan | None:
        """The row of the organ that a structure stands for."""
        return next((o for o in self.organs if name == o.site or name in o.stand_ins), None)

    def hosts_of(self, lesion: str) -> tuple[str, ...]:
        """Structures in which a lesion structure may lie; () when it has no particular host."""
        parent = structure(lesion).parent
        if parent and parent != "lung":
            return (parent,)
        return next((row.hosts for row in self.lesions if lesion in (*row.masks, *row.partial)), ())


@cache
def load_survey() -> Survey:
    """The checklist; InputError where it names a structure that is not in the anatomy table."""
    source = files("radvlm.interpret").joinpath("report_checklist.yaml")
    survey = read_settings(Survey, source, "the checklist of a report")
    names = [n for s in survey.stations for n in (*s.landmarks, *s.organs)]
    names += [n for o in survey.organs for n in (o.site, *o.stand_ins)]
    names += [n for row in survey.lesions for n in (*row.hosts, *row.masks, *row.partial)]
    for name in names:
        structure(name)
    return survey
