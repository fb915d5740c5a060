"""Labels of a report: present, absent, uncertain or not mentioned, for the 18 CT-RATE labels, Merlin's 30, or every kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.evaluate.frames import Frame, Reading, read_frames
from radvlm.evaluate.lexicon import Lexicon, load_lexicon

if TYPE_CHECKING:
    pass

STATES = ("present", "absent", "uncertain", "not mentioned")


def label_report(text: str, scheme: str = "ct-rate", lexicon: Lexicon | None = None) -> dict[str, str]:
    """Label -> ``present``, ``absent``, ``uncertain`` or ``not mentioned``."""
    lexicon = lexicon or load_lexicon()
    return label_frames(read_frames(text, lexicon), scheme, lexicon)


def label_frames(reading: Reading, scheme: str, lexicon: Lexicon) -> dict[str, str]:
    """Labels from frames already read."""
    labels = lexicon.labels(scheme)
    enlarged_only = lexicon.schemes[scheme].get("nodes") == "enlarged"
    states: dict[str, set[str]] = {}
    for frame in reading.frames:
        states.setdefault(frame.kind, set()).add(_status(frame, enlarged_only))
    lineages = {a for site in reading.normal_sites for a in (site,)}
    out = {}
    for label, kinds in labels.items():
        seen = set().union(*(states.get(kind, set()) for kind in kinds))
        state = next((s for s in ("present", "uncertain", "absent") if s in seen), "")
        if not state and any(site in lineages for kind in kinds for site in lexicon.kinds[kind].normal):
            state = "absent"
        out[label] = state or "not mentioned"
    return out


def _status(frame: Frame, enlarged_only: bool) -> str:
    if frame.kind == "lymph_node" and enlarged_only and frame.status in ("present", "uncertain"):
        size = frame.sizes_mm[-1] if frame.sizes_mm else None  # the short axis is the smaller dimension
        if size is not None:
            return "present" if size >= 10 else "absent"
        return "absent" if frame.small else ""
    return frame.status
