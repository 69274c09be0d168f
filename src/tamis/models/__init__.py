"""What a user names: fit, evaluate, predict, save, load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.models.model import Model


def load_model(path: str | Path) -> Model:
    """The model that `model.save(path)` wrote, whatever its class.

    Raises:
        FormatError: no such folder, another kind, changed files, or a newer version.
    """
    from tamis.models import (  # noqa: F401 # importing a class registers its name
        auto_int,
        dcn,
        deep_fm,
        din,
        dlrm,
        final_mlp,
        lightgbm_model,
        logistic_regression,
        matrix_factorization,
        mlp_model,
        two_tower,
        wide_and_deep,
        xgboost_model,
    )
    from tamis.models.model import Model

    return Model.load(path)
