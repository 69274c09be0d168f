"""A bundle as a model repository of Triton Inference Server.

query_tower/  ranker/      the graphs, for the ONNX Runtime backend
recommend/                 the whole pipeline, for the Python backend; it holds the bundle
recommend_ensemble/        the same as a chain of models, for one user a request:
  recommend_features/      a user's encoded features
  query_tower/             her vector
  recommend_search/        the nearest items that she may get, with their encoded features
  ranker/                  the candidates' scores
  recommend_order/         the list
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tamis.folders import saving
from tamis.recommender.recommender import Recommender
from tamis.recommender.recommender_folder import identity_of
from tamis.serving.graph_tensors import MOST_QUERIES, RANKER, GraphModel, graph_models
from tamis.serving.recommend_tensors import MOST_USERS, RECOMMEND, K, RecommendTensors
from tamis.serving.tensors import TensorSpec
from tamis.serving.triton_config import Batching, EnsembleStep, ensemble_config, graph_config, python_config
from tamis.serving.triton_steps import FOR_RANKER, FOR_TOWER, RANKING, VECTOR, Steps, why_no_steps

KIND, VERSION = "triton repository", 1
ENSEMBLE, FEATURES, SEARCH, ORDER = (f"{RECOMMEND}_{part}" for part in ("ensemble", "features", "search", "order"))
_NUMBER, _BUNDLE = "1", "bundle"  # Triton's version of each model; the bundle's folder in it
_OWN = f"{_NUMBER}/{_BUNDLE}"
_SHARED = f"../{RECOMMEND}/{_OWN}"
_MODEL = '''"""Run by Triton's Python backend, in whose environment `tamis` must be installed."""

from tamis.serving.triton_python import {name} as TritonPythonModel  # noqa: F401
'''


@dataclass(frozen=True)
class TritonRepository:
    """What was written.

    Args:
        folder: the repository.
        models: their names.
        left_out: what could not be written, and why.
    """

    folder: Path
    models: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def export_triton(bundle: str | Path, repository: str | Path) -> TritonRepository:
    """Write a bundle as a model repository, which replaces an older one as a whole.

    Args:
        bundle: with ONNX files.
        repository: a folder of its own.

    Raises:
        FormatError: no bundle, one without ONNX files, or a folder that holds something else.
        MissingExtraError: ONNX Runtime is not installed.
    """
    source = Path(bundle)
    recommender = Recommender.load(source, runtime="onnx")
    found = TritonRepository(Path(repository))
    with saving(repository, kind=KIND, version=VERSION, bundle=identity_of(source)) as folder:
        _Writer(folder, source, recommender, found).write()
    return found


class _Writer:
    def __init__(self, folder: Path, bundle: Path, recommender: Recommender, found: TritonRepository) -> None:
        self._folder, self._bundle, self._recommender, self._found = folder, bundle, recommender, found

    def write(self) -> None:
        """All models."""
        graphs = graph_models(self._recommender)
        for model in graphs.values():
            self._write_graph(model)
        if self._recommender.ranker is not None and RANKER not in graphs:
            self._found.left_out[RANKER] = f"{self._recommender.ranker.model_name} is no ONNX graph"
        self._write_pipeline()
        why = why_no_steps(self._recommender)
        if why is None:
            self._write_steps()
        else:
            self._found.left_out[ENSEMBLE] = why

    def _model(self, name: str, config: str) -> Path:
        """The folder of a model's only version."""
        place = self._folder / name / _NUMBER
        place.mkdir(parents=True)
        (place.parent / "config.pbtxt").write_text(config, encoding="utf-8")
        self._found.models.append(name)
        return place

    def _write_graph(self, model: GraphModel) -> None:
        batching = Batching(MOST_QUERIES, (8, 32)) if model.is_batched else None
        place = self._model(model.name, graph_config(model.name, model.inputs, model.outputs, batching))
        file = model.graph.file
        shutil.copyfile(file, place / "model.onnx")
        for more in file.parent.glob(f"{file.name}.*"):  # large weights, which the graph finds by this name
            shutil.copyfile(more, place / more.name)

    def _write_pipeline(self) -> None:
        tensors = RecommendTensors(self._recommender)
        config = python_config(RECOMMEND, tensors.inputs, tensors.outputs, _OWN, Batching(MOST_USERS, (4, 16)))
        place = self._model(RECOMMEND, config)
        _write_code(place, "Recommend")
        shutil.copytree(self._bundle, place / _BUNDLE)

    def _write_steps(self) -> None:
        steps = Steps(self._recommender)
        parts = (
            (FEATURES, "Features", steps.feature_inputs, steps.feature_outputs),
            (SEARCH, "Search", steps.search_inputs, steps.search_outputs),
            (ORDER, "Order", steps.order_inputs, steps.order_outputs),
        )
        for name, code, inputs, outputs in parts:
            _write_code(self._model(name, python_config(name, inputs, outputs, _SHARED)), code)
        k = next(spec for spec in steps.search_inputs if spec.name == K)
        chain = _ensemble_steps(steps)
        # an empty folder is no part of many a copy, so there is a file
        place = self._model(ENSEMBLE, ensemble_config(ENSEMBLE, [*steps.feature_inputs, k], steps.order_outputs, chain))
        (place / "README").write_text("An ensemble has nothing but its config.pbtxt.\n", encoding="utf-8")


def _ensemble_steps(steps: Steps) -> list[EnsembleStep]:
    """The models in their order. Between them a tensor is called as the model that gives it calls it."""
    tower, ranker = steps.tower, steps.ranker
    found = [
        EnsembleStep(FEATURES, _same(steps.feature_inputs), _same(steps.feature_outputs)),
        EnsembleStep(tower.name, _prefixed(tower.inputs, FOR_TOWER), {tower.outputs[0].name: VECTOR}),
        EnsembleStep(SEARCH, _same(steps.search_inputs), _same(steps.search_outputs)),
    ]
    if ranker is not None:
        found.append(EnsembleStep(ranker.name, _prefixed(ranker.inputs, FOR_RANKER), {ranker.outputs[0].name: RANKING}))
    return [*found, EnsembleStep(ORDER, _same(steps.order_inputs), _same(steps.order_outputs))]


def _same(specs: Sequence[TensorSpec]) -> dict[str, str]:
    return {spec.name: spec.name for spec in specs}


def _prefixed(specs: Sequence[TensorSpec], prefix: str) -> dict[str, str]:
    return {spec.name: prefix + spec.name for spec in specs}


def _write_code(place: Path, name: str) -> None:
    (place / "model.py").write_text(_MODEL.format(name=name), encoding="utf-8")
