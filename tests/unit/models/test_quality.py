"""What training must reach on worlds whose best answer is known."""

import numpy as np
import polars as pl
import pytest

from retrieval_world import interactions
from tamis import Dataset, EmbeddingOptions, InBatchSampler, MLPBlock, Tags, TwoTowerModel, UniformSampler
from tamis.schema import ColumnSchema, Schema

NUM_USERS, NUM_ITEMS = 500, 2000


def popularity_only(num_rows: int, seed: int) -> Dataset:
    """Users and items drawn independently, both Zipf: nothing but popularity is to be learned."""
    generator = np.random.default_rng(seed)

    def draw(num: int, power: float) -> np.ndarray:
        weights = np.arange(1, num + 1) ** -power
        return generator.choice(num, num_rows, p=weights / weights.sum()).astype(np.int32)

    user, item = draw(NUM_USERS, 0.7), draw(NUM_ITEMS, 0.5)
    frame = pl.DataFrame({"user": user, "item": item, "city": user % 11, "brand": item % 13}, schema_overrides=INT32)
    return Dataset(frame, schema=INDEPENDENT)


INT32 = {"city": pl.Int32, "brand": pl.Int32}
INDEPENDENT = Schema(
    ColumnSchema(name, "int32").with_tags([Tags.CATEGORICAL, tag]).with_domain(num - 1)
    for name, num, tag in [
        ("user", NUM_USERS, Tags.USER_ID),
        ("item", NUM_ITEMS, Tags.ITEM_ID),
        ("city", 11, Tags.USER),
        ("brand", 13, Tags.ITEM),
    ]
)


# A batch holds each distinct item once, so the items that are in nearly every batch need no correction: to see what it
# does, even the ten most popular ones must be missing in many batches.
BATCH_SIZE = 64


def share_of_popularity(*, logq_correction: bool) -> float:
    model = TwoTowerModel(
        INDEPENDENT,
        MLPBlock([32, 16], no_activation_last_layer=True),
        samplers=[InBatchSampler()],
        embedding_options=EmbeddingOptions(embedding_dim_default=16),
        logq_correction=logq_correction,
    )
    model.compile(learning_rate=0.003, metrics=["recall_at_10"])
    model.fit(popularity_only(40_000, seed=1), batch_size=BATCH_SIZE, epochs=2, verbose=False)
    found = model.evaluate(popularity_only(20_000, seed=2))
    return found["recall_at_10"] / found["popularity_recall_at_10"]


def test_where_only_popularity_can_be_learned_it_is_learned_thanks_to_the_correction() -> None:
    corrected, plain = share_of_popularity(logq_correction=True), share_of_popularity(logq_correction=False)
    assert corrected >= 0.95
    assert plain < 0.8


@pytest.mark.parametrize("samplers", [[InBatchSampler()], [InBatchSampler(), UniformSampler(16)]], ids=str)
def test_bfloat16_finds_what_float32_finds(samplers: list[InBatchSampler]) -> None:
    """A planted world where popularity reaches about half; three seeds each, so the means differ by little."""
    train, held_out = interactions(6000, seed=1), interactions(2000, seed=2)
    found: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for precision, values in found.items():
        for seed in range(3):
            model = TwoTowerModel(
                train.schema,
                MLPBlock([32, 16], no_activation_last_layer=True),
                samplers=samplers,
                embedding_options=EmbeddingOptions(embedding_dim_default=8),
                l2_normalization=True,
                logits_temperature=0.1,
                seed=seed,
            )
            model.compile(learning_rate=0.01, metrics=["recall_at_10"], precision=precision)
            model.fit(train, batch_size=512, epochs=4, seed=seed, verbose=False)
            measured = model.evaluate(held_out)
            values.append(measured["recall_at_10"])
    means = {precision: float(np.mean(values)) for precision, values in found.items()}
    assert means["float32"] > 1.5 * measured["popularity_recall_at_10"]
    assert means["bfloat16"] == pytest.approx(means["float32"], rel=0.02)
