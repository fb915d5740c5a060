"""Replies kept in one SQLite file, and which requests were under way, so that a killed run pays for nothing twice.

A request is written down before it is sent and settled when its outcome is known. What a killed run had under way is
therefore known by name at the next start: those few requests, and no others, may have been paid for without a reply.
Rows are JSON (nothing is unpickled) keyed by content; the reports are not stored, but replies quote them, so the file
is readable by its owner alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.judge.backend import Reply
from radvlm.files.atomic import utc_now
from radvlm.types.records import record_from

_TABLES = """
create table if not exists replies (key text primary key, reply text not null, created text not null);
create table if not exists sent (
    key text primary key,
    under_way integer not null default 0,
    lost integer not null default 0,
    settled integer not null default 0
);
"""


class ReplyCache:
    """Replies by request key. Safe for threads; a second process is refused while the first one runs.

    Args:
        path: SQLite file, made if need be; ":memory:" keeps nothing.

    Raises InputError when another run uses the file, FileFormatError when it is not a cache.
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        self.path = str(path)
        self._lock = threading.RLock()
        self._guard = _exclusive(Path(path)) if self.path != ":memory:" else None
        try:
            if self.path != ":memory:" and not Path(path).exists():
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            try:
                self._db.execute("pragma journal_mode=wal")
                self._db.execute("pragma synchronous=normal")  # safe against kill; a power cut may lose the last second
                self._db.executescript(_TABLES)
                self._db.execute("select key, under_way, lost, settled from sent limit 1")
                self._db.execute("select key, reply, created from replies limit 1")
            except sqlite3.Error:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            self._release()
            raise FileFormatError(
                "a judge's cache is an SQLite file that can be written",
                f"{path}: {error}",
                "Give another file, or remove this one",
            ) from error
        #: Requests that an earlier run had under way when it was killed.
        self.interrupted = self._interrupted()

    def _interrupted(self) -> int:
        with self._lock:
            count = self._db.execute("select count(*) from sent where under_way > 0").fetchone()[0]
            self._db.execute("update sent set lost = lost + under_way, under_way = 0 where under_way > 0")
        return int(count)

    def get(self, key: str) -> Reply | None:
        with self._lock:
            row = self._db.execute("select reply from replies where key = ?", (key,)).fetchone()
        return None if row is None else record_from(Reply, json.loads(row[0]), skip_unknown=True)

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that have a reply."""
        return {key for key in keys if self.get(key) is not None}

    def begin(self, key: str) -> None:
        """Write down that the request is about to be sent."""
        with self._lock:
            self._db.execute(
                "insert into sent (key, under_way) values (?, 1) "
                "on conflict (key) do update set under_way = under_way + 1",
                (key,),
            )

    def settle(self, key: str, lost: bool) -> None:
        """The attempt ended without a reply: for certain, or with a reply that may have been made and lost."""
        with self._lock:
            self._db.execute(
                "update sent set under_way = max(under_way - 1, 0), lost = lost + ?, "
                "settled = settled + ? where key = ?",
                (int(lost), int(not lost), key),
            )

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply; on disk when this returns."""
        text = json.dumps(reply.to_dict(), ensure_ascii=True)
        with self._lock:
            self._db.execute("begin immediate")
            try:
                self._db.execute("insert or replace into replies values (?, ?, ?)", (key, text, utc_now()))
                self._db.execute("update sent set under_way = max(under_way - 1, 0) where key = ?", (key,))
            except sqlite3.Error:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def forget(self, keys: Iterable[str]) -> None:
        """Drop replies, to ask again; counts as a settled attempt, so the next one has a new idempotency key."""
        with self._lock:
            for key in keys:
                self._db.execute("delete from replies where key = ?", (key,))
                self._db.execute(
                    "insert into sent (key, settled) values (?, 1) "
                    "on conflict (key) do update set settled = settled + 1",
                    (key,),
                )

    def history(self, key: str) -> tuple[int, int]:
        """(lost, settled) attempts of a request."""
        with self._lock:
            row = self._db.execute("select lost, settled from sent where key = ?", (key,)).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def lost(self) -> int:
        """Attempts, over all runs, whose reply may have been paid for and never arrived."""
        with self._lock:
            return int(self._db.execute("select coalesce(sum(lost), 0) from sent").fetchone()[0])

    def count(self) -> int:
        """Replies kept."""
        with self._lock:
            return int(self._db.execute("select count(*) from replies").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._release()

    def _release(self) -> None:
        if self._guard is not None:
            os.close(self._guard)
            self._guard = None

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _exclusive(path: Path) -> int | None:
    """A lock that ends with the process, however it ends; None on systems without ``fcntl``."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise FileFormatError("the folder of a judge's cache can be written", f"{path}: {error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise InputError(
            "one run at a time uses a judge's cache, so that nothing is paid for twice",
            str(path),
            "Wait for the other run, or give another cache file",
        ) from error
    return handle
