"""Errors that radvlm raises on purpose.

Each one says three things: what was received, what is required instead, and the remedy.
Each is also the builtin error that a caller would expect (``ValueError``, ``OSError``, ...), so code that
knows nothing of radvlm can still handle it. The command line turns every one of them into exit code 2.
"""

from __future__ import annotations

#: More characters of what was received are cut off in a message; the attribute holds them all.
LONGEST_RECEIVED = 1500


class RadvlmError(Exception):
    """Base of every error raised on purpose: one message with what was received, the rule it breaks, and the remedy.

    ``rule`` is a sentence that holds where nothing is wrong; it is shown after "Required:", so that it is not read as
    a statement about the input.

    Example:
        >>> import radvlm
        >>> try:
        ...     radvlm.Patient(sex="female")
        ... except radvlm.RadvlmError as error:
        ...     print(error)
        Received: 'female'. Required: sex is "F", "M" or None. Leave it out where it is unknown.
    """

    def __init__(self, rule: str, received: str = "", remedy: str = "") -> None:
        self.rule, self.received, self.remedy = rule, received, remedy
        parts = [f"Received: {_printable(received).rstrip('.')}."] if received else []
        parts.append(f"Required: {rule.rstrip('.')}.")
        if remedy:
            parts.append(remedy if remedy.endswith("?") else remedy.rstrip(".") + ".")
        super().__init__(" ".join(parts))


def _printable(received: str) -> str:
    """In one line, without control characters of a damaged file, and not without end."""
    line = "".join(character if character.isprintable() else " " for character in " ".join(received.split()))
    return line if len(line) <= LONGEST_RECEIVED else f"{line[:LONGEST_RECEIVED]} ..."


class InputError(RadvlmError, ValueError):
    """An argument or a setting breaks a rule."""


class FileFormatError(RadvlmError, OSError):
    """A file cannot be read as what it should be: missing, damaged, truncated, or of another kind."""

    def __str__(self) -> str:  # OSError would print its own form
        return str(self.args[0])


class GridError(InputError):
    """Two grids that must agree do not, or a grid is not usable (sheared, singular, not finite)."""


class StructureError(InputError, LookupError):
    """A structure, label or label scheme that radvlm does not know."""


class MissingPackageError(RadvlmError, ImportError):
    """An optional package (an extra) or its weights are not installed."""


class VerificationError(RadvlmError, ValueError):
    """A sentence or a report contradicts the findings it cites."""
