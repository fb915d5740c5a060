"""Measurements to findings, by rules that each name their source. Pure: no voxels are read here."""

from __future__ import annotations

from radvlm.interpret.document import rules_markdown
from radvlm.interpret.findings import interpret
from radvlm.interpret.rules import Rule, Rules, load_rules

__all__ = ["Rule", "Rules", "interpret", "load_rules", "rules_markdown"]
