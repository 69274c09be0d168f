"""Boosted trees by LightGBM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from tamis.errors import FormatError, MissingExtraError, SettingError, UnknownNameError
from tamis.models.scoring import RANKING
from tamis.models.target_check import MAX_GRADE
from tamis.models.tree_growth import Growth, Trees
from tamis.models.tree_model import TreeModel
from tamis.models.tree_rows import Floats, TreeRows
from tamis.training.ranking_step import BINARY, REGRESSION

_OBJECTIVES: dict[str, dict[str, Any]] = {
    BINARY: {"objective": "binary", "metric": "binary_logloss"},
    REGRESSION: {"objective": "regression", "metric": "l2"},
    # A gain is the grade itself, as in `NDCGByGroup`.
    RANKING: {
        "objective": "lambdarank", "metric": "ndcg", "eval_at": [10], "label_gain": list(range(MAX_GRADE + 1))
    },
}  # fmt: skip
_QUIET = {"verbosity": -1}


class LightGBMModel(TreeModel):
    """Boosted trees that are grown leaf by leaf; `objective="ranking"` is LambdaMART.

    The same rows, settings and seed give the same trees, whatever the number of threads.

    Args:
        schema: inputs and targets.
        objective: `"auto"` learns what the targets' tags say, `"ranking"` the order within each query.
        group: the column of the queries that rows belong to; by default the user id.
        params: LightGBM's own settings by their main names, such as `{"num_leaves": 63, "min_data_in_leaf": 50}`.

    Source: Ke et al., LightGBM, NeurIPS 2017; Burges, From RankNet to LambdaRank to LambdaMART, 2010.
    """

    elsewhere: ClassVar[Mapping[str, str]] = {
        "learning_rate": "compile(learning_rate=)",
        "seed": "fit(seed=)",
        "num_threads": "fit(num_threads=)",
        "num_iterations": "fit(num_trees=)",
        "objective": "objective= and the targets' tags",
        "metric": "objective= and the targets' tags",
        "scale_pos_weight": "compile(positive_weight=)",
        "verbosity": "fit(verbose=)",
    }

    def _need_library(self) -> None:
        _library(type(self).__name__)

    def _growth(
        self, target: str, rows: TreeRows, validation: TreeRows | None, *, seed: int, num_threads: int
    ) -> Growth:
        params: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "seed": seed,
            "num_threads": num_threads,
            **_QUIET,
        }
        # Sums in one order, so that threads do not change the last digits.
        params |= {"deterministic": True, "force_row_wise": not self.params.get("force_col_wise", False)}
        params |= {**_OBJECTIVES[self.objectives[target]], **self.params}
        codes = [place for place, is_code in enumerate(self.inputs.is_categorical) if is_code]
        return _Growth(params, self.params, codes, target, rows, self._weights_of(target, rows), validation)

    def _load_trees(self, folder: Path, name: str) -> Trees:
        lightgbm = _library(type(self).__name__)
        file = folder / f"{name}.txt"
        try:
            return _Trees(lightgbm.Booster(model_str=file.read_text(encoding="utf-8")))
        except lightgbm.basic.LightGBMError as error:
            raise FormatError(f"{file}: LightGBM cannot read it ({error}). Upgrade LightGBM.") from error


class _Trees(Trees):
    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def scores(self, matrix: Floats) -> Floats:
        found: Floats = self.booster.predict(matrix).astype(np.float32)
        return found

    def save(self, folder: Path, name: str) -> None:
        (folder / f"{name}.txt").write_text(self.booster.model_to_string(), encoding="utf-8")


class _Growth(Growth):
    def __init__(
        self,
        params: dict[str, Any],
        given: Mapping[str, Any],
        codes: list[int],
        target: str,
        rows: TreeRows,
        weights: Floats | None,
        validation: TreeRows | None,
    ) -> None:
        lightgbm = _library("fit")
        with _refusals_told(lightgbm):
            train = lightgbm.Dataset(
                rows.matrix,
                label=rows.labels[target],
                weight=weights,
                group=rows.sizes,
                categorical_feature=codes,
                params=params,
            )
            self.booster = lightgbm.Booster(params, train)
            if validation is not None:
                label, sizes = validation.labels[target], validation.sizes
                held_out = train.create_valid(validation.matrix, label=label, group=sizes, params=params)
                self.booster.add_valid(held_out, "validation")
        self.lightgbm, self.is_ranking = lightgbm, params["metric"] == "ndcg"
        self._check_known(given)

    def _check_known(self, given: Mapping[str, Any]) -> None:
        """LightGBM itself only prints that it ignores a name; what it has read stands in its text."""
        known = re.findall(r"^\[(\w+): ", self.booster.model_to_string(), flags=re.MULTILINE)
        for name in given:
            if name not in known:
                raise UnknownNameError(name, known, where="fit: LightGBM's params", what="setting")

    def grow(self) -> float | None:
        with _refusals_told(self.lightgbm):
            if self.booster.update():
                return None
        value = float(self.booster.eval_train()[0][2])
        return 1 - value if self.is_ranking else value

    def validation_scores(self) -> Floats:
        found: Floats = np.empty(0, dtype=np.float32)

        def keep(scores: Any, _: Any) -> tuple[str, float, bool]:
            nonlocal found
            found = scores.astype(np.float32)  # LightGBM keeps these up to date, and shows them to a metric only
            return "kept", 0.0, True

        self.booster.eval_valid(keep)
        return found

    def trees(self, num_trees: int) -> Trees:
        text = self.booster.model_to_string(num_iteration=num_trees)
        return _Trees(self.lightgbm.Booster(model_str=text))


@contextmanager
def _refusals_told(lightgbm: ModuleType) -> Iterator[None]:
    """LightGBM's errors as ours."""
    try:
        yield
    except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
        raise SettingError(f"fit: LightGBM refuses: {error}. Look at `params`.") from error


def _library(where: str) -> ModuleType:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("lightgbm", "trees", where=where) from error
    module: ModuleType = lightgbm
    return module
