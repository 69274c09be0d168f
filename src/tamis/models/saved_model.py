"""A model as a folder: schema, settings, what `compile` chose, weights, items."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from tamis.errors import FormatError
from tamis.evaluation.metrics import METRICS, resolve_metrics
from tamis.folders import read_json, read_manifest, saving, write_json
from tamis.models.item_table import ItemTable
from tamis.schema import Schema
from tamis.training.optimizers import describe_optimizer, described_optimizer

if TYPE_CHECKING:
    from tamis.models.retrieval import RetrievalModel

KIND = "model"
VERSION = 1


def save_model(model: RetrievalModel, path: str | Path) -> None:
    """See `RetrievalModel.save`."""
    items = model.fitted_items()
    with saving(path, kind=KIND, version=VERSION, model=type(model).__name__) as folder:
        write_json(folder / "settings.json", model.settings())
        write_json(folder / "compiled.json", _compiled(model))
        model.schema.save(folder)
        weights = {name: t.cpu().contiguous() for name, t in model.towers.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        items.save(folder / "items.parquet")


def read_model(path: str | Path, registry: Mapping[str, type[RetrievalModel]]) -> RetrievalModel:
    """See `RetrievalModel.load`; `registry` holds the classes by name."""
    folder = Path(path)
    manifest = read_manifest(folder, kind=KIND, version=VERSION)
    if manifest["model"] not in registry:
        raise FormatError(f"{folder}: it holds a {manifest['model']!r}, which this Tamis does not know. Upgrade it.")
    model = registry[manifest["model"]].from_settings(Schema.load(folder), read_json(folder / "settings.json"))
    compiled = read_json(folder / "compiled.json")
    model.compile(**{**compiled, "optimizer": described_optimizer(compiled["optimizer"])})
    model.towers.load_state_dict(load_file(folder / "weights.safetensors"))
    model.items = ItemTable.load(folder / "items.parquet", model.item_schema)
    return model


def _compiled(model: RetrievalModel) -> dict[str, Any]:
    names = [metric.name for metric in resolve_metrics(model.metrics) if type(metric) in METRICS.values()]
    return {
        "optimizer": describe_optimizer(model.optimizer),
        "loss": model.loss,
        "precision": model.precision,
        "metrics": names or None,
    }
