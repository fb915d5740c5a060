"""Batch files instead of a server: requests are written, and replies are read when somebody has brought them.

For hospitals without a way out, and for batch services that cost half. The files are in OpenAI's batch format, which
Azure and ``vllm run-batch`` read too. Nothing is ever sent. The first run ends with every case ``pending`` and
a file of requests; a later run reads the replies into the cache, asks for repairs in a new file if any reply was
malformed, and scores what is there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.judge.backend import BackendFailure, Reply
from radvlm.evaluate.judge.cache import ReplyCache
from radvlm.evaluate.judge.openai_compatible import read_completion
from radvlm.evaluate.judge.request import FIRST_WIRE, JudgeRequest, Wire
from radvlm.files.atomic import write_text

#: Limits of one batch file at the usual services.
MAX_REQUESTS, MAX_BYTES = 50_000, 190_000_000


class OfflineBatch:
    """Backend that collects requests in ``folder/requests.jsonl`` and reads ``folder/responses*.jsonl``.

    Args:
        folder: of both files. More than 50,000 requests go on in ``requests-2.jsonl`` and so on.
        wire: form of the requests; ``json_schema`` for OpenAI, Azure and vLLM.
        url: endpoint named in each line.
    """

    name = "offline-batch"
    place = "files"
    max_concurrency: int | None = 1

    def __init__(self, folder: str | Path, wire: Wire = FIRST_WIRE, url: str = "/v1/chat/completions") -> None:
        self.folder = Path(folder)
        self._wire = wire
        self._url = url
        self._waiting: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._read: set[tuple[str, int, int]] = set()
        self._lock = threading.Lock()

    def describe(self) -> Mapping[str, Any]:
        return {"folder": self.folder.name, "url": self._url, "output": self._wire.output}

    def load(self, cache: ReplyCache) -> int:
        """Bring the replies of all response files into the cache; returns how many were new."""
        new = 0
        for path in sorted(self.folder.glob("responses*.jsonl")):
            state = (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            if state in self._read:
                continue
            self._read.add(state)
            for number, line in enumerate(_lines(path), 1):
                if line.strip():
                    new += self._take(line, f"{path.name} line {number}", cache)
        return new

    def _take(self, line: str, where: str, cache: ReplyCache) -> bool:
        try:
            row = json.loads(line)
            key, response, error = row["custom_id"], row.get("response"), row.get("error")
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise FileFormatError(
                "each line of a response file is a JSON object with custom_id and response", where
            ) from problem
        if not isinstance(key, str) or len(key) != 64:
            raise InputError("a response has the custom_id of a request written here", f"{where}: {key!r}")
        body = response.get("body") if isinstance(response, Mapping) else None
        code = response.get("status_code") if isinstance(response, Mapping) else None
        if error or not isinstance(body, Mapping) or code not in (200, None):
            said = error or (body or {}).get("error") or f"status {code}"
            self._failed[key] = str(said.get("message", said) if isinstance(said, Mapping) else said)[:300]
            return False
        if cache.get(key) is not None:
            return False
        try:
            cache.put(key, read_completion(body))
        except BackendFailure as failure:
            self._failed[key] = failure.message
            return False
        self._failed.pop(key, None)
        self._waiting.pop(key, None)
        return True

    def send(self, request: JudgeRequest, idempotency_key: str) -> Reply:
        """Never replies: the request waits for the next file."""
        key = request.key
        line = json.dumps(
            {"custom_id": key, "method": "POST", "url": self._url, "body": request.body(self._wire)}, ensure_ascii=True
        )
        with self._lock:
            self._waiting[key] = line
        before = f" (the last batch failed on it: {self._failed[key]})" if key in self._failed else ""
        raise BackendFailure("pending", f"written to {self.folder.name}/requests.jsonl{before}")

    def write(self) -> list[Path]:
        """Write the waiting requests, replacing earlier request files; returns the files (none when nothing waits)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("requests*.jsonl"):
            old.unlink()
        files: list[list[str]] = [[]]
        size = 0
        for line in self._waiting.values():
            if files[-1] and (len(files[-1]) == MAX_REQUESTS or size + len(line) > MAX_BYTES):
                files.append([])
                size = 0
            files[-1].append(line)
            size += len(line) + 1
        written = []
        for number, lines in enumerate(files, 1):
            if lines:
                path = self.folder / ("requests.jsonl" if number == 1 else f"requests-{number}.jsonl")
                write_text(path, "\n".join(lines) + "\n")
                written.append(path)
        return written

    @property
    def waiting(self) -> int:
        return len(self._waiting)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: replies hold other breaks
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError("a response file is readable UTF-8", f"{path.name}: {error}") from error
