"""Boosted trees without torch: the files that XGBoost and LightGBM wrote, over the columns of a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamis.errors import DataError, MissingExtraError
from tamis.recommender.graph_inputs import Array, Arrays


class TreeGraph:
    """The trees of each target, run as a `Graph` is.

    Args:
        folder: of the saved model.
        library: `"xgboost"` or `"lightgbm"`.
        columns: in the order of the features that the trees read.
        num_targets: each has trees of its own.

    Raises:
        MissingExtraError: the library is not installed.
    """

    def __init__(self, folder: Path, library: str, columns: Sequence[str], num_targets: int) -> None:
        self._columns, self._is_xgboost = columns, library == "xgboost"
        files = [folder / f"trees_{number}" for number in range(num_targets)]
        try:
            self._boosters = [_xgboost(file) if self._is_xgboost else _lightgbm(file) for file in files]
        except ImportError as error:
            raise MissingExtraError(library, "trees", where="Recommender.load") from error

    def run(self, inputs: Arrays) -> Array:
        """Scores: [candidates, targets] float32."""
        matrix = self._matrix(inputs)
        if self._is_xgboost:
            found = [one.inplace_predict(matrix, validate_features=False) for one in self._boosters]
        else:
            found = [one.predict(matrix, num_threads=1) for one in self._boosters]
        return np.stack(found, axis=1).astype(np.float32)

    def _matrix(self, inputs: Arrays) -> Array:
        num_rows = max(len(one) for one in inputs.values())
        parts = [inputs[name].reshape(len(inputs[name]), -1) for name in self._columns]
        starts = np.cumsum([0, *(part.shape[1] for part in parts)])
        matrix = np.empty((num_rows, int(starts[-1])), np.float32)
        for name, part, start in zip(self._columns, parts, starts.tolist(), strict=False):
            if part.dtype == np.float32 and np.isinf(part).any():
                raise DataError(f"column {name!r}: it holds infinite numbers, which no tree splits. Clip or drop them.")
            matrix[:, start : start + part.shape[1]] = part
        return matrix


def _xgboost(file: Path) -> Any:
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(file.with_suffix(".json"))
    return booster


def _lightgbm(file: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=file.with_suffix(".txt").read_text(encoding="utf-8"))
