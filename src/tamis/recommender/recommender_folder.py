"""The bundle: a recommender as one folder of JSON, parquet, safetensors and the indexes' own files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.errors import FormatError
from tamis.features.workflow import Workflow
from tamis.folders import read_json, read_manifest, saving, write_json
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import Filter
from tamis.recommender.interactions import Interactions
from tamis.recommender.ordering import Ordering
from tamis.recommender.recommender import Recommender
from tamis.recommender.source import Source

if TYPE_CHECKING:
    from tamis.models.scoring import ScoringModel

KIND, VERSION = "recommender", 1
_SETTINGS, _RANKER, _WORKFLOW, _SOURCES = "recommender.json", "ranker", "workflow", "sources"


def save_recommender(recommender: Recommender, path: str | Path) -> None:
    """Write a fitted recommender.

    Raises:
        NotFittedError: it is not fitted.
    """
    workflow, catalogue, audience, interactions = recommender.parts
    counts = {"num_items": len(catalogue), "num_users": len(audience)}
    with saving(path, kind=KIND, version=VERSION, **counts) as folder:
        write_json(folder / _SETTINGS, _settings(recommender))
        workflow.save(folder / _WORKFLOW)
        for part in (catalogue, audience, interactions):
            part.save(folder)
        for source in recommender.sources:
            place = folder / _SOURCES / source.name
            place.mkdir(parents=True)
            source.save(place)
        if recommender.ranker is not None:
            recommender.ranker.model.save(folder / _RANKER)


def load_recommender(path: str | Path) -> Recommender:
    """Read what `save_recommender` wrote.

    Raises:
        FormatError: no such folder, another kind, a missing or changed file, or a newer version.
    """
    folder = Path(path)
    read_manifest(folder, kind=KIND, version=VERSION)
    settings = read_json(folder / _SETTINGS)
    sources = [_source(folder, **one) for one in settings.pop("sources")]
    recommender = Recommender(
        sources,
        filters=[Filter.from_description(one) for one in settings.pop("filters")],
        ordering=[Ordering.from_description(one) for one in settings.pop("ordering")],
        ranker=_ranker(folder / _RANKER) if settings.pop("has_ranker") else None,
        **settings,
    )
    parts = (Catalogue.load(folder), Audience.load(folder), Interactions.load(folder))
    recommender.hold(Workflow.load(folder / _WORKFLOW), *parts)
    return recommender


def _ranker(folder: Path) -> ScoringModel:
    from tamis.models.scoring import ScoringModel

    return ScoringModel.load(folder)


def _settings(recommender: Recommender) -> dict[str, Any]:
    return {
        "sources": [
            {"kind": type(one).__name__, "name": one.name, "settings": one.settings()} for one in recommender.sources
        ],
        "filters": [one.describe() for one in recommender.filters],
        "ordering": [one.describe() for one in recommender.ordering],
        "blend": recommender.blend,
        "context": recommender.context,
        "has_ranker": recommender.ranker is not None,
    }


def _source(folder: Path, *, kind: str, name: str, settings: dict[str, Any]) -> Source:
    from tamis.recommender.sources import (  # noqa: F401 # importing a class registers its name
        item_item,
        popular,
        recent,
        similar_items,
    )

    if kind not in Source.kinds:
        raise FormatError(f"{folder}: it holds a source {kind!r}, which this Tamis does not know. Upgrade it.")
    return Source.kinds[kind].load(folder / _SOURCES / name, settings)
