"""Towers and rankers in ONNX Runtime, in the place of the torch models that they were exported from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.dataset import Dataset
from tamis.errors import FormatError, SettingError
from tamis.evaluation.calibration import Calibrator, described_calibrator
from tamis.folders import read_json
from tamis.models.runtime_files import GRAPH, RUNTIME, TREES
from tamis.recommender.graph_inputs import Arrays, GraphInputs, take, wide
from tamis.recommender.id_rows import Rows
from tamis.recommender.onnx_session import Graph
from tamis.recommender.tree_runtime import TreeGraph
from tamis.schema import Schema, Tags

_CALIBRATION = "calibration.json"

Scores = NDArray[np.float32]


class OnnxEncoder:
    """A tower that an `Encoder` was exported as, with what sources ask of one.

    Args:
        folder: of the saved encoder.

    Raises:
        FormatError: it was not exported, or cannot be read.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, folder: Path) -> None:
        told = _told(folder)
        self.folder, self.schema = folder.absolute(), Schema.load(folder)
        self.has_item_bias: bool = told["has_item_bias"]
        self.inputs, self.graph = GraphInputs.described(told["inputs"], "Encoder"), Graph(folder / GRAPH)

    def encode(self, data: Any, *, batch_size: int = 4096) -> NDArray[np.float32]:
        """Vectors of a dataset's or frame's rows, in their order: [rows, dim] float32.

        Raises:
            UnknownColumnError: an input column is missing.
            DataError: nulls, or what is no number.
            SettingError: a code outside its column's categories.
        """
        frame = data if isinstance(data, pl.DataFrame) else Dataset(data).compute()
        if len(frame) == 1:
            return self.encode_row(frame.row(0, named=True))
        parts = [self.graph.run(wide(self.inputs.rows(part))) for part in frame.iter_slices(batch_size)]
        return np.concatenate(parts) if parts else self.graph.run(wide(self.inputs.rows(frame)))

    def encode_row(self, values: Mapping[str, Any]) -> NDArray[np.float32]:
        """The vector of one row, by column: [1, dim]; see `encode`."""
        return self.graph.run(self.inputs.row(values))

    def save(self, path: str | Path) -> None:
        """Write the saved encoder again."""
        copy_part(self.folder, Path(path))


class ExportedRanker:
    """What a `Ranker` asks of a ranking model, of one that was exported.

    Args:
        folder: of the saved model.

    Raises:
        FormatError: it was not exported, or cannot be read.
        MissingExtraError: the library that it runs in is not installed.
    """

    def __init__(self, folder: Path) -> None:
        told = _told(folder)
        self.folder, self.model_name = folder.absolute(), str(told["model"])
        self.targets = [str(name) for name in told["targets"]]
        schema = Schema.load(folder)
        self.input_schema = schema - schema.select_by_tag(Tags.TARGET)
        self.query_inputs, self.item_inputs = (
            GraphInputs.described(told[side], "Ranker") for side in ("query", "items")
        )
        self._calibrators = _calibrators(folder)
        self.graph: Graph | TreeGraph
        if told["kind"] in TREES:
            self.graph = TreeGraph(folder, told["kind"], told["columns"], len(self.targets))
        else:
            self.graph = Graph(folder / GRAPH)

    def scorer(self, items: pl.DataFrame) -> OnnxScorer:
        """Scores over these items, encoded, one row each."""
        return OnnxScorer(self, items)

    def save(self, path: str | Path) -> None:
        """Write the saved model again."""
        copy_part(self.folder, Path(path))

    def run(self, query: Arrays, items: Arrays) -> Scores:
        """Calibrated scores of one query's candidates: [candidates, targets]."""
        return self.calibrated(self.graph.run(query | wide(items)))

    def calibrated(self, scores: Scores) -> Scores:
        """The graph's scores [candidates, targets] as `calibrate` found that they should be; changes them in place."""
        for column, name in enumerate(self.targets):
            if name in self._calibrators:
                scores[:, column] = self._calibrators[name].apply(scores[:, column])
        return scores


class OnnxScorer:
    """Scores of many candidates for a query, as CandidateScorer gives them; the items' features are kept as columns.

    Args:
        ranker: what scores.
        item_features: encoded, one row per item; `item_rows` count these rows from 0.

    Raises:
        UnknownColumnError: an item column is missing.
        SettingError: item codes outside the model's categories.
    """

    def __init__(self, ranker: ExportedRanker, item_features: pl.DataFrame) -> None:
        self._ranker, self.num_items = ranker, len(item_features)
        self._items = ranker.item_inputs.rows(item_features)

    def score(self, query: Mapping[str, Any], item_rows: Rows) -> Scores:
        """Scores of candidates for one query: calibrated probabilities, or amounts: [n, targets].

        Raises:
            UnknownColumnError: the query lacks a column.
            SettingError: item rows that are not there, or codes outside the model's categories.
            DataError: a query's value that is no number, or null.
        """
        rows = np.asarray(item_rows, np.int64).reshape(-1)
        self._check_rows(rows, lowest=0)
        features = self._ranker.query_inputs.row(query)
        if not len(rows):
            return np.empty((0, len(self._ranker.targets)), np.float32)
        return self._ranker.run(features, take(self._items, rows))

    def score_many(self, queries: pl.DataFrame, item_rows: Rows) -> Scores:
        """Scores of each query's own candidates: [queries, width, targets], minus infinity where there is none.

        Args:
            queries: the encoded features, one row per query.
            item_rows: [queries, width], -1 where a query has fewer candidates.

        Raises:
            SettingError: other rows than `queries` has, or item rows that are not there.
        """
        rows = np.asarray(item_rows, np.int64)
        if rows.ndim != 2 or len(rows) != len(queries):
            raise SettingError(
                f"score_many: item_rows has the shape {list(rows.shape)} beside {len(queries)} queries. Give one row "
                "of candidates per query."
            )
        self._check_rows(rows, lowest=-1)
        scores = np.full((*rows.shape, len(self._ranker.targets)), -np.inf, np.float32)
        for query, own, found in zip(queries.iter_rows(named=True), rows, scores, strict=True):
            is_there = own >= 0
            found[is_there] = self.score(query, own[is_there])
        return scores

    def _check_rows(self, rows: Rows, *, lowest: int) -> None:
        if rows.size and (rows.min() < lowest or rows.max() >= self.num_items):
            wrong = int(rows.min() if rows.min() < lowest else rows.max())
            raise SettingError(
                f"Ranker: item row {wrong} is not among the {self.num_items} rows of its item features. Give rows that "
                "count from 0."
            )


def copy_part(source: Path, target: Path) -> None:
    """Write a part of a bundle as it was loaded, the torch weights beside the graph.

    Raises:
        FormatError: it is not there any more.
    """
    if not source.is_dir():
        raise FormatError(
            f"{source}: the folder that this was loaded from is gone. Load it with runtime='torch' to save it."
        )
    shutil.copytree(source, target)


def _told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder / RUNTIME)
    return found


def _calibrators(folder: Path) -> dict[str, Calibrator]:
    found = read_json(folder / _CALIBRATION) if (folder / _CALIBRATION).is_file() else {}
    return {name: described_calibrator(curve) for name, curve in found.items()}
