"""The protocol of two periods from end to end: retrieval of the first, a ranker of the second, judged on a third."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tamis
from tamis import Dataset, DCNModel, EmbeddingOptions, Recommender
from tamis.recommender.ranking_data import candidates_of
from tamis.recommender.sources.popular import Popular
from tamis.recommender.sources.retrieval_source import Retrieval
from two_stage_world import fitted


def period(start: int, stop: int, *, clicked: bool = False) -> Dataset:
    """Encoded impressions of a part of the time, or the clicks among them."""
    rows = fitted()[1]
    frame = rows.compute().slice(start, stop - start)
    return Dataset(frame.filter(pl.col("click") == 1) if clicked else frame, schema=rows.schema)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Dataset]:
    """A first stage of the first 2,000 rows, and the ranking rows of the next 2,000."""
    first = Recommender([Popular(quota=40)]).fit(fitted()[0], period(0, 2000, clicked=True))
    found = tamis.ranking_rows(
        period(2000, 4000, clicked=True),
        first,
        tmp_path_factory.mktemp("two") / "rows",
        trained_on=period(0, 2000, clicked=True),
        impressions=period(2000, 4000),
        num_negatives=2,
    )
    return first, found


def test_negatives_are_neither_clicked_in_the_period_nor_seen_before_it(learned: tuple[Recommender, Dataset]) -> None:
    frame = learned[1].compute()
    pairs = {
        name: set(period(*bounds, clicked=is_click).compute().select("user", "item").iter_rows())
        for name, bounds, is_click in (
            ("before", (0, 2000), True),
            ("clicked", (2000, 4000), True),
            ("shown", (2000, 4000), False),
        )
    }
    negatives = set(frame.filter(pl.col("click") == 0).select("user", "item").iter_rows())
    assert not negatives & pairs["clicked"]
    sampled = negatives - pairs["shown"]
    assert sampled and not sampled & pairs["before"]
    assert set(frame.filter(pl.col("click") == 1).select("user", "item").iter_rows()) == pairs["clicked"]


def test_a_ranker_of_these_rows_knows_the_taste_on_later_impressions(learned: tuple[Recommender, Dataset]) -> None:
    rows = learned[1]
    ranker = DCNModel(rows.schema, embedding_options=EmbeddingOptions(embedding_dim_default=8))
    ranker.compile(learning_rate=0.01)
    ranker.fit(rows, epochs=4, batch_size=256, verbose=False)
    known = fitted()[3].evaluate(period(4000, 6000))["auc"]
    assert ranker.evaluate(period(4000, 6000))["auc"] > max(0.75, known - 0.06)


def test_rows_of_the_retrieval_period_are_refused(learned: tuple[Recommender, Dataset], tmp_path: Path) -> None:
    same = period(0, 2000, clicked=True)
    with pytest.raises(tamis.errors.DataError, match="so it finds them too easily"):
        tamis.ranking_rows(same, learned[0], tmp_path / "rows", trained_on=same)


def test_features_of_the_rows_are_those_of_the_catalogue(learned: tuple[Recommender, Dataset]) -> None:
    first, found = learned
    names = ["item", "category", "price"]
    table = set(first.catalogue.features.select(names).iter_rows())
    assert set(found.compute().select(names).iter_rows()) <= table
    assert found.schema.select_by_tag(tamis.Tags.ITEM).column_names == names
    assert np.isin(found.compute()["hour"].to_numpy(), period(2000, 4000).compute()["hour"].to_numpy()).all()


def test_a_retrieval_model_finds_for_encoded_rows_what_it_finds_for_ids() -> None:
    stages = Recommender([Retrieval(fitted()[2], quota=20)]).fit(fitted()[0], period(0, 2000, clicked=True))
    rows = stages.audience.features.with_columns(hour=pl.lit(3))
    found = candidates_of(stages)(rows)
    queries = stages.queries(stages.audience.ids)
    np.testing.assert_array_equal(found, stages.candidates(queries, stages.allowed(queries)).items)
