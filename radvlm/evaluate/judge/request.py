"""What is sent to a judge: prompt, reports, schema, parameters; and the key under which the reply is kept.

The key is the content (model, messages, schema, parameters, number of the vote) and nothing about the server
or the case, so a reply from a batch file, a local server or a hosted one answers the same question, and a question is
paid for once. How it is put on the wire (``Wire``) is no part of it, because servers differ in what they accept.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError

_HERE = Path(__file__).parent
_SLOT = re.compile(r"\{(reference|candidate|problem)\}")
#: A report that holds the tags around the reports would end its own quotation.
_TAG = re.compile(r"<(?=/?\s*(?:reference|candidate)_report)", re.IGNORECASE)
PROMPTS = ("ct-errors", "chexprompt")
DEFAULT_PROMPT = "ct-errors"


@cache
def reply_schema() -> dict[str, Any]:
    """JSON Schema of a reply, within what strict structured output of the usual servers accepts."""
    loaded: dict[str, Any] = json.loads((_HERE / "schema.json").read_text(encoding="utf-8"))
    return loaded


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Prompt:
    """A prompt from a YAML file with keys name, version, for, sources, system, user, repair.

    ``user`` has the slots ``{reference}`` and ``{candidate}``, ``repair`` has ``{problem}``.
    """

    name: str
    system: str
    user: str
    repair: str
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        slots = {m[1] for m in _SLOT.finditer(self.user)}
        if slots != {"reference", "candidate"}:
            raise InputError(
                "a judge's prompt has the slots {reference} and {candidate}",
                f"{self.name}: {', '.join(sorted(slots)) or 'none'}",
            )
        if not self.system.strip() or "{problem}" not in self.repair:
            raise InputError("a judge's prompt has a system text and a repair text with {problem}", self.name)

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the three texts."""
        return digest([self.system, self.user, self.repair])[:12]

    def messages(self, reference: str, candidate: str) -> tuple[tuple[str, str], ...]:
        """(role, content) for one pair; both reports are filled in at once, so one cannot reach into the other."""
        texts = {"reference": _TAG.sub("‹", reference), "candidate": _TAG.sub("‹", candidate)}
        return (("system", self.system.strip()), ("user", _SLOT.sub(lambda m: texts[m[1]], self.user).strip()))

    def repair_message(self, problem: str) -> str:
        return self.repair.replace("{problem}", problem).strip()


def load_prompt(name: str | Path = DEFAULT_PROMPT) -> Prompt:
    """A prompt of this package by name (``ct-errors``, ``chexprompt``), or one of the user's own from a YAML file."""
    import yaml

    path = _HERE / "prompts" / f"{name}.yaml" if str(name) in PROMPTS else Path(name)
    if not path.is_file():
        raise InputError("a judge's prompt is " + ", ".join(PROMPTS) + " or a YAML file", repr(str(name)))
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileFormatError("a prompt file is YAML in UTF-8", f"{path.name}: {error}") from error
    missing = {"name", "system", "user", "repair"} - set(data if isinstance(data, dict) else ())
    if missing:
        raise FileFormatError("a prompt file has name, system, user and repair", f"{path.name}: no {sorted(missing)}")
    return Prompt(
        str(data["name"]),
        str(data["system"]),
        str(data["user"]),
        str(data["repair"]),
        tuple(map(str, data.get("sources") or ())),
    )


@dataclass(frozen=True)
class Params:
    """Sampling parameters; None is not sent, which leaves the server's default.

    Attributes:
        temperature: 0 for the most repeatable answer. Models that accept only their default need None.
        top_p: nucleus sampling.
        max_tokens: longest reply in tokens; for models that think before answering, thinking counts.
        seed: of the first vote; vote k uses seed + k.
    """

    temperature: float | None = 0.0
    top_p: float | None = None
    max_tokens: int = 4096
    seed: int | None = 0

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise InputError("a temperature lies between 0 and 2", str(self.temperature))
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError("top_p lies above 0 and up to 1", str(self.top_p))
        if self.max_tokens < 64:
            raise InputError("a judge's reply needs at least 64 tokens", str(self.max_tokens))


@dataclass(frozen=True)
class Wire:
    """How a request is put to an OpenAI-compatible server; a server that refuses one form is asked in the next.

    Attributes:
        output: ``json_schema`` (the server enforces the schema), ``json_object`` (any JSON) or ``text``.
        max_tokens_field: ``max_tokens``, or ``max_completion_tokens`` for models that know only that.
        send_seed: False where the server refuses a seed.
    """

    output: str = "json_schema"
    max_tokens_field: str = "max_tokens"
    send_seed: bool = True

    def __post_init__(self) -> None:
        if self.output not in ("json_schema", "json_object", "text"):
            raise InputError("an output mode is json_schema, json_object or text", repr(self.output))


#: The first thing to try.
FIRST_WIRE = Wire()


@dataclass(frozen=True)
class JudgeRequest:
    """One question to a judge. ``messages`` are (role, content)."""

    model: str
    messages: tuple[tuple[str, str], ...]
    params: Params = field(default_factory=Params)
    vote: int = 0

    @property
    def key(self) -> str:
        """SHA-256 (64 hex digits) of everything that makes the answer."""
        return digest(
            {
                "model": self.model,
                "messages": self.messages,
                "schema": reply_schema(),
                "params": asdict(self.params),
                "vote": self.vote,
            }
        )

    @property
    def seed(self) -> int | None:
        return None if self.params.seed is None else self.params.seed + self.vote

    def body(self, wire: Wire) -> dict[str, Any]:
        """Body of a chat completion."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": role, "content": content} for role, content in self.messages],
            wire.max_tokens_field: self.params.max_tokens,
        }
        for name, value in (
            ("temperature", self.params.temperature),
            ("top_p", self.params.top_p),
            ("seed", self.seed if wire.send_seed else None),
        ):
            if value is not None:
                body[name] = value
        if wire.output == "json_schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "report_errors", "strict": True, "schema": reply_schema()},
            }
        elif wire.output == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def repaired(self, reply: str, message: str) -> JudgeRequest:
        """The same question with the unreadable reply and a request to mend it."""
        return JudgeRequest(
            self.model, (*self.messages, ("assistant", reply), ("user", message)), self.params, self.vote
        )
