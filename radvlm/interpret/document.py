"""docs/rules.md, written from the rules so that the two cannot drift apart (a test compares them)."""

from __future__ import annotations

from radvlm.interpret.document_examples import EXAMPLE_PATIENT, limit_examples
from radvlm.interpret.rules import AppliesWhen, Criterion, Rule, RuleClass, Rules
from radvlm.types.urgency import Urgency
from radvlm.wording.sentences import capital

_HEAD = """# Rules

Written from `radvlm/interpret/thresholds.yaml` by `radvlm.interpret.rules_markdown`; do not edit by hand.

A rule turns a measured number into words. It is applied only when every condition in its *applies when* column
holds; otherwise the report says "not assessed" and why, never "normal". The number is always reported before the
category, and a category is not a diagnosis. *Certainty* says how well the number is supported by its source: `high` is
earned by a DOI or an address, a population and a check of the source. A citation that nobody could look up gives one
step less (`high` becomes `medium`, `medium` becomes `uncertain`); reports carry what is left. `checked` of a rule names
the day, the public page and what stood there; those pages are abstracts, tables or texts that quote the source, not
always the source itself.

Rules judge the number that is printed, at the precision of print (whole mm, HU, percent and degrees; mL to three
figures; ratios to a hundredth), so two numbers that read alike are classed alike. Where the error of the number
reaches a limit, every class that is possible is said "within the measurement error": degrees of a disease from the
least ("at least ectatic"); an ordinary value by its own class, with what else is possible after it. What is merely
possible beside an ordinary value is in the impression only where it must be known within days and its limit is within
a quarter of the error. The diameter of a vessel is rather too large than too small, so the truth exceeds it by at most
a third of a voxel or 1 mm (docs/measurements.md). Below the table of each rule the words are rendered on both sides of
each limit, and at the limit with an error of two steps of print; limits by body size for a patient of {height:g} cm
and {weight:g} kg.

Your own YAML file of the same form extends these rules, or replaces those of the same `id`
(`radvlm.interpret.load_rules(path)`); unknown keys are refused. `enabled: false` switches a rule off.
"""

_ORDER = """
## Order in the impression

What comes first is what somebody must know first. The levels are those of the ACR Actionable Reporting Work Group
(Larson PA et al. J Am Coll Radiol 2014;11:552-558, doi 10.1016/j.jacr.2013.12.016); which finding has which level is
this library's reading of them:

| urgency | meaning | importance in report.json |
|---|---|---|
| immediate | within minutes (category 1): could lead to death or serious harm | 80 to 100 |
| hours | within hours (category 2): needs treatment soon, but not at once | 60 to 80 |
| days | within days (category 3): may harm later if nobody acts | 40 to 60 |
| incidental | in the report, no communication of its own | 20 to 40 |
| no action | asks for nothing: simple cysts, old calcifications, devices | 5 to 20 |
| limitation | limits the examination | 1 to 5 |
| none | not in the impression | 0 |

Within a level, findings come by how far they are beyond their limit: a judged value by its ratio to the limit of its
class (attenuation: 1 + the difference in HU / 100), a lesion by its size relative to 10 mm (the smallest that RECIST
1.1 measures), a collection by its volume relative to 500 mL (a convention). A ratio r adds 1 - 1/r of the level.

What is immediate or told within hours is always written out and headed "Critical" or "Urgent" in the impression ("if
confirmed" where attenuation or a model alone shows it, or where it lies within the measurement error);
what is certain and told within days is always written out too; `impression_items` counts it and the others, and what
is left to the body of the report is named in the last line.

Lesions, collections, diseases and devices, `days` where not listed:
"""


#: What a limit is per.
_SCALES = {
    "": "",
    "bsa": " per m2 of body surface",
    "height squared": " by the square of the height in m",
    "spleen by weight": ", in percent of the upper limit for the weight",
}


def rules_markdown(rules: Rules) -> str:
    """The rules as a Markdown document."""
    parts = [_HEAD.format(height=EXAMPLE_PATIENT["height_cm"], weight=EXAMPLE_PATIENT["weight_kg"])]
    parts += [*_sources(rules), ""]
    for rule in rules.rules:
        parts.append(_rule(rule))
    parts.append("## Not measured in this version\n")
    parts += [f"- **{item.words}**: {item.reason}." for item in rules.unmeasured]
    parts.append(_ORDER)
    for row in rules.lesion_urgency:
        parts.append(f"- {row.urgency}: {', '.join(row.structures)}" + (f" ({row.reason})" if row.reason else ""))
    return "\n".join(parts) + "\n"


def _sources(rules: Rules) -> list[str]:
    """A row for each rule: how certain its limit is, and whether its source was looked up."""
    checked = sum(r.is_source_checked for r in rules.rules)
    conventions = sum(r.convention for r in rules.rules)
    open_ids = [f"`{r.id}`" for r in rules.rules if not r.is_source_checked and not r.convention]
    count = (
        f"Of {len(rules.rules)} rules, the limits of {checked} were found on public pages and {conventions} are "
        f"conventions of this library; the limit was not seen for {len(open_ids)}"
        + (f" ({', '.join(open_ids)})." if open_ids else ".")
    )
    rows = [f"| {r.id} | {r.earned_certainty} | {_status(r)} |" for r in rules.rules]
    return ["## Sources", "", count, "", "| rule | certainty | source |", "|---|---|---|", *rows]


def _status(rule: Rule) -> str:
    if rule.convention:
        return "convention of this library"
    if rule.checked is None:
        return "not checked: cited from memory"
    return f"checked {rule.checked.day}" if rule.checked.limit_seen else f"looked up {rule.checked.day}, limit not seen"


def _check(rule: Rule) -> str:
    """How the source was looked up, in one line."""
    if rule.convention:
        return "source: none to check, a convention of this library"
    if rule.checked is None:
        return "source not checked: cited from memory"
    seen = "source checked" if rule.checked.limit_seen else "source looked up, the limit not seen (from memory)"
    return f"{seen}: {rule.checked.day}, {rule.checked.at}: {rule.checked.found}"


def _rule(rule: Rule) -> str:
    lines = [
        f"## {rule.id}",
        "",
        f"{capital(rule.words)}; finding `{rule.finding}`.",
        "",
        f"- judges: {rule.quantity.replace('_', ' ')} in {rule.unit}"
        + _SCALES[rule.scale or ""]
        + (f" minus that of the {rule.reference}" if rule.reference else "")
        + (f", rounded to {rule.round_to:g}" if rule.round_to else "")
        + (f" of {', '.join(rule.structures)}" if rule.structures else " of the scan")
        + (" (absolute difference)" if rule.level == "pair" else ""),
        f"- applies when: {_conditions(rule.applies_when)}"
        + "".join(f"; {_criterion(c)}" for c in rule.also)
        + "".join(f"; not where {_criterion(c)}" for c in rule.unless)
        + (f"; stations {', '.join(rule.stations)}" if rule.stations else "")
        + (f"; not the stations {', '.join(rule.except_stations)}" if rule.except_stations else ""),
        f"- source: {rule.source}{_address(rule)}",
        f"- found in: {rule.population or 'no population; a convention or a text'}"
        + (f" (n = {rule.sample_size})" if rule.sample_size else ""),
        *([f"- out of it: {rule.excludes}"] if rule.excludes else []),
        f"- certainty: {rule.earned_certainty}",
        f"- {_check(rule)}",
    ]
    if rule.alternative_to:
        lines.append(f"- used where `{rule.alternative_to}` gives no class")
    if rule.note:
        lines.append(f"- note: {rule.note}")
    if rule.quiet:
        lines.append("- where it cannot be applied, the tables give the reason and the report does not list it")
    if not rule.enabled:
        lines.append("- switched off")
    lines += ["", "| value | category | status | urgency |", "|---|---|---|---|"]
    unit = "percent of the limit" if rule.scale == "spleen by weight" else rule.unit
    for sex, classes in [("", rule.classes)] if rule.classes else list(rule.classes_by_sex.items()):
        lines += [_class_row(c, unit, sex, classes[n - 1] if n else None) for n, c in enumerate(classes)]
    return "\n".join([*lines, "", *limit_examples(rule), ""])


def _address(rule: Rule) -> str:
    """The DOI or the address, where the citation does not hold it."""
    if rule.doi is not None:
        return "" if rule.doi in rule.source else f"; doi {rule.doi}"
    return "" if rule.url is None or rule.url in rule.source else f"; {rule.url}"


def _class_row(item: RuleClass, unit: str, sex: str, previous: RuleClass | None) -> str:
    low = "" if previous is None else f"{'>=' if previous.below is not None else '>'} {previous.limit:g}"
    high = "" if item.limit is None else f"{'<' if item.below is not None else '<='} {item.limit:g}"
    value = " and ".join(filter(None, (low, high))) or "any"
    prefix = f"{sex}: " if sex else ""
    if item.category is None:
        return f"| {prefix}{value} {unit} | - | no finding | - |"
    urgency = "-" if item.urgency is Urgency.NONE else item.urgency
    return f"| {prefix}{value} {unit} | {item.category} | {item.status} | {urgency} |"


def _criterion(item: Criterion) -> str:
    low = "" if item.at_least is None else f" at least {item.at_least:g}"
    high = "" if item.at_most is None else f" at most {item.at_most:g}"
    return f"{item.quantity.replace('_', ' ')}{' and'.join(filter(None, (low, high)))}"


def _conditions(when: AppliesWhen) -> str:
    parts = []
    if when.complete:
        parts.append("not cut by the field of view")
    if when.phases:
        parts.append(f"phase certainly {' or '.join(when.phases)}")
    if when.min_age_years is not None:
        parts.append(f"age known and at least {when.min_age_years:g} years")
    if when.below_age_years is not None:
        parts.append(f"age known and below {when.below_age_years:g} years")
    if when.sex_known:
        parts.append("sex known")
    if when.body_size_known:
        parts.append("height and weight known")
    if when.height_known:
        parts.append("height known")
    if when.weight_known:
        parts.append("weight known")
    if when.min_long_axis_mm is not None:
        parts.append(f"long axis at least {when.min_long_axis_mm:g} mm and two slices")
    if when.max_voxel_mm is not None:
        parts.append(f"no side of a voxel longer than {when.max_voxel_mm:g} mm")
    if when.level is not None:
        parts.append(f"measured at an {when.level} level")
    if when.or_above:
        parts.append(
            "above the limit of adults also at another or unknown age, above that of both sexes at unknown sex"
        )
    return "; ".join(parts) or "always"
