"""The models that the server shows to clients of the Open Inference Protocol, and how each version answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from tamis.serving.degradation import LEVELS
from tamis.serving.graph_tensors import GraphModel, graph_models
from tamis.serving.inference_protocol import InferRequest
from tamis.serving.live_version import LiveVersion
from tamis.serving.recommend_tensors import RECOMMEND, RecommendTensors
from tamis.serving.request_models import RecommendRequest
from tamis.serving.service import Service
from tamis.serving.tensors import Array, ProtocolError

Model: TypeAlias = GraphModel | RecommendTensors
_TIMEOUT = "timeout"  # in microseconds


class V2Models:
    """Looks up models, and lets a service answer for them.

    Args:
        service: what answers.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._models: WeakKeyDictionary[LiveVersion, dict[str, Model]] = WeakKeyDictionary()

    def find(self, name: str, version: str | None) -> tuple[Model, LiveVersion]:
        """A model of this version, by default of the current one.

        Raises:
            ProtocolError: there is none of this name or version.
        """
        served = self._service.live.served
        known = served.versions
        if version is not None and version not in known:
            raise ProtocolError(f"path: there is no version {version!r}. There are {sorted(known)}.", 404)
        chosen = served.current if version is None else known[version]
        models = self._of(chosen)
        if name not in models:
            raise ProtocolError(f"path: there is no model {name!r}. There are {sorted(models)}.", 404)
        return models[name], chosen

    def _of(self, version: LiveVersion) -> dict[str, Model]:
        found = self._models.get(version)
        if found is None:
            found = {RECOMMEND: RecommendTensors(version.recommender), **graph_models(version.recommender)}
            self._models[version] = found
        return found

    def metadata(self, name: str, version: str | None) -> dict[str, Any]:
        """What a model takes and gives."""
        model, _ = self.find(name, version)
        return {
            "name": name,
            "versions": sorted(self._service.live.served.versions),
            "platform": model.platform,
            "inputs": [spec.told() for spec in model.inputs],
            "outputs": [spec.told() for spec in model.outputs],
        }

    def recommend(
        self, model: RecommendTensors, request: InferRequest, version: str | None, received: float
    ) -> tuple[dict[str, Array], str, dict[str, Any]]:
        """The outputs, the version that gave them, and what else is said.

        Raises:
            ProtocolError: a request out of the limits.
            TamisError: what `Service.recommend` refuses.
        """
        timeout_ms = _timeout_ms(request.parameters)
        rows = model.asked(request.inputs)
        told: list[Any] = [None] * sum(len(group.rows) for group in rows)
        degraded: list[str] = []
        for group in rows:
            try:
                asked = RecommendRequest(
                    users=list(group.users),
                    k=group.k,
                    context=dict(group.context),
                    timeout_ms=timeout_ms,
                    version=version,
                )
            except ValidationError as error:
                raise ProtocolError(f"inputs: {error.errors()[0]['msg']}.") from error
            found = self._service.recommend(asked, received=received)
            degraded += [] if found["degraded"] is None else [found["degraded"]]
            for row, one in zip(group.rows, found["results"], strict=True):
                told[row] = one
        outputs = model.answer([_list(one["items"]) for one in told])
        versions = ",".join(dict.fromkeys(one["version"] for one in told))
        return outputs, versions, {"degraded": max(degraded, key=LEVELS.index)} if degraded else {}


def _list(items: list[dict[str, Any]]) -> tuple[list[int | str], list[float]]:
    return [one["id"] for one in items], [math.nan if one["score"] is None else one["score"] for one in items]


def _timeout_ms(parameters: Mapping[str, Any]) -> float | None:
    given = parameters.get(_TIMEOUT)
    if given is None or given == 0:
        return None
    if type(given) is not int or not 0 < given <= 2**53:
        raise ProtocolError(f"parameters.{_TIMEOUT}: it is {given!r:.80}. Give microseconds, a whole number above 0.")
    return given / 1000
