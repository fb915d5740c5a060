"""A server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp, LM Studio, TGI, OpenRouter.

The package ``openai`` is not needed; one request is one POST. A server that refuses the JSON Schema, the name
of the token limit or the seed is asked again in the form that it knows, and the judge card tells in which.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from radvlm.errors import InputError
from radvlm.evaluate.judge.backend import BackendFailure, Reply
from radvlm.evaluate.judge.request import FIRST_WIRE, JudgeRequest, Wire
from radvlm.evaluate.judge.wire import check_destination, is_local, post_json

_FORMAT = re.compile(r"response_format|json_schema|json_object|structured|guided|grammar", re.IGNORECASE)
_CHAT = "/chat/completions"


class OpenAICompatible:
    """Backend for an OpenAI-compatible server.

    Args:
        base_url: up to and without ``/chat/completions``, such as ``http://localhost:8000/v1``.
        api_key: sent as a bearer token; "" for none.
        allow_remote: consent to send reports to a host that is not this computer.
        timeout_s: for one whole reply.
        wire: form of the first request.
        headers: more headers, or a function that gives them for each request (tokens that expire).

    Raises InputError for a bad URL, or a remote host without consent.
    """

    name = "openai"
    max_concurrency: int | None = None

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        *,
        allow_remote: bool = False,
        timeout_s: float = 120.0,
        wire: Wire = FIRST_WIRE,
        headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        base = base_url.rstrip("/").removesuffix(_CHAT)
        self.place = check_destination(base, allow_remote)
        if not timeout_s > 0:
            raise InputError("a time limit is above 0 s", str(timeout_s))
        self._url = base + _CHAT
        self._key = api_key
        self._timeout_s = timeout_s
        self._headers = headers
        self._wire = wire
        self._used: set[Wire] = set()
        self._lock = threading.Lock()

    def describe(self) -> Mapping[str, Any]:
        parts = urlsplit(self._url)
        used = sorted(self._used, key=str) or [self._wire]
        return {
            "host": parts.netloc,
            "path": parts.path,
            "encrypted": parts.scheme == "https",
            "this_computer": is_local(self._url),
            "requests": [asdict(w) for w in used],
        }

    def send(self, request: JudgeRequest, idempotency_key: str) -> Reply:
        """One chat completion; raises BackendFailure."""
        headers = dict(self._headers() if callable(self._headers) else self._headers or {})
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        headers["Idempotency-Key"] = idempotency_key
        wire = self._wire
        while True:
            try:
                answer = post_json(self._url, request.body(wire), headers, self._timeout_s)
            except BackendFailure as failure:
                other = adapted(wire, failure)
                if other is None:
                    raise
                wire = other
                continue
            with self._lock:
                self._wire = wire
                self._used.add(wire)
            return read_completion(answer)


def adapted(wire: Wire, failure: BackendFailure) -> Wire | None:
    """Another form of the request after a refusal of this one; None when the refusal is about something else."""
    if failure.status != "rejected" or failure.fatal:
        return None
    said = failure.message
    if wire.max_tokens_field == "max_tokens" and "max_completion_tokens" in said:
        return replace(wire, max_tokens_field="max_completion_tokens")
    if wire.output != "text" and _FORMAT.search(said):
        return replace(wire, output="json_object" if wire.output == "json_schema" else "text")
    if wire.send_seed and re.search(r"\bseed\b", said):
        return replace(wire, send_seed=False)
    return None


def read_completion(answer: Mapping[str, Any]) -> Reply:
    """Reply from the body of a chat completion; raises BackendFailure when it is none."""
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(str(part.get("text", "")) for part in content)
        usage = answer.get("usage") or {}
        return Reply(
            str(content),
            str(answer.get("model") or ""),
            str(answer.get("system_fingerprint") or ""),
            str(choice.get("finish_reason") or "stop"),
            str(message.get("refusal") or ""),
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        raise BackendFailure(
            "server_error", "the server's reply is not a chat completion", retry=True, lost=True
        ) from None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
