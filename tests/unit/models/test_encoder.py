"""An encoder in a server's hands: as a folder, and as ONNX."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tamis import EmbeddingOptions, MLPBlock
from tamis.models.encoder import Encoder
from tamis.models.tower_rows import with_vectors
from tamis.schema import ColumnSchema, Schema, Tags

SCHEMA = Schema(
    [
        ColumnSchema("user", "int32", [Tags.USER_ID, Tags.CATEGORICAL]).with_domain(20),
        ColumnSchema("age", "float32", [Tags.USER, Tags.CONTINUOUS]),
        ColumnSchema("seen", "int32", [Tags.USER, Tags.CATEGORICAL], is_list=True).with_domain(9, name="item"),
        ColumnSchema("city", "int32", [Tags.CONTEXT, Tags.CATEGORICAL]).with_domain(4),
        ColumnSchema("photo", pl.Array(pl.Float32, 2), [Tags.USER, Tags.EMBEDDING]),
    ]
)


def encoder(combiner: str = "mean") -> Encoder:
    torch.manual_seed(7)
    options = EmbeddingOptions({"city": 3}, embedding_dim_default=4, combiner=combiner, init_std=1.0)
    return Encoder(SCHEMA, options, MLPBlock([8, 5], "gelu", True, 0.2), l2_normalization=True).eval()


def rows(num_rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user": [i * 7 % 21 for i in range(num_rows)],
            "age": [i / 3 for i in range(num_rows)],
            "seen": [[(i + j) % 10 for j in range(i % 4)] for i in range(num_rows)],
            "city": [i % 5 for i in range(num_rows)],
            "photo": [[i / 5, -i] for i in range(num_rows)],
        },
        schema={
            "user": pl.Int32,
            "age": pl.Float32,
            "seen": pl.List(pl.Int32),
            "city": pl.Int32,
            "photo": pl.Array(pl.Float32, 2),
        },
    )


@pytest.mark.parametrize("combiner", ["mean", "sum", "max"])
def test_an_encoder_comes_back_with_all_its_settings(tmp_path: Path, combiner: str) -> None:
    built = encoder(combiner)
    built.save(tmp_path / "e")
    loaded = Encoder.load(tmp_path / "e")
    assert (loaded.schema, loaded.options, loaded.mlp) == (built.schema, built.options, built.mlp)
    assert torch.equal(loaded.encode(rows(9)), built.encode(rows(9)))
    assert not loaded.training and loaded.encode(rows(9)).shape == (9, 5)


def test_an_encoder_of_numbers_alone_has_no_tables(tmp_path: Path) -> None:
    built = Encoder(SCHEMA.select_by_name(["age"]), EmbeddingOptions(), None)
    built.save(tmp_path / "e")
    assert Encoder.load(tmp_path / "e").encode(rows(4)).tolist() == [[pytest.approx(i / 3)] for i in range(4)]


def test_vectors_become_columns_by_number() -> None:
    frame = with_vectors(pl.DataFrame({"a": [1, 2]}), torch.tensor([[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]]))
    assert frame.columns == ["a", "0", "1", "2"] and frame.row(1) == (2, 3.5, 4.5, 5.5)
    assert frame.schema["2"] == pl.Float32


def test_onnxruntime_gives_the_same_vectors(tmp_path: Path) -> None:
    """One row, many rows, empty lists and none but empty lists: the sizes are not those of the example."""
    import onnxruntime

    built = encoder()
    session = onnxruntime.InferenceSession(built.to_onnx(tmp_path / "deep" / "e.onnx"))
    for frame in (rows(1), rows(2), rows(30), rows(5).filter(pl.col("seen").list.len() == 0)):
        given = {
            "user": frame["user"].to_numpy().astype(np.int64),
            "age": frame["age"].to_numpy(),
            "seen__values": frame["seen"].explode().drop_nulls().to_numpy().astype(np.int64),
            "seen__offsets": np.concatenate([[0], frame["seen"].list.len().cum_sum().to_numpy()]).astype(np.int64),
            "city": frame["city"].to_numpy().astype(np.int64),
            "photo": frame["photo"].to_numpy(),
        }
        (vectors,) = session.run(["vector"], given)
        assert np.allclose(vectors, built.encode(frame).numpy(), atol=1e-5)
