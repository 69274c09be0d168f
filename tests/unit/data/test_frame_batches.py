"""The direct way from a frame to tensors gives what a loader gives."""

import polars as pl
import pytest
import torch

from tamis import Dataset, Loader, Tags
from tamis.data.frame_batches import frame_batches
from tamis.errors import DataError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema

FRAME = pl.DataFrame(
    {
        "unused": ["a", "b", "c", "d", "e"],
        "code": pl.Series([3, 1, 2, 5, 4], dtype=pl.Int64),
        "small": pl.Series([1, 2, 3, 4, 5], dtype=pl.UInt8),
        "share": [0.1, 0.2, 0.3, 0.4, 0.5],
        "flag": [True, False, True, True, False],
        "words": [[1, 2], [], [3], None, [4, 5, 6]],
        "vector": pl.Series([[1.0, 2.0]] * 5, dtype=pl.Array(pl.Float32, 2)),
    }
)
SCHEMA = Dataset(FRAME.drop("unused")).schema


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_batches_are_those_of_a_loader(batch_size: int) -> None:
    direct = list(frame_batches(FRAME, SCHEMA, batch_size))
    loaded = list(Loader(Dataset(FRAME, schema=SCHEMA), batch_size, shuffle=False, targets=()))
    assert len(direct) == len(loaded) == -(-5 // batch_size)
    for one, other in zip(direct, loaded, strict=True):
        assert one.features.keys() == other.features.keys()
        for name, tensor in one.features.items():
            assert tensor.dtype == other.features[name].dtype
            assert torch.equal(tensor, other.features[name])


def test_the_domain_of_a_column_decides_on_its_tensor_as_in_a_loader() -> None:
    schema = Schema([ColumnSchema("code", "int64", tags=[Tags.CATEGORICAL]).with_domain(9)])
    (batch,) = frame_batches(FRAME, schema, 10)
    (loaded,) = Loader(Dataset(FRAME, schema=schema), 10, shuffle=False)
    assert batch.features["code"].dtype == loaded.features["code"].dtype == torch.int32


def test_what_no_tensor_can_hold_is_refused_as_by_a_loader() -> None:
    with pytest.raises(UnknownColumnError, match=r"Dataset: the data has no column 'cod'. Did you mean 'code'"):
        list(frame_batches(FRAME, Schema([ColumnSchema("cod", "int64")]), 2))
    with pytest.raises(DataError, match=r"the column 'unused' holds string, which no tensor can hold"):
        list(frame_batches(FRAME, Schema([ColumnSchema("unused", "string")]), 2))
    nulls = FRAME.with_columns(code=pl.when(pl.col("code") > 1).then("code"))
    with pytest.raises(DataError, match=r"Encoder: the column 'code' has 1 nulls"):
        list(frame_batches(nulls, SCHEMA, 5, where="Encoder"))
