"""The two stages of `tamis demo` on synthetic Ali-CCP with a planted truth, beside its oracle.

The chance that a user's next click is on an item is the chance to meet it times the chance to click it once met. So
retrieval learns from all impressions what users meet, the ranker which of it they click, and both count in the order of
what is served: how much the one beside the other is chosen on the validation rows. All settings are the demo's, which
were chosen on validation rows of another world.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis import AUC, Dataset, Recommender, Workflow, choose_mix, datasets
from tamis.evaluation.order_metrics import GAUC
from tamis.evaluation.ranking_metrics import measure_rows
from tamis.journey.demo import TARGET, click_ranker, impression_graph, retrieval
from tamis.recommender.sources.retrieval_source import Retrieval

PARTS = (0.7, 0.1, 0.2)  # train, validation, test
VALIDATED = 500_000  # rows at most that early stopping and the mix are chosen by
JUDGED = 20_000  # users whose next clicks are to be found
JUDGED_ROWS = 500_000  # impressions whose clicks the ranker tells apart


def planted(num_rows: int, folder: Path, *, world_seed: int, seed: int) -> dict[str, Any]:
    """The funnel, the AUCs of ranker and oracle over test impressions, and the seconds that training took."""
    raw = datasets.generate_data("aliccp-raw", num_rows, PARTS, seed=world_seed, path=folder / "raw")
    assert isinstance(raw, tuple)
    world = datasets.oracle_of("aliccp-raw", num_rows, seed=world_seed)
    workflow = Workflow(impression_graph()).fit(raw[0])
    valid_rows = Dataset(raw[1].head(VALIDATED), schema=raw[1].schema)
    train, valid = (
        workflow.transform(part).to_parquet(folder / name) for part, name in ((raw[0], "train"), (valid_rows, "valid"))
    )
    start = time.perf_counter()
    model, _ = retrieval(train, valid, epochs=None, seed=seed)
    ranker, _ = click_ranker(train, valid, epochs=None, seed=seed)
    fit_s = time.perf_counter() - start
    clicks = train.filter(pl.col(TARGET) == 1)
    both = Recommender(Retrieval(model, seed=seed), filters=(), ranker=ranker).fit(workflow, clicks)
    mix = choose_mix(both, valid_rows, exclude_seen=False)
    source = Retrieval(model, seed=seed)
    served = Recommender(source, filters=(), ranker=ranker, ordering=mix.ordering).fit(workflow, clicks)
    funnel = served.funnel(
        _clicks_of_some(raw[2]),
        exclude_seen=False,
        oracle=lambda users: world.best_items(np.asarray(users), 10),
        verbose=False,
    )
    return {"funnel": funnel, "fit_s": fit_s, "mix": mix.name, **_aucs(raw[2], workflow, ranker, world)}


def _clicks_of_some(test: Dataset) -> Dataset:
    clicks = test.scan().filter(pl.col(TARGET) == 1)
    users = clicks.select("user_id").unique(maintain_order=True).head(JUDGED)
    return Dataset(clicks.join(users, on="user_id", how="semi", maintain_order="left").collect(), schema=test.schema)


def _aucs(test: Dataset, workflow: Workflow, ranker: Any, world: Any) -> dict[str, float]:
    """Of clicks among impressions, over all rows and within users. Neither is told the place on the page."""
    rows = test.head(JUDGED_ROWS)
    scored = ranker.predict(workflow.transform(Dataset(rows, schema=test.schema))).compute()
    truth = pl.Series(world.click_probability(rows["user_id"].to_numpy(), rows["item_id"].to_numpy()))
    found = {}
    for name, score in (("ranker", scored[f"{TARGET}_score"]), ("oracle", truth)):
        frame = pl.DataFrame({"score": score.cast(pl.Float64), "label": rows[TARGET].cast(pl.Float64)})
        frame = frame.with_columns(rows["user_id"].alias("group"))
        values = measure_rows(frame.lazy(), [AUC(), GAUC()])
        found |= {f"{name}_{metric}": round(value, 4) for metric, value in values.items()}
    return found
