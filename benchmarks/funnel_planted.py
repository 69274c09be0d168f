"""Two stages on synthetic Ali-CCP with a planted truth, beside its oracle.

Rows are independent draws, so one half of the training rows may play the past: retrieval learns from the first half,
the ranker from the second half's clicks among that retrieval's candidates, and retrieval then once more from both. A
held-out click was shown and then taken, so what orders the list is the chance of both: that is what slates of clicks
and candidates teach. A ranker of logged impressions knows the second alone; it is measured beside it, by its AUC.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tamis
from funnel_rows import REQUEST, TARGET, slates
from tamis import AUC, Adam, Dataset, EmbeddingOptions, MLPBlock, Recommender, Tags, Workflow, datasets
from tamis.datasets.planted import PlantedWorld
from tamis.evaluation.order_metrics import GAUC
from tamis.evaluation.ranking_metrics import measure_rows
from tamis.journey.demo import ITEM_FEATURES, USER_FEATURES, seed_graph
from tamis.ops import AddTags, Categorify
from tamis.recommender.ordering import Weighted
from tamis.recommender.sources.retrieval_source import Retrieval


@dataclass(frozen=True)
class Settings:
    """Chosen on the world of seed 42; the figures are of another world."""

    epochs: int = 3
    batch_size: int = 1024
    quota: int = 100
    requests: int = 300_000  # slates that the ranker learns from, at most
    num_negatives: int = 20
    ranker_epochs: int = 2
    ranker_rate: float = 0.002
    retrieval_weight: float = 3.0  # of the retrieval score beside the ranker's
    judged: int = 20_000  # users


class Planted:
    """A world of so many rows: 70 % to learn from, 30 % held out."""

    def __init__(self, num_rows: int, folder: Path, *, seed: int, settings: Settings) -> None:
        self.settings, self.folder = settings, folder
        self.raw = datasets.generate_data("aliccp-raw", num_rows, (0.35, 0.35, 0.3), seed=seed, path=folder / "raw")
        self.world: PlantedWorld = datasets.oracle_of("aliccp-raw", num_rows, seed=seed)
        both = Dataset(pl.concat([part.scan() for part in self.raw[:2]]), schema=self.raw[0].schema)
        self.workflow = Workflow(seed_graph()).fit(both)
        self.early, self.late, self.all = (
            self.workflow.transform(part).to_parquet(folder / name)
            for part, name in ((self.raw[0], "early"), (self.raw[1], "late"), (both, "all"))
        )
        self.schema = self.all.schema.select_by_tag([Tags.ITEM_ID, Tags.USER_ID, Tags.ITEM, Tags.USER])

    def retrieval(self, train: Dataset, seed: int) -> Recommender:
        model = tamis.TwoTowerModel(
            self.schema,
            query_tower=MLPBlock([128, 64], no_activation_last_layer=True),
            embedding_options=EmbeddingOptions(infer_embedding_sizes=True),
            seed=seed,
        )
        settings = self.settings
        model.fit(train, batch_size=settings.batch_size, epochs=settings.epochs, seed=seed, verbose=False)
        self.source = Retrieval(model, quota=settings.quota)
        return Recommender([self.source], filters=()).fit(self.workflow, train)  # what was met may come again

    def ranker(self, learned: Dataset, seed: int) -> Any:
        """Of slates."""
        inputs = self.schema + learned.schema.select([TARGET])
        ranker = tamis.DeepFMModel(
            inputs, MLPBlock([128, 64]), embedding_options=EmbeddingOptions(embedding_dim_default=16), seed=seed
        )
        ranker.compile(Adam(self.settings.ranker_rate), loss="softmax", group=REQUEST)
        ranker.fit(learned, batch_size=4096, epochs=self.settings.ranker_epochs, seed=seed, verbose=False)
        return ranker

    def recommender(self, ranker: Any, weight: float) -> Recommender:
        """Both stages by the last retrieval."""
        ordering = Weighted({TARGET: 1.0, "retrieval": weight})
        both = Recommender([self.source], filters=(), ranker=ranker, ordering=ordering)
        return both.fit(self.workflow, self.all)

    def true_scores(self, users: Any, items: Any) -> Any:
        """Log-probability of the next click, pair by pair."""
        users, items = np.asarray(users), np.asarray(items)
        order = np.argsort(users, kind="stable")
        found = np.empty(len(users))
        places = np.searchsorted(self.world.item_ids, items)
        for part in np.array_split(order, max(len(order) // 20_000, 1)):
            distinct, row = np.unique(users[part], return_inverse=True)
            for start in range(0, len(distinct), 256):
                block = (row >= start) & (row < start + 256)
                scores = self.world.next_item_log_prob(distinct[start : start + 256])
                found[part[block]] = scores[row[block] - start, places[part[block]]]
        return found

    def held_out(self) -> Dataset:
        """Clicks of so many users as are judged."""
        clicks = self.raw[2].scan().filter(pl.col("click") == 1)
        users = clicks.select("user_id").unique(maintain_order=True).head(self.settings.judged)
        return Dataset(clicks.join(users, on="user_id", how="semi", maintain_order="left").collect())


def planted(
    num_rows: int,
    folder: Path,
    *,
    seed: int,
    model_seed: int,
    settings: Settings | None = None,
    weights: tuple[float, ...] = (),
) -> dict[str, Any]:
    """All figures of a world; the funnel also by other weights of the retrieval score, to choose one."""
    settings = settings or Settings()
    planted = Planted(num_rows, folder, seed=seed, settings=settings)
    start = time.perf_counter()
    first = planted.retrieval(planted.early, model_seed)
    positives = Dataset(planted.late.head(settings.requests), schema=planted.late.schema)
    learned = slates(
        positives.select(planted.schema), first, folder / "rows", num_negatives=settings.num_negatives, seed=model_seed
    )
    ranker = planted.ranker(learned, model_seed)
    planted.retrieval(planted.all, model_seed)
    fit_s = time.perf_counter() - start
    held_out = planted.held_out()
    funnels = {}
    for weight in weights or (settings.retrieval_weight,):
        recommender = planted.recommender(ranker, weight)
        funnels[weight] = recommender.funnel(
            held_out,
            oracle=lambda users: planted.world.best_items(np.asarray(users), 10),
            oracle_scores=planted.true_scores,
            verbose=False,
        )
    own = _own_rows(planted, recommender, ranker, model_seed)
    return {"funnels": funnels, "fit_s": fit_s, "aucs": {**own, **_impressions(planted, model_seed)}}


def _own_rows(planted: Planted, recommender: Recommender, ranker: Any, seed: int) -> dict[str, float]:
    """AUC within the slates of held-out clicks: the ranker's and the oracle's on the same rows."""
    coded = planted.workflow.transform(planted.held_out()).select(planted.schema).compute()
    known = planted.workflow.decode("user_id", coded["user_id"]).is_not_null()
    coded = Dataset(coded.filter(known), schema=planted.schema)
    rows = slates(coded, recommender, planted.folder / "judged", num_negatives=20, seed=seed)
    scored = ranker.predict(rows).compute()
    users, items = (planted.workflow.decode(name, scored[name]).to_numpy() for name in ("user_id", "item_id"))
    truth = pl.Series(planted.true_scores(users, items))
    parts = {"ranker_gauc": scored[f"{TARGET}_score"], "oracle_gauc": truth}
    return {name: _measured(scores, scored[TARGET], scored[REQUEST], GAUC()) for name, scores in parts.items()}


def _measured(scores: pl.Series, labels: pl.Series, groups: pl.Series | None, metric: Any) -> float:
    frame = {"score": scores.cast(pl.Float64), "label": labels.cast(pl.Float64)}
    frame |= {} if groups is None else {"group": groups}
    return measure_rows(pl.DataFrame(frame).lazy(), [metric])[metric.name]


def _impressions(planted: Planted, seed: int) -> dict[str, float]:
    """AUC of clicks among the held-out impressions: a ranker of logged impressions, and the oracle."""
    ids, features = ["user_id", "item_id"], [*USER_FEATURES, *ITEM_FEATURES, "position"]
    graph = [*ids, *features] >> Categorify()
    graph += ["click"] >> AddTags([Tags.TARGET, Tags.BINARY_CLASSIFICATION])
    both = Dataset(pl.concat([part.scan() for part in planted.raw[:2]]), schema=planted.raw[0].schema)
    workflow = Workflow(graph).fit(both)
    train = workflow.transform(both).to_parquet(planted.folder / "impressions")
    held_out = Dataset(planted.raw[2].head(500_000), schema=planted.raw[2].schema)
    ranker = tamis.DeepFMModel(
        train.schema, MLPBlock([128, 64]), embedding_options=EmbeddingOptions(embedding_dim_default=16), seed=seed
    )
    ranker.compile(Adam(0.002), embedding_l2=0.0)
    ranker.fit(train, batch_size=4096, epochs=1, seed=seed, verbose=False)
    scored = ranker.predict(workflow.transform(held_out)).compute()
    raw = held_out.compute()
    truth = planted.world.click_probability(*(raw[name].to_numpy() for name in (*ids, "position")))
    parts = {"impression_auc": scored["click_score"], "oracle_impression_auc": pl.Series(truth)}
    return {name: _measured(scores, raw["click"], None, AUC()) for name, scores in parts.items()}
