"""Candidates that many take: overall, among users like this one, or lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError, NotFittedError, SettingError, UnknownColumnError
from tamis.index import SearchResult
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import Queries
from tamis.recommender.source import Source
from tamis.recommender.sources.picking import Passing, ResultLists
from tamis.recommender.sources.ragged import Lists, best

_OVERALL = -1  # the segment of users of whom nothing is known
_SEGMENT = "__segment"


class Popular(Source):
    """The items with most interactions. It answers everybody, and the last candidates are items without any.

    With `by`, an item's score is its share of the interactions of the user's segment, as if `shrinkage` interactions of
    the whole population had been among them: (n_si + shrinkage p_i) / (n_s + shrinkage), with n_si the segment's
    interactions with the item, n_s all of them, and p_i the item's share overall. A segment with little data is thus
    close to the overall list, and users without features and segments without any data get that list itself.

    Args:
        quota: candidates a request; by default 100, or all items of a smaller catalogue.
        by: encoded user column or columns; users with equal values are a segment.
        half_life: an interaction counts half for every so much time since, up to the latest interaction: in the unit of
            the time column where that is a number, in days where it holds dates or datetimes, and in interactions where
            the recommender was fitted without one. None counts all alike.
        shrinkage: >= 0, in interactions, see above.
        name: what its candidates are marked with.

    Raises:
        SettingError: a setting out of its range.
    """

    def __init__(
        self,
        *,
        quota: int | None = None,
        by: str | Sequence[str] | None = None,
        half_life: float | None = None,
        shrinkage: float = 100.0,
        name: str | None = None,
    ) -> None:
        super().__init__(quota=quota, name=name)
        if half_life is not None and not half_life > 0:
            raise SettingError(f"Popular: half_life is {half_life}. Give a number above 0, or None to count all alike.")
        if not shrinkage >= 0:
            raise SettingError(f"Popular: shrinkage is {shrinkage}. Give a number from 0 on.")
        self.by = [] if by is None else [by] if isinstance(by, str) else list(by)
        self.half_life, self.shrinkage = half_life, shrinkage
        self._share: NDArray[np.float64] | None = None  # [items], overall

    def fit(self, catalogue: Catalogue, interactions: Interactions, audience: Audience) -> None:
        """Count, each interaction by its age.

        Raises:
            DataError: there are no interactions.
            UnknownColumnError: there is no such user column.
            SettingError: a segment's column holds lists.
        """
        if not len(interactions):
            raise DataError(
                f"{self.name}: there are no interactions to learn from. Fit on rows of known users and items."
            )
        self._check_columns(audience.features)
        weights = np.ones(len(interactions)) if self.half_life is None else _decay(interactions, self.half_life)
        counts = np.bincount(interactions.items, weights, minlength=len(catalogue))
        segments = audience.features.select(self.by).unique(maintain_order=True) if self.by else pl.DataFrame()
        self._hold(counts / counts.sum(), segments)
        members = self._segments_of(audience.features)[interactions.users]
        self._counts = _by_segment(members, interactions.items, weights, len(catalogue), len(segments))

    def _check_columns(self, features: pl.DataFrame) -> None:
        for name in self.by:
            if name not in features.columns:
                raise UnknownColumnError(name, features.columns, where=self.name, what="user column")
            if features.schema[name].is_nested():
                raise SettingError(
                    f"{self.name}: {name!r} holds lists, which make no segments. Give a column of single values."
                )

    def _hold(self, share: NDArray[np.float64], segments: pl.DataFrame) -> None:
        self._share, self._segments = share, segments.with_row_index(_SEGMENT)
        self._ranking = np.argsort(-share, kind="stable")

    def _segments_of(self, features: pl.DataFrame) -> Rows:
        """The number of each row's segment; -1 where none is known."""
        if not self.by:
            return np.full(len(features), _OVERALL)
        dtypes = {name: self._segments.schema[name] for name in self.by}
        rows = features.select(self.by).cast(dtypes)  # type: ignore[arg-type] # polars narrows the mapping's keys
        found = rows.join(self._segments, on=self.by, how="left", nulls_equal=True, maintain_order="left")
        return found[_SEGMENT].cast(pl.Int64).fill_null(_OVERALL).to_numpy()

    def search(
        self, queries: Queries, k: int, *, exclude: Sequence[Rows] | None = None, allow: Rows | None = None
    ) -> SearchResult:
        """The most popular items of each request's segment; equal ones by the smaller row."""
        where = f"{self.name}.search"
        passing = Passing(len(self._fitted()), len(queries), exclude, allow, where=where)
        lists = ResultLists(len(queries), k, where=where)
        segments = np.where(queries.has_features, self._segments_of(queries.features), _OVERALL)
        for segment in np.unique(segments).tolist():
            members = np.flatnonzero(segments == segment).tolist()
            scores, ranking = self._ranked(segment, passing, k + max(map(passing.num_hidden, members)))
            for query in members:
                lists.put_ranking(query, ranking, scores, passing)
        return lists.result()

    def _ranked(self, segment: int, passing: Passing, length: int) -> tuple[NDArray[np.float64], Rows]:
        """All items' scores in a segment, and the rows of the best that are allowed, best first."""
        share = self._fitted()
        if segment == _OVERALL:
            return share, self._ranking[passing.allowed[self._ranking]]
        place = slice(self._counts.offsets[segment], self._counts.offsets[segment + 1])
        items, counts = self._counts.values[place], self._counts.weights_at(place)
        total = counts.sum() + self.shrinkage
        if not total:  # a segment without interactions, and nothing of the others' either
            return share, self._ranking[passing.allowed[self._ranking]]
        scores = self.shrinkage * share
        scores[items] += counts
        scores /= total
        allowed = np.flatnonzero(passing.allowed)
        return scores, allowed[best(scores[allowed], length)]

    def _fitted(self) -> NDArray[np.float64]:
        if self._share is None:
            raise NotFittedError(f"{self.name}: it has counted nothing yet. Call Recommender.fit first.")
        return self._share

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        return {name: getattr(self, name) for name in ("quota", "by", "half_life", "shrinkage", "name")}

    def save(self, folder: Path) -> None:
        """Write the shares and the segments."""
        np.save(folder / "share.npy", self._fitted(), allow_pickle=False)
        self._segments.drop(_SEGMENT).write_parquet(folder / "segments.parquet")
        self._counts.save(folder, "counts")

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Read what `save` wrote."""
        source = cls(**settings)
        source._hold(np.load(folder / "share.npy", allow_pickle=False), pl.read_parquet(folder / "segments.parquet"))
        source._counts = Lists.load(folder, "counts")
        return source


def _decay(interactions: Interactions, half_life: float) -> NDArray[np.float64]:
    """What each interaction counts: 1 for the latest."""
    if interactions.times is None:
        moments = np.arange(len(interactions), dtype=np.float64)
    elif interactions.times.dtype.is_temporal():
        moments = interactions.times.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy() / 86_400e6
    else:
        moments = interactions.times.to_numpy().astype(np.float64)
    weights: NDArray[np.float64] = 0.5 ** ((moments.max() - moments) / half_life)
    return weights


def _by_segment(segments: Rows, items: Rows, weights: NDArray[np.float64], num_items: int, num_segments: int) -> Lists:
    """For each segment its items and the sum of their interactions' weights."""
    known = segments != _OVERALL
    pairs, inverse = np.unique(segments[known] * num_items + items[known], return_inverse=True)
    lists = Lists.of_pairs(pairs // num_items, pairs % num_items, num_segments)
    return replace(lists, weights=np.bincount(inverse, weights[known], minlength=len(pairs)))
