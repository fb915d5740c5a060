"""Messages in the words of the command line: arguments of Python functions become the options that set them.

Errors are raised far below, where nobody knows who asks, and speak of ``scheme=``; here, in one place, that becomes
``--scheme``. A message that names both ways keeps the one.
"""

from __future__ import annotations

import re
from collections.abc import Collection

#: What argparse keeps that is no option.
_NO_OPTIONS = frozenset({"run", "command", "action", "ct", "output_is_folder"})
#: Options whose name is no name of an argument in Python.
_OTHER_NAMES = {"source": "--from"}
_VALUE = r"True|'[^']*'|\"[^\"]*\"|\{[^{}]*\}|\([^()]*\)|\[[^\[\]]*\]"
_ARGUMENT = re.compile(rf"(?<![\w./-])([a-z][a-z_]+)=({_VALUE})?(?=[\s,.;:)?]|$)")
_BOTH = re.compile(r"[a-z][a-z_]+=(?:True)? \((--[a-z-]+)\)")
_ASIDE = re.compile(r" \([a-z][a-z_]+= in Python\)")
_SYSTEM_ERROR = re.compile(r"\[Errno \d+\] ([A-Z][^:\n]*): '[^']*'")
_PAIR = re.compile(r"\((-?\d+(?:\.\d+)?), (-?\d+(?:\.\d+)?)\)")


def in_options(message: str, names: Collection[str]) -> str:
    """``message`` with the arguments among ``names`` (of an argparse namespace) as options."""
    known = {name for name in names if name not in _NO_OPTIONS}
    text = _ASIDE.sub("", _BOTH.sub(lambda match: match[1], message))
    text = _ARGUMENT.sub(lambda match: _option(match[1], match[2] or "") if match[1] in known else match[0], text)
    text = _SYSTEM_ERROR.sub(lambda match: match[1].lower(), text)
    if "--scheme" in text:
        text = re.sub(r"\{[a-z ,0-9]+: structure\}", "LABEL=STRUCTURE,...", text)
        text = text.replace('map a label to "" to leave it out', "LABEL= leaves a label out")
    if "--rescale" in text:
        text = _PAIR.sub(r"\1,\2", text.replace("(slope, intercept)", "SLOPE,INTERCEPT"))
        text = re.sub(r"'(none|header|auto)'", r"\1", text)
    return text


def _option(name: str, value: str) -> str:
    option = _OTHER_NAMES.get(name) or "--" + name.replace("_", "-")
    if value in ("", "True"):
        return option
    if value[0] in "'\"":
        return f"{option} {value[1:-1]}"
    if value[0] == "{" and not re.search(r"[0-9'\"]\s*:", value):
        return f"{option} {value}"  # an example in words, which is put right below
    inner = value[1:-1].replace("'", "").replace('"', "")
    return f"{option} " + re.sub(r"\s*,\s*", ",", re.sub(r"\s*:\s*", "=", inner))
