"""The rows that all trials of a search share, prepared once; none of them is a test row."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tamis.data.dataset import Dataset
from tamis.features.workflow import Workflow
from tamis.folders import read_manifest, saving
from tamis.journey.config import TrainConfig
from tamis.journey.console import Say, stage
from tamis.journey.stages import graph, ranker_rows
from tamis.journey.tables import split_rows

KIND, VERSION = "rows to tune on", 1
_WORK = ".work-"
_NAMES = {"retrieval": ("fit", "train", "valid"), "ranking": ("learned", "judged")}


def rows_to_tune_on(config: TrainConfig, folder: Path, *, say: Say, verbose: bool) -> dict[str, Dataset]:
    """Encoded rows: `fit`, `train`, `valid` for the retrieval stage; `learned`, `judged` for the ranking stage.

    Args:
        config: whose data, and for the ranking stage whose first stage.
        folder: where they are written, as a whole or not at all; what is there already is taken as it is.
        say: called with a line per step.
        verbose: progress bars on stderr.

    Raises:
        TamisError: whatever is wrong with data or settings.
    """
    if not folder.exists():
        _prepare(config, folder, say=say, verbose=verbose)
    read_manifest(folder, kind=KIND, version=VERSION)
    return {name: Dataset(folder / name) for name in _NAMES[config.tune.stage]}


def _prepare(config: TrainConfig, folder: Path, *, say: Say, verbose: bool) -> None:
    for pattern in (f"{_WORK}*", f".{folder.name}.new-*"):  # nobody else works here: a killed process left them
        for leftover in folder.parent.glob(pattern):
            shutil.rmtree(leftover)
    with (
        saving(folder, kind=KIND, version=VERSION) as written,
        TemporaryDirectory(dir=folder.parent, prefix=_WORK) as work,
    ):
        with stage(say, "data") as told:
            parts = split_rows(config.data, Path(work) / "raw")
            del parts["test"]  # from here on nobody can look at it
            sizes = {name: part.num_rows for name, part in parts.items()}
            told(f"{sizes['fit']:,} rows to train, {sizes['valid']:,} to validate", sizes["train"] + sizes["valid"])
        is_ranking = config.tune.stage == "ranking"
        place = Path(work) / "coded" if is_ranking else written
        with stage(say, "features") as told:
            workflow = Workflow(graph(parts["train"].schema, config.data)).fit(parts["train"])
            coded = {name: workflow.transform(part).to_parquet(place / name) for name, part in parts.items()}
            told(f"{len(workflow.output_schema)} columns encoded", sizes["train"])
        if is_ranking:
            for rows in ranker_rows(config, workflow, parts, coded, Path(work), say=say, verbose=verbose):
                # to the study's own folder: the first stage is not needed any more
                source = Path(rows.files[0]).parent
                source.rename(written / source.name)
