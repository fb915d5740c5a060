"""What a judge's backend offers: one request in, one reply out, or a failure that says whether to try again.

A failure tells whether the reply may have been made (and paid for) without reaching us (``lost``). A backend
is any object with these attributes; nothing is inherited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from radvlm.evaluate.judge.request import JudgeRequest

#: How a case can end. Only ``ok`` has a judgment.
STATUSES: Mapping[str, str] = {
    "ok": "judged",
    "malformed": "no valid answer, also after one request to repair it, or cut off at max_tokens",
    "refused": "the model declined to answer",
    "filtered": "a content filter stopped the request or the reply",
    "rejected": "the server does not accept the request (too long, unknown parameter)",
    "timeout": "no reply in time, after all attempts",
    "rate_limited": "still refused for its rate after all attempts",
    "unreachable": "the connection failed, after all attempts",
    "server_error": "the server or the model failed, after all attempts",
    "lost": "an earlier reply was lost on its way and may have been paid for; it was not asked for again, as wished",
    "not_sent": "the run was stopped before it",
    "pending": "written to a batch file; no reply yet",
    "no_reply_kept": "not in the cache, and only the cache was asked",
    "crashed": "an unexpected error in this program",
}


@dataclass(frozen=True)
class Reply:
    """What the model said.

    Attributes:
        text: of the answer.
        model: name that the server gives.
        fingerprint: of the server's configuration, where it tells.
        finish: ``stop``, ``length`` (cut off), ``content_filter``, or what the server says.
        refusal: text of a refusal; "" for none.
        input_tokens, output_tokens: as billed; None where not told.
    """

    text: str
    model: str = ""
    fingerprint: str = ""
    finish: str = "stop"
    refusal: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class BackendFailure(Exception):
    """No reply.

    Attributes:
        status: one of ``STATUSES``.
        retry: worth another attempt.
        wait_s: what the server asks to wait; None when it does not say.
        lost: the reply may have been made and paid for.
        fatal: every other request would fail too (wrong key, unknown model, empty account).
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        retry: bool = False,
        wait_s: float | None = None,
        lost: bool = False,
        fatal: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.retry, self.wait_s, self.lost, self.fatal = retry, wait_s, lost, fatal


@runtime_checkable
class Backend(Protocol):
    """Answers requests; called from several threads at once unless ``max_concurrency`` is 1.

    Attributes:
        name: ``openai``, ``azure``, ``callable``, ``transformers``, ``offline-batch``.
        place: where the reports go, for the judge card: host, or ``this process``.
        max_concurrency: most requests at a time; None for no limit of its own.
    """

    name: str
    place: str
    max_concurrency: int | None

    def send(self, request: JudgeRequest, idempotency_key: str) -> Reply:
        """The reply; raises BackendFailure."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Details for the judge card (output mode, versions); JSON-ready, without credentials."""
        ...
