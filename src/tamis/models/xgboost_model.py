"""Boosted trees by XGBoost."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from tamis.errors import MissingExtraError, SettingError
from tamis.models.scoring import RANKING
from tamis.models.tree_growth import Growth, Trees
from tamis.models.tree_model import TreeModel
from tamis.models.tree_rows import Floats, TreeRows
from tamis.training.ranking_step import BINARY, REGRESSION

_OBJECTIVES: dict[str, dict[str, Any]] = {
    BINARY: {"objective": "binary:logistic", "eval_metric": "logloss"},
    REGRESSION: {"objective": "reg:squarederror", "eval_metric": "rmse"},
    # A gain is the grade itself, as in `NDCGByGroup`.
    RANKING: {"objective": "rank:ndcg", "eval_metric": "ndcg@10", "ndcg_exp_gain": False},
}
_FIT, _COMPILE = "fit", "compile(learning_rate=)"


class XGBoostModel(TreeModel):
    """Boosted trees that are grown level by level; `objective="ranking"` is LambdaMART.

    Args:
        schema: inputs and targets.
        objective: `"auto"` learns what the targets' tags say, `"ranking"` the order within each query.
        group: the column of the queries that rows belong to; by default the user id.
        params: XGBoost's own settings, such as `{"max_depth": 8, "subsample": 0.8}`, or `{"device": "cuda"}`.

    Source: Chen and Guestrin, XGBoost, KDD 2016; Burges, From RankNet to LambdaRank to LambdaMART, 2010.
    """

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("learning_rate", "eta"), _COMPILE),
        **dict.fromkeys(("seed", "random_state"), f"{_FIT}(seed=)"),
        **dict.fromkeys(("nthread", "n_jobs"), f"{_FIT}(num_threads=)"),
        **dict.fromkeys(("n_estimators", "num_boost_round"), f"{_FIT}(num_trees=)"),
        **dict.fromkeys(("objective", "eval_metric"), "objective= and the targets' tags"),
        "scale_pos_weight": "compile(positive_weight=)",
    }

    def _need_library(self) -> None:
        _library(type(self).__name__)

    def _growth(
        self, target: str, rows: TreeRows, validation: TreeRows | None, *, seed: int, num_threads: int
    ) -> Growth:
        params: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "seed": seed,
            "nthread": num_threads,
            "verbosity": 1,
        }
        params |= {**_OBJECTIVES[self.objectives[target]], **self.params}
        kinds = ["c" if is_code else "q" for is_code in self.inputs.is_categorical]
        return _Growth(params, kinds, rows, rows.labels[target], self._weights_of(target, rows), validation)

    def _load_trees(self, folder: Path, name: str) -> Trees:
        booster = _library(type(self).__name__).Booster()
        booster.load_model(folder / f"{name}.json")
        return _Trees(booster)


class _Trees(Trees):
    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def scores(self, matrix: Floats) -> Floats:
        found: Floats = self.booster.inplace_predict(matrix, validate_features=False)
        return found

    def save(self, folder: Path, name: str) -> None:
        self.booster.save_model(folder / f"{name}.json")


class _Growth(Growth):
    def __init__(
        self,
        params: Mapping[str, Any],
        kinds: list[str],
        rows: TreeRows,
        label: Floats,
        weights: Floats | None,
        validation: TreeRows | None,
    ) -> None:
        xgboost = _library("fit")
        typed = {"feature_types": kinds, "enable_categorical": True, "nthread": params["nthread"]}
        grouped: dict[str, Any] = {} if rows.sizes is None else {"group": rows.sizes}
        if rows.sizes is not None and weights is not None:
            weights = weights[np.cumsum(rows.sizes) - rows.sizes]  # one weight a query
        with _refusals_told(xgboost):
            max_bin = {"max_bin": params["max_bin"]} if "max_bin" in params else {}
            self.train = xgboost.QuantileDMatrix(
                rows.matrix, label=label, weight=weights, **grouped, **typed, **max_bin
            )
            self.validation = None if validation is None else xgboost.DMatrix(validation.matrix, **typed)
            cached = [self.train] if self.validation is None else [self.train, self.validation]
            self.booster = xgboost.Booster(dict(params), cached)
            self.booster.save_config()  # reads the params, so that a wrong one is told before the work
        self.xgboost, self.metric, self.num_trees = xgboost, params["eval_metric"], 0

    def grow(self) -> float:
        with _refusals_told(self.xgboost):
            self.booster.update(self.train, self.num_trees)
        self.num_trees += 1
        told = self.booster.eval_set([(self.train, "train")])  # "[0]\ttrain-rmse:0.5"
        value = float(told.rsplit(":", 1)[1])
        return value**2 if self.metric == "rmse" else 1 - value if self.metric.startswith("ndcg") else value

    def validation_scores(self) -> Floats:
        found: Floats = self.booster.predict(self.validation)  # only the new tree is computed: the rest is cached
        return found

    def trees(self, num_trees: int) -> Trees:
        booster = self.booster[:num_trees] if num_trees < self.num_trees else self.booster
        return _Trees(booster.reset())


@contextmanager
def _refusals_told(xgboost: ModuleType) -> Iterator[None]:
    """XGBoost's errors, and its warnings about settings that it does not know, as ours."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            message = str(error).split("\n")[0]
            raise SettingError(f"fit: XGBoost refuses: {message}. Look at `params`.") from error
    for one in told:
        unknown = re.search(r"Parameters: \{ (.*) \} are not used", str(one.message))
        if unknown:
            raise SettingError(f"fit: XGBoost does not know {unknown[1]} of `params`. Look for a typing error.")
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _library(where: str) -> ModuleType:
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtraError("xgboost", "trees", where=where) from error
    module: ModuleType = xgboost
    return module
