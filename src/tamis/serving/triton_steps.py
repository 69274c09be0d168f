"""The steps of the pipeline that are no graph, each with tensors in and out, so that another server can chain them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from tamis.recommender.allowed_items import Allowed
from tamis.recommender.candidates import Candidates
from tamis.recommender.graph_inputs import OFFSETS, VALUES, Arrays, take, wide
from tamis.recommender.onnx_runtime import ExportedRanker, OnnxEncoder
from tamis.recommender.queries import Queries
from tamis.recommender.recommender import Recommender
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.serving.answering import Question, quotas
from tamis.serving.asked_users import AskedUser
from tamis.serving.graph_tensors import QUERY_TOWER, RANKER, graph_models
from tamis.serving.live_version import LiveVersion
from tamis.serving.recommend_tensors import K, RecommendTensors, check_k
from tamis.serving.tensors import Array, TensorSpec
from tamis.serving.triton_pipeline import lists_of
from tamis.serving.update_log import UserState

VECTOR, USER_ROW, SEEN = "vector", "user_row", "seen"
CANDIDATES, RETRIEVAL, FOUND_BY, RANKING = "candidates", "retrieval", "found_by", "ranking"
FOR_TOWER, FOR_RANKER = "tower_", "ranker_"  # before the names of what goes into the graphs


class Steps:
    """The pipeline around the graphs of its towers and its ranker, for one user a request.

    The steps: `features` of a user, then the query tower, `search`, then the ranker, and `order`.

    Args:
        recommender: loaded in ONNX Runtime, and one for which `why_no_steps` is None.
    """

    def __init__(self, recommender: Recommender) -> None:
        self._recommender, self._version = recommender, LiveVersion("bundle", recommender)
        self._tensors = RecommendTensors(recommender)
        models = graph_models(recommender)
        self.tower, self.ranker = models[QUERY_TOWER], models.get(RANKER)
        source = recommender.sources[0]
        assert isinstance(source, Retrieval) and isinstance(source.query_encoder, OnnxEncoder)
        self._encoder, self._given = source.query_encoder, _GivenVector(source.query_encoder)
        source.query_encoder = self._given  # type: ignore[assignment] # its vectors come with the requests
        self._items: tuple[int, Arrays] | None = None

    @property
    def feature_inputs(self) -> tuple[TensorSpec, ...]:
        """What `features` takes: a user's id and the whole context."""
        found = [spec for spec in self._tensors.inputs if spec.name != K]
        return tuple(TensorSpec(spec.name, spec.datatype, (1, 1)) for spec in found)

    @property
    def feature_outputs(self) -> tuple[TensorSpec, ...]:
        """What `features` gives: who that is, and what both graphs take of a user."""
        own = (TensorSpec(USER_ROW, "INT64", (1,)), TensorSpec(SEEN, "INT64", (-1,)))
        tower = (replace(spec, name=FOR_TOWER + spec.name, shape=_one_row(spec.shape)) for spec in self.tower.inputs)
        return (*own, *tower, *self._for_ranker(of_items=False))

    @property
    def search_inputs(self) -> tuple[TensorSpec, ...]:
        """What `search` takes."""
        user = (TensorSpec(USER_ROW, "INT64", (1,)), TensorSpec(SEEN, "INT64", (-1,)), TensorSpec(K, "INT64", (1, 1)))
        return (TensorSpec(VECTOR, "FP32", self.tower.outputs[0].shape), *user)

    @property
    def search_outputs(self) -> tuple[TensorSpec, ...]:
        """What `search` gives: rows of items, their scores, and what the ranker takes of them."""
        found = (
            TensorSpec(CANDIDATES, "INT64", (-1,)),
            TensorSpec(RETRIEVAL, "FP32", (-1,)),
            TensorSpec(FOUND_BY, "INT64", (-1,)),
        )
        return (*found, *self._for_ranker(of_items=True))

    @property
    def order_inputs(self) -> tuple[TensorSpec, ...]:
        """What `order` takes."""
        user = self.search_inputs[1:]
        found = self.search_outputs[:3]
        return (*user, *found, *([] if self.ranker is None else [self._ranking()]))

    @property
    def order_outputs(self) -> tuple[TensorSpec, ...]:
        """What `order` gives: what the whole pipeline does."""
        return self._tensors.outputs

    def _ranking(self) -> TensorSpec:
        assert self.ranker is not None
        return TensorSpec(RANKING, "FP32", self.ranker.outputs[0].shape)

    def _for_ranker(self, *, of_items: bool) -> tuple[TensorSpec, ...]:
        model = self._ranking_model()
        if model is None or self.ranker is None:
            return ()
        columns = model.item_inputs.columns if of_items else model.query_inputs.columns
        names = {column.name for column in columns}
        specs = [spec for spec in self.ranker.inputs if _column(spec.name) in names]
        return tuple(replace(spec, name=FOR_RANKER + spec.name) for spec in specs)

    def _ranking_model(self) -> ExportedRanker | None:
        ranker = self._recommender.ranker
        return ranker.model if ranker is not None and isinstance(ranker.model, ExportedRanker) else None

    def features(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The features of one user; of an unknown one, somebody's, since the graphs must be fed."""
        (group,) = self._tensors.asked(inputs)
        user = AskedUser(group.users[0])
        queries = self._version.users.queries([user], [UserState()], group.context)
        row = queries.features.row(0, named=True)
        found: dict[str, Array] = {USER_ROW: queries.users, SEEN: queries.seen[0].astype(np.int64)}
        found |= _named(self._encoder.inputs.row(row), FOR_TOWER)
        model = self._ranking_model()
        if model is not None:
            found |= _named(model.query_inputs.row(row), FOR_RANKER)
        return _shaped(found, self.feature_outputs)

    def search(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The candidates of one user, at least one place, which is -1 where nothing was found."""
        queries, k = self._query(inputs)
        self._given.vector = inputs[VECTOR]
        quota = quotas(self._version, Question([], k))
        found = self._recommender.candidates(queries, self._allowed(queries), quotas=quota)
        places = np.flatnonzero(found.items[0] >= 0)
        rows = found.items[0][places] if len(places) else np.array([-1], np.int64)
        places = places if len(places) else np.zeros(1, np.int64)
        shown = {
            CANDIDATES: rows,
            RETRIEVAL: found.retrieval[0][places] if found.width else np.zeros(1, np.float32),
            FOUND_BY: found.found_by[0][places] if found.width else np.zeros(1, np.int64),
        }
        model = self._ranking_model()
        if model is not None:
            shown |= _named(wide(take(self._item_arrays(model), np.maximum(rows, 0))), FOR_RANKER)
        return _shaped(shown, self.search_outputs)

    def order(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The list of one user, out of candidates with the ranker's scores."""
        queries, k = self._query(inputs)
        is_there = inputs[CANDIDATES] >= 0
        ranking = None
        model = self._ranking_model()
        if model is not None:
            ranking = model.calibrated(np.array(inputs[RANKING], np.float32))[is_there][None]
            ranking[~queries.has_features] = np.nan
        retrieval = inputs[RETRIEVAL][is_there][None]
        items, found_by = inputs[CANDIDATES][is_there][None], inputs[FOUND_BY][is_there][None]
        found = Candidates(items, retrieval, found_by, retrieval, ranking)
        lists = self._recommender.order(found, k, self._allowed(queries))
        return self._tensors.answer(lists_of(self._recommender, lists))

    def _query(self, inputs: Mapping[str, Array]) -> tuple[Queries, int]:
        """Who asks, as the stages after the features see it."""
        users = np.asarray(inputs[USER_ROW], np.int64)
        k = int(inputs[K].reshape(-1)[0])
        check_k(k, f"inputs.{K}")
        return Queries(users, pl.DataFrame({"": [0]}), users >= 0, [np.asarray(inputs[SEEN], np.int64)]), k

    def _allowed(self, queries: Queries) -> Allowed:
        return self._version.filters.allowed(queries, (), np.zeros(0, np.int64), exclude_seen=True)

    def _item_arrays(self, model: ExportedRanker) -> Arrays:
        catalogue = self._recommender.catalogue
        if self._items is None or self._items[0] != catalogue.version:
            self._items = (catalogue.version, model.item_inputs.rows(catalogue.features))
        return self._items[1]


class _GivenVector:
    """A query tower that another server ran already."""

    def __init__(self, encoder: OnnxEncoder) -> None:
        self.schema, self.vector = encoder.schema, np.zeros((1, 1), np.float32)

    def encode(self, data: Any) -> Array:
        """The vector that came with the request."""
        return self.vector


def why_no_steps(recommender: Recommender) -> str | None:
    """Why the pipeline cannot be taken apart into steps; None where it can."""
    if len(recommender.sources) != 1 or not isinstance(recommender.sources[0], Retrieval):
        kinds = ", ".join(type(source).__name__ for source in recommender.sources)
        return f"its sources are {kinds}, not a single Retrieval"
    if recommender.ranker is not None and RANKER not in graph_models(recommender):
        return f"its ranker {recommender.ranker.model_name} is no ONNX graph"
    return None if len(recommender.audience) else "it knows no users"


def _column(name: str) -> str:
    return name.removesuffix(VALUES).removesuffix(OFFSETS)


def _one_row(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a batch, the shape of one row."""
    return (1, *shape[1:]) if len(shape) > 1 else tuple(shape)


def _named(arrays: Arrays, prefix: str) -> Arrays:
    return {prefix + name: one for name, one in arrays.items()}


def _shaped(found: Mapping[str, Array], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """What these tensors are; what a graph has no use for is left out."""
    return {spec.name: found[spec.name].reshape(spec.shape) for spec in specs}
