"""How fast requests go out: requests and tokens a minute, a common pause when the server asks for one, and back-off.

A wait asked for by the server (Retry-After) holds back all threads, because the limit is the account's and not
the request's; waits end at once when the run is stopped.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from radvlm.errors import InputError


@dataclass(frozen=True)
class Retry:
    """When to try again.

    Attributes:
        attempts: at most this many in all for one request.
        base_s, longest_s: attempt n waits a random time up to min(longest, base x 2^n) ("full jitter").
        longest_asked_s: a longer Retry-After than this is not waited for; the case ends as rate limited.
        unreachable: consecutive failed connections, or rejections before any answer, that stop the run.
    """

    attempts: int = 6
    base_s: float = 1.0
    longest_s: float = 60.0
    longest_asked_s: float = 600.0
    unreachable: int = 20

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base_s < 0 or self.longest_s < self.base_s or self.unreachable < 1:
            raise InputError("a retry has at least one attempt and waits of 0 <= base <= longest", repr(self))

    def wait_s(self, attempt: int) -> float:
        """Random wait after failed attempt ``attempt`` (from 0), seconds."""
        return random.uniform(0, min(self.longest_s, self.base_s * 2.0 ** min(attempt, 30)))


class Stopped(Exception):
    """The run is being stopped."""


class Pace:
    """Gate through which every request passes.

    Args:
        requests_per_minute, tokens_per_minute: None for no cap. Tokens are the estimate of ``cost.tokens``.
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        for cap in (requests_per_minute, tokens_per_minute):
            if cap is not None and not cap > 0:
                raise InputError("a cap per minute is above 0", str(cap))
        self._per_request = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._next = self._pause = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.reason = ""

    def wait(self, tokens: int) -> None:
        """Until this request may go out. Raises Stopped."""
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + max(self._per_request, self._per_token * tokens)
        self.sleep(start - time.monotonic())
        while (left := self._pause - time.monotonic()) > 0:
            self.sleep(left)

    def pause(self, seconds: float) -> None:
        """Hold all requests back for that long."""
        with self._lock:
            self._pause = max(self._pause, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, unless stopped. Raises Stopped."""
        if self._stop.wait(max(0.0, seconds)) if seconds > 0 else self._stop.is_set():
            raise Stopped(self.reason)

    def stop(self, reason: str) -> None:
        """Let nothing through any more; the first reason is kept."""
        with self._lock:
            self.reason = self.reason or reason
            self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()
