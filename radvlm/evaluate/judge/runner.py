"""Asking a judge about many pairs: threads, caps, retries, votes, repairs; every pair ends with a status.

The order of work does not matter and nothing raises in the middle. A reply is on disk before it is read, the
same question is asked once even if two cases share it, and what cannot be judged is a status with a reason. Only a
judge that answers nobody (wrong key, no server) raises, and only when nothing at all was judged.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from radvlm.errors import InputError
from radvlm.evaluate.judge.backend import Backend, BackendFailure, Reply
from radvlm.evaluate.judge.cache import ReplyCache
from radvlm.evaluate.judge.cost import NO_PRICES, CostEstimate, Prices, estimate, tokens
from radvlm.evaluate.judge.judgment import Judgment, central
from radvlm.evaluate.judge.pace import Pace, Retry, Stopped
from radvlm.evaluate.judge.reply import MalformedReply, read_reply
from radvlm.evaluate.judge.request import JudgeRequest, Params, Prompt, load_prompt


@runtime_checkable
class FileBackend(Protocol):
    """A backend whose replies arrive in files between two runs."""

    def load(self, cache: ReplyCache) -> int:
        """Bring replies into the cache, before a run."""
        ...

    def write(self) -> list[Path]:
        """Write what waits for a reply, after a run."""
        ...


@dataclass(frozen=True)
class JudgeSettings:
    """What is asked, and how hard the server is worked.

    Attributes:
        model: name sent to the server.
        prompt: of this package, or the user's own.
        params: sampling.
        votes: independent answers for each pair; more than one needs a temperature above 0. The vote nearest to all
            others counts (``judgment.central``); a pair without a majority of valid votes has none.
        concurrency: requests at a time.
        requests_per_minute, tokens_per_minute: caps; None for none.
        retry: attempts and waits.
        retry_failed: ask again where the cache holds a reply that was no valid answer (paid again).
        resend_lost: send a request again whose reply was lost in a timeout or a killed run. It carries the same
            idempotency key; a server without them may bill it twice. False ends such cases as ``lost`` instead.
    """

    model: str
    prompt: Prompt = field(default_factory=load_prompt)
    params: Params = field(default_factory=Params)
    votes: int = 1
    concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    retry: Retry = field(default_factory=Retry)
    retry_failed: bool = False
    resend_lost: bool = True

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("a judge has a model name", "none")
        if self.votes < 1 or self.concurrency < 1:
            raise InputError("votes and concurrency are at least 1", f"{self.votes}, {self.concurrency}")
        if self.votes > 1 and self.params.temperature == 0:
            raise InputError(
                "several votes need a temperature above 0, or they are all the same",
                f"{self.votes} votes at temperature 0",
            )

    def request(self, reference: str, candidate: str, vote: int = 0) -> JudgeRequest:
        return JudgeRequest(self.model, self.prompt.messages(reference, candidate), self.params, vote)


@dataclass(frozen=True)
class CaseOutcome:
    """How one pair ended.

    Attributes:
        status: key of ``backend.STATUSES``; only ``ok`` has a judgment.
        reason: for a person; "" when ok.
        votes: valid answers; asked: answers asked for.
        consistency: share of valid votes with the same twelve counts as the one that counts; None for one vote.
        repaired: votes that needed a second request.
    """

    status: str
    reason: str = ""
    judgment: Judgment | None = None
    votes: int = 0
    asked: int = 1
    consistency: float | None = None
    repaired: int = 0

    def to_dict(self) -> dict[str, Any]:
        out: dict[str, Any] = {"status": self.status}
        if self.reason:
            out["reason"] = self.reason
        if self.asked > 1:
            out |= {"votes": self.votes, "asked": self.asked, "consistency": self.consistency}
        if self.repaired:
            out["repaired"] = self.repaired
        return out | (self.judgment.to_dict() if self.judgment else {})


@dataclass
class Tally:
    """What happened on the way; safe to add to from threads."""

    events: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    fingerprints: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, name: str, n: int = 1) -> None:
        with self._lock:
            self.events[name] += n

    def reply(self, reply: Reply, fresh: bool) -> None:
        with self._lock:
            self.events["replies_new" if fresh else "replies_kept"] += 1
            for kind, n in (("input", reply.input_tokens), ("output", reply.output_tokens)):
                if n is None:
                    self.events["replies_without_usage"] += kind == "input"
                else:
                    self.events[f"{kind}_tokens"] += n
                    self.events[f"{kind}_tokens_new"] += n if fresh else 0
            self.models[reply.model or "not told"] += 1
            if reply.fingerprint:
                self.fingerprints[reply.fingerprint] += 1


class JudgeRunner:
    """Asks ``backend`` about pairs of texts, through ``cache``."""

    def __init__(self, backend: Backend, settings: JudgeSettings, cache: ReplyCache | None = None) -> None:
        self.backend = backend
        self.settings = settings
        self.cache = cache if cache is not None else ReplyCache()
        self.tally = Tally()
        self._unreachable = self._rejected = 0
        self._answered = False

    def run(self, pairs: Sequence[tuple[str, str]], progress: Callable[[int], None] | None = None) -> list[CaseOutcome]:
        """Outcomes in the order of the pairs (reference, candidate).

        Args:
            progress: called with the number of cases that have just ended.

        Raises InputError when the judge refuses every request for a reason that no other request would escape.
        """
        pace = Pace(self.settings.requests_per_minute, self.settings.tokens_per_minute)
        self._unreachable = self._rejected = 0
        self._answered = False
        if isinstance(self.backend, FileBackend):
            self.backend.load(self.cache)
        unique = list(dict.fromkeys(pairs))
        repeats = Counter(pairs)
        outcomes: dict[tuple[str, str], CaseOutcome] = {}
        workers = min(self.settings.concurrency, self.backend.max_concurrency or self.settings.concurrency)
        todo: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[tuple[str, str], CaseOutcome]] = queue.SimpleQueue()
        for pair in unique:
            todo.put(pair)
        threads = [
            threading.Thread(target=self._work, args=(todo, done, pace), daemon=True)
            for _ in range(min(workers, len(unique)))
        ]
        for thread in threads:
            todo.put(None)
            thread.start()
        try:
            for _ in unique:
                pair, outcome = done.get()
                outcomes[pair] = outcome
                if progress:
                    progress(repeats[pair])
        finally:  # also on Ctrl-C: nothing more is sent, and what is under way stays written down as such
            pace.stop("the run was interrupted")
            for thread in threads:
                thread.join(timeout=0.2)
            if isinstance(self.backend, FileBackend):
                self.backend.write()
        if pace.stopped and unique and not any(o.status == "ok" for o in outcomes.values()):
            reason = pace.reason
            if reason != "the run was interrupted":
                raise InputError("the judge answers", reason, "Check base URL, model and key; nothing was judged")
        return [outcomes[pair] for pair in pairs]

    def recall(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[CaseOutcome], Tally]:
        """Outcomes from the cache alone (``no_reply_kept`` where it has none), and what their replies cost."""
        reader = JudgeRunner(self.backend, self.settings, self.cache)
        found = {pair: reader._judge(pair, None) for pair in dict.fromkeys(pairs)}
        return [found[pair] for pair in pairs], reader.tally

    def estimate(self, pairs: Sequence[tuple[str, str]], prices: Prices = NO_PRICES) -> CostEstimate:
        """What ``run`` would send; looks into the cache, sends nothing."""
        requests = [
            self.settings.request(*pair, vote) for pair in dict.fromkeys(pairs) for vote in range(self.settings.votes)
        ]
        fresh = [r for r in requests if self.cache.get(r.key) is None]
        sizes = [sum(tokens(content) for _, content in r.messages) for r in fresh]
        return estimate(len(pairs), len(requests), sizes, self.settings.params.max_tokens, prices)

    def _work(self, todo: Any, done: Any, pace: Pace) -> None:
        while (pair := todo.get()) is not None:
            try:
                outcome = self._judge(pair, pace)
            except sqlite3.Error as error:  # no place to keep replies: stop paying for them
                pace.stop(f"the cache cannot be written: {error}")
                outcome = CaseOutcome("crashed", f"the cache cannot be written: {error}")
            except Exception as error:  # noqa: BLE001 - a crashed case is a record
                outcome = CaseOutcome("crashed", f"{type(error).__name__}: {error}")
            done.put((pair, outcome))

    def _judge(self, pair: tuple[str, str], pace: Pace | None) -> CaseOutcome:
        asked = self.settings.votes
        votes: list[Judgment] = []
        failures: list[BackendFailure] = []
        repaired = 0
        for vote in range(asked):
            request = self.settings.request(*pair, vote)
            try:
                judgment, mended = self._vote(request, pair, pace)
            except BackendFailure as failure:
                failures.append(failure)
                continue
            votes.append(judgment)
            repaired += mended
        if 2 * len(votes) > asked:
            best, same = central(votes)
            return CaseOutcome("ok", "", votes[best], len(votes), asked, same if asked > 1 else None, repaired)
        status, n = Counter(f.status for f in failures).most_common(1)[0]
        reason = next(f.message for f in failures if f.status == status)
        return CaseOutcome(status, reason if asked == 1 else f"{n} of {asked} votes: {reason}", None, len(votes), asked)

    def _vote(self, request: JudgeRequest, pair: tuple[str, str], pace: Pace | None) -> tuple[Judgment, bool]:
        """One valid answer, and whether it had to be repaired; raises BackendFailure."""
        used: list[tuple[str, bool]] = []
        try:
            return self._answer(request, pair, pace, used)
        except BackendFailure:
            kept = [key for key, fresh in used if not fresh]
            if pace is None or not self.settings.retry_failed or not kept or len(kept) < len(used):
                raise
        self.cache.forget(kept)
        return self._answer(request, pair, pace, [])

    def _answer(
        self, request: JudgeRequest, pair: tuple[str, str], pace: Pace | None, used: list[tuple[str, bool]]
    ) -> tuple[Judgment, bool]:
        reply = self._reply(request, pace, used)
        try:
            return self._read(reply, pair), False
        except MalformedReply as problem:
            if reply.finish == "length":
                raise BackendFailure(
                    "malformed", f"cut off after {request.params.max_tokens} tokens; allow more"
                ) from problem
            again = request.repaired(reply.text, self.settings.prompt.repair_message(str(problem)))
        mended = self._reply(again, pace, used)
        try:
            judgment = self._read(mended, pair)
        except MalformedReply as problem:
            raise BackendFailure("malformed", f"also after one repair: {problem}") from problem
        self.tally.add("repaired")
        return judgment, True

    @staticmethod
    def _read(reply: Reply, pair: tuple[str, str]) -> Judgment:
        if reply.finish == "content_filter":
            raise BackendFailure("filtered", "a content filter stopped the reply")
        if reply.refusal:
            raise BackendFailure("refused", reply.refusal[:200])
        return read_reply(reply.text, *pair)

    def _reply(self, request: JudgeRequest, pace: Pace | None, used: list[tuple[str, bool]]) -> Reply:
        """From the cache, or sent, with retries; raises BackendFailure."""
        key = request.key
        kept = self.cache.get(key)
        if kept is not None:
            used.append((key, False))
            self.tally.reply(kept, fresh=False)
            return kept
        if pace is None:
            raise BackendFailure("no_reply_kept", "the cache has no reply")
        size = sum(tokens(content) for _, content in request.messages)
        retry = self.settings.retry
        attempt = 0
        while True:
            lost, settled = self.cache.history(key)
            if lost and not self.settings.resend_lost:
                raise BackendFailure("lost", "a reply was lost in a timeout or a killed run and may have been paid for")
            try:
                pace.wait(size)
            except Stopped as stop:
                raise BackendFailure("not_sent", str(stop)) from None
            self.cache.begin(key)
            try:
                reply = self.backend.send(request, f"radvlm-{key[:40]}-{settled}")
            except BackendFailure as failure:
                self.cache.settle(key, failure.lost)
                self._failed(failure, attempt, retry, pace)
            except BaseException:
                self.cache.settle(key, lost=True)
                raise
            else:
                self.cache.put(key, reply)
                self._unreachable = 0
                self._answered = True
                self.tally.add("sent")
                used.append((key, True))
                self.tally.reply(reply, fresh=True)
                return reply
            attempt += 1

    def _failed(self, failure: BackendFailure, attempt: int, retry: Retry, pace: Pace) -> None:
        """Wait and return when the request is worth another attempt; raise the failure otherwise."""
        self.tally.add(f"failed_{failure.status}")
        self.tally.add("sent", failure.status != "pending")
        if failure.lost:
            self.tally.add("lost")
        if failure.status == "unreachable":
            self._unreachable += 1
            if self._unreachable >= retry.unreachable:
                pace.stop(f"{self._unreachable} connections failed one after the other; {failure.message}")
        else:
            self._unreachable = 0
        if failure.status == "rejected" and not self._answered:
            self._rejected += 1
            if self._rejected >= retry.unreachable:
                pace.stop(f"the first {self._rejected} requests were all rejected; {failure.message}")
        if failure.fatal:
            pace.stop(failure.message)
        if not failure.retry or failure.fatal or attempt + 1 >= retry.attempts:
            raise failure
        wait = retry.wait_s(attempt)
        if failure.wait_s is not None:
            if failure.wait_s > retry.longest_asked_s:
                raise failure
            pace.pause(failure.wait_s)
            wait = failure.wait_s + min(wait, 1.0)
        try:
            pace.sleep(wait)
        except Stopped:
            raise failure from None
