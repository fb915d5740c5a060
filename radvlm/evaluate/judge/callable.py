"""A Python function as a judge: another client library, a model in this process, a script in a test.

The function gets messages and gives text; an exception it raises becomes the status of the case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from radvlm.evaluate.judge.backend import BackendFailure, Reply
from radvlm.evaluate.judge.request import JudgeRequest


class CallableBackend:
    """Backend that calls ``function(messages)``.

    Args:
        function: from messages ({"role", "content"}) to the text of the reply, or a ``Reply``. It may raise
            BackendFailure to say more; TimeoutError becomes ``timeout``, anything else ``server_error``.
        max_concurrency: threads that may call it at once; 1 unless it says it can take more.
        name: for the judge card.
    """

    place = "this process"

    def __init__(
        self,
        function: Callable[[Sequence[Mapping[str, str]]], str | Reply],
        max_concurrency: int | None = 1,
        name: str = "callable",
    ) -> None:
        self.function = function
        self.max_concurrency = max_concurrency
        self.name = name

    def describe(self) -> Mapping[str, Any]:
        return {"function": getattr(self.function, "__qualname__", type(self.function).__name__)}

    def send(self, request: JudgeRequest, idempotency_key: str) -> Reply:
        messages = [{"role": role, "content": content} for role, content in request.messages]
        try:
            answer = self.function(messages)
        except BackendFailure:
            raise
        except TimeoutError as error:
            raise BackendFailure("timeout", str(error) or "time limit", retry=True, lost=True) from error
        except Exception as error:
            raise BackendFailure("server_error", f"{type(error).__name__}: {error}") from error
        if isinstance(answer, Reply):
            return answer
        if not isinstance(answer, str):
            raise BackendFailure("server_error", f"the function gave {type(answer).__name__}, not text", fatal=True)
        return Reply(answer)
