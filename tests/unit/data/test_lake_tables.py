"""Delta Lake and Iceberg tables; needs their packages, which `pip install 'tamis[delta,iceberg]'` brings."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.catalog.sql import SqlCatalog

from tamis.data.dataset import Dataset
from tamis.errors import DataError

SMALL = pl.DataFrame({"user": [1, 2, 3], "city": ["a", "b", None]})


def test_a_delta_table_is_read_as_it_is_now(tmp_path: Path) -> None:
    SMALL.write_delta(tmp_path / "t")
    dataset = Dataset(tmp_path / "t")
    assert_frame_equal(dataset.compute(), SMALL)
    assert dataset.files == () and repr(dataset).startswith(f"Dataset of {tmp_path / 't'}\n")
    SMALL.head(1).write_delta(tmp_path / "t", mode="overwrite")  # the old files stay in the folder
    assert dataset.num_rows == Dataset(str(tmp_path / "t"), format="delta").num_rows == 1
    with pytest.raises(DataError, match=r"it cannot be read as delta \(.*\). Give the folder of the table."):
        Dataset(tmp_path, format="delta")


def test_an_iceberg_table_is_read_as_it_is_now(tmp_path: Path) -> None:
    catalog = SqlCatalog("here", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("n")
    table = catalog.create_table("n.t", schema=SMALL.to_arrow().schema)
    table.append(SMALL.to_arrow())
    folder = Path(table.location().removeprefix("file://"))
    dataset = Dataset(folder)
    assert_frame_equal(dataset.compute().sort("user"), SMALL)
    table.append(SMALL.to_arrow())
    assert dataset.num_rows == Dataset(folder, format="iceberg").num_rows == 6
    assert Dataset(next((folder / "metadata").glob("00001-*.metadata.json"))).num_rows == 3
    with pytest.raises(DataError, match=r"it has no metadata/\*.metadata.json. Give the folder of an Iceberg table."):
        Dataset(tmp_path, format="iceberg")
