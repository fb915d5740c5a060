"""Labels of a report: present, absent, uncertain or not mentioned, for the 18 CT-RATE labels, Merlin's 30, or every kind."""

from __future__ import annotations

from radvlm.evaluate.frames import Frame, Reading, read_frames
from radvlm.evaluate.lexicon import Lexicon, load_lexicon

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
        states.setdefault(frame.kind, set()).add(frame.status)
        if enlarged_only and frame.kind == "lymph_node":
            states.setdefault("lymph_node enlarged", set()).add(_status(frame))
    out = {}
    for label, kinds in labels.items():
        if enlarged_only and "lymphadenopathy" in kinds:
            kinds = ("lymphadenopathy", "lymph_node enlarged")
        seen = {state for kind in kinds for state in states.get(kind, ())}
        state = next((s for s in ("present", "uncertain", "absent") if s in seen), "")
        if not state and any(site in reading.normal_sites for kind in kinds if kind in lexicon.kinds for site in lexicon.kinds[kind].normal):
            state = "absent"
        out[label] = state or "not mentioned"
    return out


def _status(node: Frame) -> str:
    """Status of a lymph node where only an enlarged one counts: at least 10 mm in its smaller stated dimension (RECIST 1.1)."""
    if node.status not in ("present", "uncertain"):
        return node.status
    if node.sizes_mm:
        return "present" if node.sizes_mm[-1] >= 10 else "absent"
    return "absent" if node.small else ""
