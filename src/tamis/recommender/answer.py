"""The lists that requests get, with what each stage said of every item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tamis.errors import SettingError, UnknownColumnError
from tamis.recommender.candidates import Candidates
from tamis.recommender.catalogue import Catalogue

RANKER = "ranker_"  # before the name of what a ranker predicts
QUERY = "query"


@dataclass(frozen=True)
class Answer:
    """Lists of items for the requests of one call.

    Args:
        ids: [n] raw user ids; null where there is none.
        candidates: [n, k] the lists.
        source_names: what each bit of `found_by` stands for.
        targets: what the ranker predicts.
        reasons: why a request's list is empty, by its number.
        stage_ms: milliseconds of each stage, all requests together.
    """

    ids: pl.Series
    candidates: Candidates
    source_names: Sequence[str]
    targets: Sequence[str]
    reasons: Mapping[int, str]
    stage_ms: Mapping[str, float]

    def frame(self, catalogue: Catalogue, item_id: str, show: Sequence[str] = (), *, by_rows: bool) -> pl.DataFrame:
        """One row per recommended item; see `Recommender.recommend`."""
        lists = self.candidates
        query, place = np.nonzero(lists.items >= 0)
        rows = lists.items[query, place]
        columns = {
            self.ids.name: self.ids[query],
            "rank": pl.Series(place + 1, dtype=pl.Int64),
            item_id: catalogue.ids[rows],
            "score": pl.Series(lists.scores[query, place], dtype=pl.Float32),
            "retrieval_score": pl.Series(lists.retrieval[query, place], dtype=pl.Float32),
        }
        for number, target in enumerate(self.targets):
            assert lists.ranking is not None
            columns[RANKER + target] = pl.Series(lists.ranking[query, place, number], nan_to_null=True)
        columns["sources"] = self._sources(lists.found_by[query, place])
        frame = pl.DataFrame(columns)
        if by_rows:
            frame.insert_column(0, pl.Series(QUERY, query, dtype=pl.Int64))
        return frame if not show else frame.hstack(_shown(catalogue, show, frame.columns)[rows])

    def _sources(self, found_by: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.Series:
        kinds, inverse = np.unique(found_by, return_inverse=True)
        names = [[name for i, name in enumerate(self.source_names) if bits >> i & 1] for bits in kinds.tolist()]
        return pl.Series("sources", names, dtype=pl.List(pl.String))[inverse]


def _shown(catalogue: Catalogue, show: Sequence[str], taken: Sequence[str]) -> pl.DataFrame:
    """The raw columns to show, by item row.

    Raises:
        SettingError: there are no item columns, or a column would be there twice.
        UnknownColumnError: the items do not have the column.
    """
    if not catalogue.columns.width:
        raise SettingError("recommend: there are no item columns to show. Give `items` to Recommender.fit.")
    for name in show:
        if name in taken:
            raise SettingError(f"recommend: show: there is a column {name!r} in every answer. Leave it out.")
        if name not in catalogue.columns.columns:
            raise UnknownColumnError(name, catalogue.columns.columns, where="recommend: show")
    return catalogue.columns.select(show)


def joined(answers: Sequence[Answer], starts: Sequence[int]) -> Answer:
    """The answers of blocks as one; `starts` are the numbers of their first requests."""
    first = answers[0]
    if len(answers) == 1:
        return first
    width = max(answer.candidates.width for answer in answers)
    parts = [_widened(answer.candidates, width) for answer in answers]
    lists = Candidates(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("items", "scores", "found_by", "retrieval")
        ),
        ranking=None if parts[0].ranking is None else np.concatenate([part.ranking for part in parts]),  # type: ignore[misc]
    )
    reasons = {
        start + n: text for answer, start in zip(answers, starts, strict=True) for n, text in answer.reasons.items()
    }
    times = {name: sum(answer.stage_ms[name] for answer in answers) for name in first.stage_ms}
    ids = pl.concat([answer.ids for answer in answers])
    return Answer(ids, lists, first.source_names, first.targets, reasons, times)


def _widened(lists: Candidates, width: int) -> Candidates:
    at = np.where(np.arange(width) < lists.width, np.arange(width), -1)
    return lists.take(np.broadcast_to(at, (len(lists), width)))
