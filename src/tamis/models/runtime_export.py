"""Saved towers and rankers made ready for servers without torch: an ONNX file, and what it takes, in their folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tamis.errors import SchemaError
from tamis.folders import write_json
from tamis.models.encoder import Encoder
from tamis.models.lightgbm_model import LightGBMModel
from tamis.models.onnx_export import export_encoder
from tamis.models.ranking import RankingModel
from tamis.models.ranking_onnx import export_ranker
from tamis.models.runtime_files import GRAPH, RUNTIME
from tamis.models.scoring import ScoringModel
from tamis.models.tree_model import TreeModel
from tamis.models.tree_rows import TreeInputs
from tamis.models.xgboost_model import XGBoostModel
from tamis.nn.inputs import split_inputs
from tamis.schema import ColumnSchema, Schema

_MOST_CODES = 2**24  # of a column of a tree model without a domain


def export_encoder_folder(encoder: Encoder, folder: Path) -> None:
    """Add the ONNX file and its description to the folder that `encoder.save` wrote."""
    export_encoder(encoder, folder / GRAPH, is_shared=True)
    told = {"kind": "onnx", "has_item_bias": encoder.has_item_bias, "inputs": _told(encoder.schema)}
    write_json(folder / RUNTIME, told)


def export_ranker_folder(model: ScoringModel, query_columns: Sequence[str], folder: Path) -> None:
    """Add to the folder that `model.save` wrote what runs without torch; trees run as they are.

    Raises:
        SchemaError: a model of a kind that cannot be exported.
        SettingError: the exported file gives other scores.
    """
    told: dict[str, Any] = {"model": type(model).__name__, "targets": model.targets}
    if isinstance(model, RankingModel):
        export_ranker(model, query_columns, folder / GRAPH, is_shared=True)
        told["kind"] = "onnx"
    elif isinstance(model, TreeModel):
        told |= {"kind": _library_of(model), "columns": _matrix_columns(model.inputs)}
    else:
        raise SchemaError(
            f"to_onnx: a {type(model).__name__} is neither a network nor one of trees, so it has no ONNX file. Save "
            "the recommender without onnx=True."
        )
    query = model.input_schema.select_by_name(list(query_columns))
    told |= {"query": _told(query), "items": _told(model.input_schema - query)}
    write_json(folder / RUNTIME, told)


def _library_of(model: TreeModel) -> str:
    for kind, library in ((XGBoostModel, "xgboost"), (LightGBMModel, "lightgbm")):
        if isinstance(model, kind):
            return library
    raise SchemaError(f"to_onnx: no server knows how to run a {type(model).__name__}. Save it without onnx=True.")


def _matrix_columns(inputs: TreeInputs) -> list[str]:
    """The columns in the order of the features that trees read."""
    return [column.name for column in [*inputs.continuous, *inputs.categorical]]


def _told(schema: Schema) -> list[dict[str, Any]]:
    """The columns as `recommender.graph_inputs` reads them."""
    codes = {column.name for column in split_inputs(schema)[0]} if len(schema) else set()
    return [_column(column, is_code=column.name in codes) for column in schema]


def _column(column: ColumnSchema, *, is_code: bool) -> dict[str, Any]:
    return {
        "name": column.name,
        "num_codes": (column.cardinality or _MOST_CODES) if is_code else None,
        "width": column.width,
        "is_list": column.is_list and column.width is None,
    }
