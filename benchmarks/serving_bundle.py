"""The bundle that the serving benchmark asks: as many items and users as wanted, built once into a cache folder.

Users like the ten categories of their segment; that is all there is to learn, and both models learn it for one epoch,
so vectors lie in clusters as those of trained towers do. How good the lists are is not what is measured here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import tamis
from tamis import Dataset, EmbeddingOptions, MLPBlock, Recommender, Tags, Workflow, ops
from tamis.recommender.sources.retrieval_source import Retrieval

SEED = 42
NUM_SEGMENTS, LIKED = 100, 10  # categories of a segment
NUM_CATEGORIES = NUM_SEGMENTS * LIKED
MORE_CODES, MORE_NUMBERS = 8, 5  # features of users, and of items, besides those that mean something
CLICK = "click"


@dataclass(frozen=True)
class Size:
    """How large the bundle is.

    Args:
        items: in the catalogue.
        users: that are known.
        retrieved: candidates that retrieval finds for each request.
        recall: that the index is tuned to, at 100.
    """

    items: int = 1_000_000
    users: int = 100_000
    retrieved: int = 500
    recall: float = 0.95

    @property
    def name(self) -> str:
        """Of its folder in the cache."""
        return f"serving-v2-{self.items}-{self.users}-{self.retrieved}-{self.recall}"


def cache_folder() -> Path:
    """Where large things that benchmarks build are kept: `TAMIS_BENCH_CACHE`, or the user's cache."""
    given = os.environ.get("TAMIS_BENCH_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "tamis-benchmarks"


def bundles(size: Size) -> dict[str, Path]:
    """The folders of both bundles, which are built where they are missing: with a ranker, and without."""
    root = cache_folder() / size.name
    found = {name: root / name for name in ("two-stage", "retrieval")}
    if not all((folder / "manifest.json").is_file() for folder in found.values()):
        _build(size, found)
    return found


def _build(size: Size, folders: dict[str, Path]) -> None:
    raw = rows(size)
    workflow = Workflow(_graph()).fit(Dataset(raw))
    encoded = workflow.transform(Dataset(raw)).compute()
    schema = workflow.output_schema
    clicks = Dataset(encoded.filter(pl.col(CLICK) == 1), schema=schema)
    towers = tamis.TwoTowerModel(
        schema.select_by_tag([Tags.USER, Tags.ITEM, Tags.USER_ID, Tags.ITEM_ID]),
        query_tower=MLPBlock([128, 64], no_activation_last_layer=True),
        embedding_options=EmbeddingOptions(embedding_dim_default=16),
        l2_normalization=True,
        logits_temperature=0.05,
        seed=SEED,
    )
    towers.fit(clicks, batch_size=4096, epochs=1, seed=SEED, verbose=False)
    ranker = tamis.DLRMModel(
        schema,
        MLPBlock([128, 64, 16]),
        MLPBlock([256, 128]),
        embedding_options=EmbeddingOptions(embedding_dim_default=16),
        seed=SEED,
    )
    ranker.fit(Dataset(encoded, schema=schema), batch_size=4096, epochs=1, seed=SEED, verbose=False)
    shown = items(size)
    source = Retrieval(towers, quota=size.retrieved, target_recall=size.recall, seed=SEED)
    alone = Recommender([source]).fit(workflow, clicks, items=shown)
    alone.save(folders["retrieval"], onnx=True)
    both = Recommender([source], ranker=ranker, context={"hour": 12, "device": 1, "load": 0.5})
    both.hold(workflow, alone.catalogue, alone.audience, alone.interactions)  # the index is built already
    both.save(folders["two-stage"], onnx=True)


def items(size: Size) -> pl.DataFrame:
    """One row per item: its raw features, and a title to show."""
    generator = np.random.default_rng([SEED, 1])
    ids = np.arange(size.items)
    values = {
        "item_id": ids,
        "category": generator.integers(0, NUM_CATEGORIES, size.items),
        "brand": generator.integers(0, max(size.items // 100, 10), size.items),
        "shop": generator.integers(0, max(size.items // 200, 10), size.items),
        "price": np.exp(generator.normal(3, 1, size.items)).astype(np.float32),
        **_more("item", size.items, generator),
    }
    return pl.DataFrame({**values, "title": pl.Series(ids).cast(pl.String).str.pad_start(8, "0")})


def users(size: Size) -> pl.DataFrame:
    """One row per user: raw features."""
    generator = np.random.default_rng([SEED, 2])
    return pl.DataFrame(
        {
            "user_id": np.arange(size.users),
            "segment": generator.integers(0, NUM_SEGMENTS, size.users),
            "city": generator.integers(0, 1000, size.users),
            "gender": generator.integers(0, 3, size.users),
            "age": generator.normal(40, 12, size.users).astype(np.float32),
            **_more("user", size.users, generator),
        }
    )


def _more(side: str, count: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """The features that nothing depends on."""
    codes = {f"{side}_code_{i}": generator.integers(0, 10 * 2**i, count) for i in range(MORE_CODES)}
    numbers = {f"{side}_number_{i}": generator.normal(size=count).astype(np.float32) for i in range(MORE_NUMBERS)}
    return codes | numbers


def rows(size: Size) -> pl.DataFrame:
    """Impressions: a click on each item by a user of its segment, as many clicks more, and half as many others."""
    generator = np.random.default_rng([SEED, 3])
    catalogue, audience = items(size), users(size)
    again = (size.items * generator.random(size.items) ** 3).astype(np.int64)  # some items are far more popular
    clicked = np.concatenate([generator.permutation(size.items), again])
    segment = catalogue["category"].to_numpy()[clicked] // LIKED
    users_clicked = _of_segment(audience["segment"].to_numpy(), segment, generator)
    num_others = size.items // 2
    item = np.concatenate([clicked, generator.integers(0, size.items, num_others)])
    user = np.concatenate([users_clicked, generator.integers(0, size.users, num_others)])
    click = np.concatenate([np.ones(len(clicked), np.int8), np.zeros(num_others, np.int8)])
    order = generator.permutation(len(item))
    shown = catalogue.drop("title")[item[order]]
    context = {"hour": 24, "device": 5}
    now = [pl.Series(name, generator.integers(0, high, len(item))) for name, high in context.items()]
    now.append(pl.Series("load", generator.random(len(item)).astype(np.float32)))
    both = pl.concat([audience[user[order]], shown], how="horizontal")
    return both.with_columns(*now, pl.Series(CLICK, click[order]))


def _of_segment(segments: np.ndarray, wanted: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A user of each of these segments."""
    order = np.argsort(segments, kind="stable")
    starts = np.searchsorted(segments[order], np.arange(NUM_SEGMENTS + 1))
    count = np.maximum(np.diff(starts), 1)[wanted]
    place = starts[:-1][wanted] + (generator.random(len(wanted)) * count).astype(np.int64)
    return order[np.minimum(place, len(order) - 1)]


def _graph() -> object:
    """26 columns of codes and 13 of numbers, as in the data that DLRM was made for."""
    user = ["user_id"] >> ops.Categorify() >> ops.TagAsUserID()
    item = ["item_id"] >> ops.Categorify() >> ops.TagAsItemID()
    user += (
        ["segment", "city", "gender", *_names("user_code", MORE_CODES)] >> ops.Categorify() >> ops.TagAsUserFeatures()
    )
    item += (
        ["category", "brand", "shop", *_names("item_code", MORE_CODES)] >> ops.Categorify() >> ops.TagAsItemFeatures()
    )
    user += ["age", *_names("user_number", MORE_NUMBERS)] >> ops.Normalize() >> ops.TagAsUserFeatures()
    item += ["price", *_names("item_number", MORE_NUMBERS)] >> ops.Normalize() >> ops.TagAsItemFeatures()
    context = ["hour", "device"] >> ops.Categorify() >> ops.AddTags([Tags.CONTEXT])
    context += ["load"] >> ops.Normalize() >> ops.AddTags([Tags.CONTEXT])
    click = [CLICK] >> ops.AddTags([Tags.TARGET, Tags.BINARY_CLASSIFICATION])
    return user + item + context + click


def _names(what: str, count: int) -> list[str]:
    return [f"{what}_{i}" for i in range(count)]
