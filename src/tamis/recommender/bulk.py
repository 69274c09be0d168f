"""Lists for everybody: a part of the users at a time into parquet, going on where a killed run stood."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tamis.disk_full import telling_disk_full
from tamis.errors import SettingError
from tamis.progress import progress
from tamis.recommender.answer import QUERY
from tamis.recommender.bulk_folder import BulkFolder, is_done, only_writer
from tamis.recommender.filters import Filter
from tamis.recommender.requests import Asked, Context, Request

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender


@dataclass(frozen=True)
class BulkRun:
    """What is asked of a recommender; see `Recommender.recommend_all`."""

    users: Asked | None
    k: int
    context: Context
    filters: Sequence[Filter]
    exclude_seen: bool
    show: tuple[str, ...]

    def request(self, recommender: Recommender) -> Request:
        """Everybody who is asked for."""
        return recommender.read(recommender.audience.ids if self.users is None else self.users, self.context)

    def settings(self, recommender: Recommender, request: Request, part_users: int) -> dict[str, Any]:
        """All that the rows depend on, as JSON holds it."""
        settings = {
            "recommender": recommender.identity,
            "users": "all" if self.users is None else _digest(request.ids.to_frame(), request.features),
            "context": _digest(request.context),
            "k": self.k,
            "filters": [one.describe() for one in self.filters],
            "exclude_seen": self.exclude_seen,
            "show": self.show,
            "part_users": part_users,
        }
        found: dict[str, Any] = json.loads(json.dumps(settings))
        return found


def _digest(*frames: pl.DataFrame) -> str:
    found = hashlib.sha256()
    for frame in frames:
        found.update(repr(frame.schema).encode())
        for part in frame.iter_slices(100_000):
            found.update(part.write_ndjson().encode() if part.width else b"")
    return found.hexdigest()


def recommend_all(
    recommender: Recommender, run: BulkRun, output: str | Path, *, part_users: int, resume: bool, verbose: bool
) -> Path:
    """See `Recommender.recommend_all`. While the run goes on, its parts lie in a folder beside the output."""
    if part_users < 1:
        raise SettingError(f"recommend_all: part_users is {part_users}. Give 1 user or more.")
    target = Path(output).expanduser()
    request = run.request(recommender)
    _answered(recommender, run, request.slice(0, 0), part=0)  # refuses what cannot be before anything is written
    settings = run.settings(recommender, request, part_users)
    starts = range(0, max(len(request), 1), part_users)
    work = target.with_name(f"{target.name}.parts")
    if is_done(target, settings, num_parts=len(starts), resume=resume):
        shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed at the very end
        return target
    with only_writer(work), telling_disk_full(target, work):
        folder = BulkFolder(work, settings, num_parts=len(starts), resume=resume)
        with progress("recommend", len(request), unit="users", verbose=verbose) as advance:
            for number, start in enumerate(starts):
                part = request.slice(start, part_users)
                if number not in folder.done:
                    frame, num_empty = _answered(recommender, run, part, part=number)
                    folder.write(number, _from(frame, start), num_empty=num_empty)
                advance(len(part))
        folder.finish(target)
    _warn_of_empty(folder.num_empty, len(request))
    return target


def _answered(recommender: Recommender, run: BulkRun, request: Request, *, part: int) -> tuple[pl.DataFrame, int]:
    """The rows of a part, and how many of its lists are empty. Steps that draw lots draw others in each part."""
    seeds = [getattr(step, "seed", None) for step in recommender.ordering]
    draws = [np.random.default_rng(None if seed is None else [seed, part]) for seed in seeds]
    answer = recommender.answer(request, run.k, filters=run.filters, exclude_seen=run.exclude_seen, generators=draws)
    frame = answer.frame(recommender.catalogue, recommender.item_id, run.show, by_rows=request.by_rows)
    return frame, len(answer.reasons)


def _from(frame: pl.DataFrame, start: int) -> pl.DataFrame:
    """The rows with the numbers of their requests in the whole run."""
    return frame.with_columns(pl.col(QUERY) + start) if QUERY in frame.columns[:1] else frame


def _warn_of_empty(num_empty: int, num_users: int) -> None:
    if num_empty:
        warnings.warn(
            f"recommend_all: {num_empty:,} of {num_users:,} lists are empty. Look at the filters, or at `recommend` of "
            "one of these users, which gives the reason.",
            stacklevel=4,
        )
