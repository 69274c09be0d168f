"""Columns of vectors - a text's or a picture's - from parquet to a trained model."""

from pathlib import Path

import numpy as np
import polars as pl
import torch

import tamis
from retrieval_world import FIRST, IDS, ITEM, NUM_CLUSTERS, NUM_ITEMS, interactions
from tamis.data.dataset import Dataset
from tamis.schema import ColumnSchema, Schema, Tags

PHOTO = ColumnSchema("photo", pl.Array(pl.Float32, NUM_CLUSTERS)).with_tags([Tags.ITEM, Tags.EMBEDDING])


def with_photos(folder: Path, *, seed: int) -> Dataset:
    """Items of a cluster look alike; nothing but the photo and the user's id can tell them apart."""
    rows = interactions(seed=seed).compute().select("user_id", "item_id")
    cluster = (rows["item_id"].to_numpy() - FIRST) % NUM_CLUSTERS
    photos = np.eye(NUM_CLUSTERS, dtype=np.float32)[cluster]
    frame = rows.with_columns(pl.Series("photo", photos, dtype=pl.Array(pl.Float32, NUM_CLUSTERS)))
    return Dataset(frame, schema=IDS + Schema([PHOTO])).to_parquet(folder)


def test_a_model_learns_from_vectors_and_comes_back_from_a_folder(tmp_path: Path) -> None:
    train = with_photos(tmp_path / "train", seed=0)
    assert train.schema["photo"].width == NUM_CLUSTERS
    options = tamis.EmbeddingOptions(embedding_dims={"item_id": 1}, embedding_dim_default=16)
    model = tamis.TwoTowerModel(train.schema, tamis.MLPBlock([16]), embedding_options=options, seed=1)
    model.compile("adam", learning_rate=0.03, metrics=[tamis.RecallAt(10)])
    model.fit(train, batch_size=256, epochs=8, seed=1)
    model.save(tmp_path / "model")
    loaded = tamis.load_model(tmp_path / "model")
    vectors = torch.tensor(loaded.candidate_embeddings(train).compute().select(str(i) for i in range(16)).to_numpy())
    again = torch.tensor(model.candidate_embeddings(train).compute().select(str(i) for i in range(16)).to_numpy())
    assert torch.equal(vectors, again) and len(vectors) == NUM_ITEMS
    # A tower that reads the photo gives the items of one cluster more similar vectors than those of two.
    items = loaded.candidate_embeddings(train).compute()["item_id"].to_numpy()
    same = (items[:, None] - items[None, :]) % NUM_CLUSTERS == 0
    unit = torch.nn.functional.normalize(vectors, dim=1)
    cosine = (unit @ unit.T).numpy()
    assert cosine[same].mean() > cosine[~same].mean() + 0.3
    assert ITEM.name == "item_id"
