"""What changed since the bundle was made: items, features of users and events, durable in one SQLite file.

A write has happened when the call returns: it is on the disk, and every process that looks sees it. Each thing has one
row, its latest: an item, a user, a user's latest meeting with an item. So the file grows with the things, not with the
writes, and whoever reads all of it from the start has the whole truth.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tamis.errors import DiskFullError, FormatError, SettingError

RawId: TypeAlias = int | str

_FILE, _FORMAT = "updates.sqlite", 1
_ITEM, _USER, _EVENT = "item", "user", "event"
_BUSY_S = 5.0
_DAY_S = 86_400.0
_TABLE = """
CREATE TABLE IF NOT EXISTS updates(
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, owner TEXT, payload TEXT NOT NULL,
  at REAL NOT NULL, UNIQUE(kind, key));
CREATE INDEX IF NOT EXISTS by_owner ON updates(owner, id) WHERE owner IS NOT NULL;
"""


@dataclass(frozen=True)
class ItemUpdate:
    """What an item is since an update.

    Args:
        number: of the update; later ones have larger numbers.
        item: raw id.
        columns: all raw columns that updates gave, the id left out.
        is_offered: false where the item was removed.
    """

    number: int
    item: RawId
    columns: Mapping[str, Any]
    is_offered: bool


@dataclass(frozen=True)
class UserState:
    """What is known of a user besides the bundle.

    Args:
        features: raw columns.
        met: raw ids of items, by when each was met last, oldest first.
    """

    features: Mapping[str, Any] = field(default_factory=dict)
    met: Sequence[RawId] = ()


@dataclass(frozen=True)
class Event:
    """A user met an item: raw ids, and what happened, "click" say."""

    user: RawId
    item: RawId
    kind: str | None = None


class UpdateLog:
    """The file of updates in a folder. Any number of threads and processes may share it.

    Args:
        folder: is made where it is missing.
        history: how many of a user's latest events are read.
        max_bytes: larger than this the file does not grow; None leaves it to the disk.

    Raises:
        SettingError: the folder cannot be written.
        FormatError: the file is damaged, or of a newer version.
    """

    def __init__(self, folder: str | Path, *, history: int = 500, max_bytes: int | None = None) -> None:
        self.folder, self._history = Path(folder), history
        self._write_lock, self._readers = threading.Lock(), threading.local()
        self._all: list[sqlite3.Connection] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = self._connected()
            self._set_up(max_bytes)
        except (OSError, sqlite3.OperationalError) as error:
            raise SettingError(
                f"updates: {self.folder} cannot be written ({error}), so no update could be kept. Give another folder "
                "for the state, or make room."
            ) from error
        except sqlite3.DatabaseError as error:
            raise FormatError(
                f"{self.folder / _FILE}: it is no file of updates ({error}). Restore it, or move it away to start "
                "without updates."
            ) from error

    def _connected(self) -> sqlite3.Connection:
        found = sqlite3.connect(
            self.folder / _FILE, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        self._all.append(found)
        return found

    def _set_up(self, max_bytes: int | None) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk, also in WAL mode
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > _FORMAT:
            raise FormatError(
                f"{self.folder / _FILE}: format version {version} is newer than the {_FORMAT} that this Tamis reads. "
                "Upgrade Tamis."
            )
        if version < _FORMAT:
            self._writer.executescript(f"BEGIN IMMEDIATE; {_TABLE} PRAGMA user_version = {_FORMAT}; COMMIT;")
        if max_bytes is not None:
            page = self._writer.execute("PRAGMA page_size").fetchone()[0]
            self._writer.execute(f"PRAGMA max_page_count = {max(max_bytes // page, 1)}")

    def put_items(self, items: Sequence[tuple[RawId, Mapping[str, Any]]]) -> None:
        """Keep these raw columns of items, besides those that earlier updates gave; removed ones are back.

        Raises:
            DiskFullError: no room; nothing was kept.
        """

        def changed(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
            return {**old, "columns": {**old.get("columns", {}), **new}, "is_offered": True}

        self._change_items(items, changed)

    def remove_items(self, items: Iterable[RawId]) -> None:
        """Keep that these items are not on offer.

        Raises:
            DiskFullError: no room; nothing was kept.
        """
        self._change_items([(item, {}) for item in items], lambda old, _: {**old, "is_offered": False})

    def _change_items(
        self,
        items: Sequence[tuple[RawId, Mapping[str, Any]]],
        changed: Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        with self._writing() as write:
            for item, columns in items:
                old = write.execute("SELECT payload FROM updates WHERE kind = ? AND key = ?", (_ITEM, str(item)))
                found = old.fetchone()
                payload = changed({} if found is None else json.loads(found[0]), columns) | {"item": item}
                _put(write, _ITEM, str(item), None, payload)

    def put_user(self, user: RawId, features: Mapping[str, Any]) -> None:
        """Keep a user's raw features; they replace those that an earlier update gave.

        Raises:
            DiskFullError: no room; nothing was kept.
        """
        with self._writing() as write:
            _put(write, _USER, str(user), str(user), dict(features))

    def put_events(self, events: Sequence[Event]) -> None:
        """Keep events, in this order.

        Raises:
            DiskFullError: no room; nothing was kept.
        """
        with self._writing() as write:
            for event in events:
                key = json.dumps([str(event.user), str(event.item)])
                _put(write, _EVENT, key, str(event.user), {"item": event.item, "kind": event.kind})

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except sqlite3.OperationalError as error:
                self._roll_back()
                raise _refusal(error, self.folder) from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    @property
    def last_number(self) -> int:
        """The number of the latest update; 0 before the first."""
        return self._read("SELECT max(id) FROM updates").fetchone()[0] or 0

    def items_after(self, number: int, limit: int = 10_000) -> list[ItemUpdate]:
        """Updates of items with larger numbers, in order, at most so many."""
        rows = self._read(
            "SELECT id, payload FROM updates WHERE id > ? AND kind = ? ORDER BY id LIMIT ?", (number, _ITEM, limit)
        )
        found = [(number, json.loads(payload)) for number, payload in rows]
        return [ItemUpdate(n, one["item"], one.get("columns", {}), one["is_offered"]) for n, one in found]

    def columns_of(self, item: RawId) -> dict[str, Any]:
        """The raw columns that updates gave of an item."""
        rows = self._read("SELECT payload FROM updates WHERE kind = ? AND key = ?", (_ITEM, str(item)))
        found = rows.fetchone()
        return {} if found is None else json.loads(found[0]).get("columns", {})

    def user(self, user: RawId) -> UserState:
        """What updates say of a user."""
        rows = self._read(
            "SELECT kind, payload FROM updates WHERE owner = ? ORDER BY id DESC LIMIT ?",
            (str(user), self._history + 1),
        ).fetchall()
        found = [(kind, json.loads(payload)) for kind, payload in reversed(rows)]
        features = next((one for kind, one in found if kind == _USER), None)
        if features is None and len(rows) > self._history:
            features = self._features_of(user)
        return UserState(features or {}, [one["item"] for kind, one in found if kind == _EVENT][-self._history :])

    def _features_of(self, user: RawId) -> dict[str, Any] | None:
        rows = self._read("SELECT payload FROM updates WHERE kind = ? AND key = ?", (_USER, str(user)))
        found = rows.fetchone()
        return None if found is None else json.loads(found[0])

    def forget_events(self, *, older_than_days: float) -> int:
        """Drop events that are older, which a newer bundle has learned from: how many."""
        with self._writing() as write:
            limit = time.time() - older_than_days * _DAY_S
            return write.execute("DELETE FROM updates WHERE kind = ? AND at < ?", (_EVENT, limit)).rowcount

    def counts(self) -> dict[str, int]:
        """How many items, users and events there are updates of."""
        found = dict(self._read("SELECT kind, count(*) FROM updates GROUP BY kind").fetchall())
        return {kind: found.get(kind, 0) for kind in (_ITEM, _USER, _EVENT)}

    def _read(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        reader = getattr(self._readers, "connection", None)
        if reader is None:
            reader = self._readers.connection = self._connected()
        return reader.execute(query, values)

    def close(self) -> None:
        """Let go of the file."""
        for one in self._all:
            one.close()


def _put(write: sqlite3.Connection, kind: str, key: str, owner: str | None, payload: Mapping[str, Any]) -> None:
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
    write.execute(
        "INSERT OR REPLACE INTO updates(kind, key, owner, payload, at) VALUES (?, ?, ?, ?, ?)",
        (kind, key, owner, text, time.time()),
    )


def _refusal(error: sqlite3.OperationalError, folder: Path) -> Exception:
    """What a write that failed is told to the caller as."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return DiskFullError(
            f"updates: {folder} has no room for more ({error}). Nothing of this update was kept, and nothing earlier "
            "is lost. Make room, then send it again."
        )
    return error
