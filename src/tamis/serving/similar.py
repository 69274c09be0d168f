"""Items that resemble an item, by the vectors or the company that a source knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import SettingError, UnknownNameError
from tamis.index import SearchResult
from tamis.recommender.candidates import Candidates
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries
from tamis.recommender.recommender import Recommender
from tamis.recommender.source import Source
from tamis.recommender.sources.item_item import ItemItem
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.recommender.sources.similar_items import SimilarItems
from tamis.serving.answering import rows_of_items
from tamis.serving.live_version import LiveVersion
from tamis.serving.update_log import RawId

_KINDS: tuple[type[Source], ...] = (SimilarItems, ItemItem, Retrieval)  # the first that there is answers
_MORE, _LEAST = 10, 200  # an inner product finds so many more, of which the cosine keeps the best


def similar_lists(
    version: LiveVersion,
    items: Sequence[RawId],
    k: int,
    *,
    conditions: tuple[str, ...] = (),
    exclude: Sequence[RawId] = (),
    source: str | None = None,
) -> tuple[Candidates, Rows, str]:
    """The `k` items most like each; the row of each item, -1 if unknown; and the source that was asked.

    Raises:
        SettingError: no source knows what items have in common.
        UnknownNameError: there is no such source among those that do.
    """
    recommender = version.recommender
    asked = _source(recommender, source)
    rows = recommender.catalogue.rows_of(pl.Series([str(item) for item in items]))
    nobody = _queries(recommender, rows)
    allowed = version.filters.allowed(nobody, conditions, rows_of_items(version, exclude), exclude_seen=False)
    # an item is not similar to itself, and what is not wanted stays out; recommendations' SeenItems is no concern here
    gone = [np.append(one, [] if allowed.exclude is None else allowed.exclude[i]) for i, one in enumerate(nobody.seen)]
    exclusions = [one.astype(np.int64) for one in gone]
    if isinstance(asked, Retrieval):
        found = _nearest(recommender, asked, rows, k, exclusions, allowed.rows)
    else:
        found = recommender.search(asked, nobody, replace(allowed, exclude=exclusions), k=k)
    bit = recommender.sources.index(asked)
    found_by = np.where(found.ids >= 0, 1 << bit, 0).astype(np.int64)
    scores = found.scores.astype(np.float32)
    return Candidates(found.ids, scores, found_by, scores).first(k), rows, asked.name


def _source(recommender: Recommender, name: str | None) -> Source:
    able = [one for kind in _KINDS for one in recommender.sources if isinstance(one, kind)]
    if not able:
        raise SettingError("similar-items: no source of the bundle knows what items have in common. Add SimilarItems.")
    if name is None:
        return able[0]
    for one in able:
        if one.name == name:
            return one
    raise UnknownNameError(name, [one.name for one in able], where="similar-items", what="source")


def _queries(recommender: Recommender, rows: Rows) -> Queries:
    """Somebody of whom nothing is known but that they met this item."""
    seen = [rows[[i]] if row >= 0 else rows[:0] for i, row in enumerate(rows.tolist())]
    nothing: Any = recommender.audience.features.clear(len(rows))
    return Queries(np.full(len(rows), -1, np.int64), nothing, np.zeros(len(rows), np.bool_), seen)


def _nearest(
    recommender: Recommender, source: Retrieval, rows: Rows, k: int, exclude: Sequence[Rows], allow: Rows | None
) -> SearchResult:
    """By the cosine of the item vectors: those with large inner products, put in its order."""
    catalogue = recommender.catalogue
    ids, scores = np.full((len(rows), k), -1, np.int64), np.full((len(rows), k), -np.inf, np.float32)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        return SearchResult(scores, ids)
    # some towers end with the item's popularity, which says nothing of what it is like
    width = source.index.dim - int(source.candidate_encoder.has_item_bias)
    vectors = _unit(source.vectors_of(catalogue, rows[known])[:, :width])
    asked = np.pad(vectors, ((0, 0), (0, source.index.dim - width)))
    most = min(max(_MORE * k, _LEAST), len(catalogue))
    found = source.index.search(asked, most, exclude=[exclude[row] for row in known.tolist()], allow=allow)
    for query, at in enumerate(known.tolist()):
        near = found.ids[query][found.ids[query] >= 0]
        if not len(near):
            continue
        cosines = _unit(source.vectors_of(catalogue, near)[:, :width]) @ vectors[query]
        best = np.argsort(-cosines, kind="stable")[:k]
        ids[at, : len(best)], scores[at, : len(best)] = near[best], cosines[best]
    return SearchResult(scores, ids)


def _unit(vectors: Any) -> Any:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
