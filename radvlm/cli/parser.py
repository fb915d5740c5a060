"""The parser of the command line: its errors are one line that says what was meant, where that can be told."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

#: Names less alike than this are not suggested (0 to 1, as difflib counts).
ALIKE = 0.6
EXIT_USAGE = 2
_CHOICE = re.compile(r"^(?P<what>.*?):? ?invalid choice: (?P<word>.+?) \(choose from (?P<choices>.*)\)$", re.DOTALL)
_NO_NUMBER = re.compile(r"invalid (?:float|int) value: ('[^']*')$")
_NEEDED = "the following arguments are required: "
_UNKNOWN = "unrecognized arguments: "


class CommandParser(argparse.ArgumentParser):
    """An argparse parser that names the option, command or choice that a misspelled word is nearest to.

    A word that is no option is told before what is missing, because the one is often the other misspelled.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; a command, which has no commands of its own, takes only words that it knows."""
        words = sys.argv[1:] if args is None else list(args)
        has_commands = any(action.nargs == argparse.PARSER for action in self._actions)
        own = words[:1] if has_commands else words  # what follows a command is for its own parser
        unknown = [word for word in _options_in(own) if not self._takes(word)]
        if unknown:
            self.error(_UNKNOWN + unknown[0])
        found, rest = super().parse_known_args(words, namespace)
        if rest and not has_commands:
            self.error(_UNKNOWN + " ".join(rest))
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, what was meant, and where the help is; exit code 2."""
        choice = _CHOICE.match(message)
        if message.startswith(_UNKNOWN):
            words = [word for word in message.removeprefix(_UNKNOWN).split() if word != "--"] or ["--"]
            first = words[0].partition("=")[0]
            is_option = "--" not in message.split() and first.startswith("-")
            known = [*self._options()] if is_option else []
            what = f"there is no {'option' if is_option else 'place for the argument'} {first}"
            message = f"{what}{_suggestion(first, known)}"
        elif choice is not None:
            choices = re.findall(r"[^\s,'\"]+", choice["choices"])
            what = choice["what"].removeprefix("argument ").strip() or "argument"
            word = choice["word"].strip("'\"")
            message = f"{what}: there is no {word!r}{_suggestion(word, choices)} (one of {', '.join(choices)})"
        elif message.startswith(_NEEDED):
            message += self._choices_of(message)
        else:
            message = _NO_NUMBER.sub(r"\1 is no number", message.removeprefix("argument "))
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def _choices_of(self, message: str) -> str:
        """`` (one of list, show)`` where the command or action that is missing is one of a few, "" elsewhere."""
        named = message.removeprefix(_NEEDED).split(", ")
        lists = [
            a.choices for a in self._actions if a.nargs == argparse.PARSER and str(a.metavar) in named and a.choices
        ]
        return "".join(f" (one of {', '.join(map(str, choices))})" for choices in lists)

    def _options(self) -> Iterable[str]:
        return (option for action in self._actions for option in action.option_strings)

    def _takes(self, word: str) -> bool:
        """Whether a word is an option, or the beginning of one."""
        name = word.partition("=")[0]
        return any(option.startswith(name) for option in self._options())


def _options_in(words: Sequence[str]) -> Iterable[str]:
    """Words that are long options by their look, up to ``--``, after which none are."""
    for word in words:
        if word == "--":
            return
        if re.match(r"--[a-zA-Z]", word) and " " not in word:
            yield word


def _suggestion(word: str, known: Sequence[str]) -> str:
    """``; did you mean --masks?`` where a known name is alike, "" elsewhere."""
    names = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(word.lower().lstrip("-"), [*names], n=2, cutoff=ALIKE)
    return f"; did you mean {' or '.join(names[name] for name in near)}?" if near else ""
