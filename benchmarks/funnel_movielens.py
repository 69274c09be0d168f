"""Two stages on MovieLens: what users rated last is what both stages see of them, and the ranker orders what is found.

Both stages read the user's last films as histories of several lengths, strictly before the row. Retrieval is a
two-tower model over them; it is trained on an early period, finds candidates for the positives of a late one, from
which the ranker learns, and is trained once more on both. What is served orders by the ranker's logit plus a multiple
of the retrieval score.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import tamis
from funnel_rows import REQUEST, TARGET, slates
from tamis import Adam, Dataset, EmbeddingOptions, MLPBlock, Recommender, Tags, Workflow
from tamis.ops import (
    AddTags,
    Categorify,
    HistorySequence,
    ListSlice,
    Rename,
    TagAsItemFeatures,
    TagAsItemID,
    TagAsUserFeatures,
    TagAsUserID,
)
from tamis.recommender.ordering import Weighted
from tamis.recommender.sources.retrieval_source import Retrieval


@dataclass(frozen=True)
class Settings:
    """Chosen on the validation part alone."""

    order: str  # the column of time
    with_user_id: bool  # whether users have an embedding of their own, besides what they did
    lengths: tuple[int, ...] = (1, 3, 10, 50)
    dim: int = 64
    tower: tuple[int, ...] = (256, 64)
    dropout: float = 0.0
    rate: float = 0.003
    batch_size: int = 4096
    epochs: int = 4
    quota: int = 100
    num_negatives: int = 20
    ranker_lengths: tuple[int, ...] = (1, 3, 10)
    ranker_deep: tuple[int, ...] = (128, 64)
    ranker_dropout: float = 0.0
    ranker_rate: float = 0.002
    ranker_epochs: int = 3
    retrieval_weight: float = 20.0  # of the retrieval score, a cosine, beside the ranker's logit


class Stages:
    """Both stages over raw rows of ratings with the features of users and films.

    Args:
        known: rows that are known when requests come; histories and codes are made of them.
        films: rows that hold each film that can be recommended.
        folder: to write to.
        settings: of both.
    """

    def __init__(self, known: pl.DataFrame, films: pl.DataFrame, folder: Path, settings: Settings) -> None:
        self.settings, self.folder, self.known = settings, folder, known
        item = ["movie_id"] >> Categorify() >> TagAsItemID()
        history = item >> HistorySequence("user_id", settings.order, length=max(settings.lengths))
        graph = (["user_id"] >> Categorify() >> TagAsUserID()) + item
        graph += ["gender", "age", "occupation"] >> Categorify() >> TagAsUserFeatures()
        graph += ["genres", "year"] >> Categorify() >> TagAsItemFeatures()
        for length in settings.lengths:
            graph += history >> AddTags([Tags.USER]) >> ListSlice(-length) >> Rename(postfix=f"_{length}")
        self.workflow = Workflow(graph).fit(Dataset(known))
        self.films = self._coded(films)
        names = self.workflow.output_schema.column_names
        self.inputs = self.workflow.output_schema.select([n for n in names if settings.with_user_id or n != "user_id"])

    def _coded(self, rows: pl.DataFrame) -> Dataset:
        return Dataset(self.workflow.transform(Dataset(rows)).compute(), schema=self.workflow.output_schema)

    def retrieval(self, rows: pl.DataFrame, seed: int) -> tuple[tamis.TwoTowerModel, Retrieval]:
        """A first stage that has learned from these rows: the model, and it as a source."""
        settings = self.settings
        model = tamis.TwoTowerModel(
            self.inputs,
            query_tower=MLPBlock(settings.tower, no_activation_last_layer=True, dropout=settings.dropout),
            item_tower=MLPBlock(settings.tower[-1:], no_activation_last_layer=True),
            embedding_options=EmbeddingOptions(embedding_dim_default=settings.dim, init_std=0.05),
            l2_normalization=True,
            logits_temperature=0.1,
            seed=seed,
        )
        model.compile(Adam(settings.rate))
        model.fit(
            self._coded(rows),
            items=self.films,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            seed=seed,
            verbose=False,
        )
        return model, Retrieval(model, quota=settings.quota)

    def now(self, rows: pl.DataFrame) -> Dataset:
        """The rows with the histories of the moment after them: what is known of users when they ask next."""
        return self._coded(rows.with_columns(pl.col(self.settings.order) + 1))

    def slates(self, early: pl.DataFrame, late: pl.DataFrame, source: Retrieval, seed: int) -> Dataset:
        """What the ranker learns from: candidates for `late` of a retrieval that has learned from `early`."""
        first = Recommender([source]).fit(self.workflow, self.now(early))
        longest = f"movie_id_history_{max(self.settings.lengths)}"
        return slates(
            self._coded(late),
            first,
            self.folder / "slates",
            num_negatives=self.settings.num_negatives,
            had=lambda rows: rows[longest],
            seed=seed,
        )

    def ranker(self, learned: Dataset, start: tamis.TwoTowerModel, seed: int) -> Any:
        """The second stage, over the inputs of the first without who the user is."""
        settings = self.settings
        left_out = {f"movie_id_history_{n}" for n in settings.lengths if n not in settings.ranker_lengths} | {"user_id"}
        inputs = self.inputs.select([name for name in self.inputs.column_names if name not in left_out])
        ranker = tamis.DeepFMModel(
            inputs + learned.schema.select([TARGET]),
            MLPBlock(settings.ranker_deep, dropout=settings.ranker_dropout),
            embedding_options=EmbeddingOptions(embedding_dim_default=settings.dim, init_std=0.01),
            seed=seed,
        )
        ranker.start_from(start)
        ranker.compile(Adam(settings.ranker_rate), loss="softmax", group=REQUEST)
        ranker.fit(learned, batch_size=4096, epochs=settings.ranker_epochs, seed=seed, verbose=False)
        return ranker

    def recommender(self, source: Retrieval, ranker: Any, known: pl.DataFrame, weight: float) -> Recommender:
        """What is served, by what is known of users."""
        ordering = Weighted({TARGET: 1.0, "retrieval": weight})
        return Recommender([source], ranker=ranker, ordering=ordering).fit(self.workflow, self.now(known))


def run(
    early: pl.DataFrame,
    late: pl.DataFrame,
    context: pl.DataFrame,
    held_out: pl.DataFrame,
    films: pl.DataFrame,
    folder: Path,
    *,
    settings: Settings,
    seed: int,
    weights: tuple[float, ...] = (),
) -> dict[str, Any]:
    """The funnel over held-out rows; also by other weights of the retrieval score, to choose one on validation data.

    Args:
        early: retrieval learns from it alone before it finds candidates for the ranker.
        late: the ranker learns from it; retrieval learns from both at the end.
        context: known when requests come, but nothing learns from it.
        held_out: what is to be found.
        films: rows that hold each film.
        folder: to write to.
        settings: of both stages.
        seed: of both models.
        weights: to try.
    """
    known = pl.concat([early, late, context])
    stages = Stages(known, films, folder, settings)
    start = time.perf_counter()
    model, source = stages.retrieval(early, seed)
    ranker = stages.ranker(stages.slates(early, late, source, seed), model, seed)
    source = stages.retrieval(pl.concat([early, late]), seed)[1]
    fit_s = time.perf_counter() - start
    funnels = {
        weight: stages.recommender(source, ranker, known, weight).funnel(Dataset(held_out), verbose=False)
        for weight in weights or (settings.retrieval_weight,)
    }
    return {"funnels": funnels, "fit_s": fit_s}
