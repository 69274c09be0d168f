"""The bundle: a recommender as one folder of JSON, Arrow, parquet, safetensors and the indexes' own files.

manifest.json              kind, format version, versions of packages, a checksum of every file below
recommender.json           sources, filters, ordering, blend and context, by their names and settings; which raw columns
                           each encoded column is made of
workflow/                  the schemas of raw and encoded columns, the ops and what they learned
sources/<name>/            retrieval towers and their index, weights, counts: what each source learned
ranker/                    the ranking model, where there is one
  .../runtime.json         of towers and ranker, where asked for: what runs them without torch, and what they take
  .../graph.onnx           the ONNX file
items.arrow                raw ids, their order, and the columns to show and filter by; one row an item
item_features.arrow        their encoded features, how often each was met, whether it is on offer, the most popular rows
users.arrow                raw ids, their order, and encoded features of known users
interactions.arrow         who met what, oldest first
histories.arrow            for each user row the distinct items, by when each was met last
metrics.json               what was measured, where `save` was told
golden*                    a dozen requests and their answers, see `golden`

What is as large as the data, the index too, is mapped into memory as it lies in the files, so that the processes of a
server share it. Format version 1 had parquet in the place of arrow, and no histories; it is read on.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tamis.errors import FormatError, SettingError
from tamis.features.settings import from_json, to_json
from tamis.features.workflow import Workflow
from tamis.folders import MANIFEST, read_json, read_manifest, saving, write_json
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import Filter
from tamis.recommender.golden import Golden
from tamis.recommender.golden_draws import draw_golden
from tamis.recommender.interactions import Interactions
from tamis.recommender.ordering import Ordering
from tamis.recommender.query_columns import remember_sources, sources_of
from tamis.recommender.recommender import Recommender
from tamis.recommender.runtimes import AUTO, add_onnx, chosen_runtime, load_ranker
from tamis.recommender.source import Source, check_name
from tamis.recommender.versions import changes, versions

KIND, VERSION = "recommender", 2
_SETTINGS, _RANKER, _WORKFLOW, _SOURCES = "recommender.json", "ranker", "workflow", "sources"
_METRICS = "metrics.json"


def save_recommender(recommender: Recommender, path: str | Path, *, onnx: bool = False) -> None:
    """Write a fitted recommender; with `onnx` what runs without torch too.

    Raises:
        NotFittedError: it is not fitted.
        NotSavableError: a setting, or one of the metrics, is something that JSON cannot hold.
    """
    workflow, catalogue, audience, interactions = recommender.parts
    golden = draw_golden(recommender)
    facts = {"num_items": len(catalogue), "num_users": len(audience), "num_golden": len(golden)}
    with saving(path, kind=KIND, version=VERSION, versions=versions(), **facts) as folder:
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
        if onnx:
            add_onnx(recommender, folder / _SOURCES, folder / _RANKER)
        if recommender.metrics:
            write_json(folder / _METRICS, to_json(recommender.metrics, where="Recommender.save: metrics"))
        golden.save(folder)
    recommender.identity = identity_of(path)


def load_recommender(path: str | Path, *, verify: bool = True, runtime: str = AUTO) -> Recommender:
    """Read what `save_recommender` wrote.

    Raises:
        FormatError: no such folder, another kind, a missing or changed file, a newer version, or, with `verify`, a
            golden request that is answered otherwise than it was; no ONNX files for `runtime="onnx"`.
        UnknownNameError: no such runtime.
    """
    folder = Path(path)
    manifest = read_manifest(folder, kind=KIND, version=VERSION)
    settings = read_json(folder / _SETTINGS)
    ranker = _RANKER if settings["has_ranker"] else None
    recommender = _recommender(folder, settings, chosen_runtime(runtime, folder, manifest["files"], ranker))
    if (folder / _METRICS).is_file():
        recommender.metrics = from_json(read_json(folder / _METRICS), str(folder / _METRICS))
    recommender.identity = identity_of(folder)
    if verify:
        _verify(folder, recommender, manifest.get("versions", {}))
    return recommender


def identity_of(path: str | Path) -> str:
    """Tells a bundle from every other: a checksum of all its checksums."""
    files = read_json(Path(path).expanduser() / MANIFEST)["files"]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _verify(folder: Path, recommender: Recommender, then: dict[str, str]) -> None:
    differs = Golden.load(folder, recommender).check(recommender)
    if differs is None:
        return
    changed = changes(then, versions())
    why = f"The versions changed: {changed}." if changed else "The versions are those of then, so the bundle is broken."
    raise FormatError(
        f"{folder}: the recommender does not answer as it did when it was saved. {differs}. {why} Restore the folder "
        "or the versions, or train again; load(..., verify=False) takes it as it is."
    )


def _recommender(folder: Path, settings: dict[str, Any], runtime: str) -> Recommender:
    context, made_of = from_json(settings.pop("context"), str(folder / _SETTINGS)), settings.pop("made_of", None)
    sources = [_source(folder, runtime, **one) for one in settings.pop("sources")]
    recommender = Recommender(
        sources,
        filters=[Filter.from_description(one) for one in settings.pop("filters")],
        ordering=[Ordering.from_description(one) for one in settings.pop("ordering")],
        ranker=load_ranker(folder / _RANKER, runtime) if settings.pop("has_ranker") else None,
        context=context,
        **settings,
    )
    workflow = Workflow.load(folder / _WORKFLOW)
    if made_of is not None:  # bundles of before do not tell it
        remember_sources(workflow, made_of)
    recommender.hold(workflow, Catalogue.load(folder), Audience.load(folder), Interactions.load(folder))
    return recommender


def _settings(recommender: Recommender) -> dict[str, Any]:
    return {
        "sources": [
            {"kind": type(one).__name__, "name": one.name, "settings": one.settings()} for one in recommender.sources
        ],
        "filters": [one.describe() for one in recommender.filters],
        "ordering": [one.describe() for one in recommender.ordering],
        "blend": recommender.blend,
        "context": to_json(recommender.context, where="Recommender.save: context"),
        "has_ranker": recommender.ranker is not None,
        "made_of": {name: sorted(raw) for name, raw in sources_of(recommender.workflow).items()},
    }


def _source(folder: Path, runtime: str, *, kind: str, name: str, settings: dict[str, Any]) -> Source:
    from tamis.recommender.sources import (  # noqa: F401 # importing a class registers its name
        item_item,
        popular,
        recent,
        similar_items,
    )

    if kind not in Source.kinds:
        raise FormatError(f"{folder}: it holds a source {kind!r}, which this Tamis does not know. Upgrade it.")
    try:
        place, chosen = folder / _SOURCES / check_name(name), Source.kinds[kind]
        more = {"runtime": runtime} if chosen.has_towers else {}
        return chosen.load(place, settings, **more)
    except (TypeError, SettingError) as error:
        raise FormatError(
            f"{folder / _SETTINGS}: the settings of the source {name!r} do not fit a {kind} ({error}). Restore the "
            "file, or save the recommender again."
        ) from error
