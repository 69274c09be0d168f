"""Ali-CCP: the published raw files to parquet, and a workflow over its two sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.dataset import Dataset
from tamis.datasets.aliccp_format import FIELDS, MULTI_VALUED, Layout, read_lines, widen
from tamis.errors import DataError, SettingError
from tamis.folders import new_folder, write_json

_ROWS_PER_GROUP = 16_384  # a row of the full data holds several hundred values
_GROUPS_PER_FILE = 64
_SAMPLE = {"sample_id": pl.String, "click": pl.String, "conversion": pl.String, "common_id": pl.String}
_COMMON = {"common_id": pl.String}
_FEATURES = {"num_features": pl.String, "features": pl.String}


@dataclass(frozen=True)
class AliCCP:
    """What `prepare_aliccp` wrote. A set whose raw files were not there is None."""

    train: Dataset | None
    test: Dataset | None
    num_dropped: Mapping[str, int]  # rows with a conversion but no click, per set


def transform_aliccp(
    data: tuple[Dataset, Dataset], output_path: str | Path, nvt_workflow: Any = None
) -> tuple[Dataset, Dataset]:
    """The training and validation rows after a workflow that learned from the training rows.

    Writes the folders `train`, `valid` and `workflow` below `output_path`, each as a whole.

    Args:
        data: training and validation rows.
        output_path: the folder to write below.
        nvt_workflow: a Workflow, or the nodes of its graph.

    Raises:
        SettingError: there is no workflow.
    """
    if nvt_workflow is None:
        raise SettingError("transform_aliccp: there is no workflow. Give nvt_workflow= a Workflow or its nodes.")
    workflow = nvt_workflow
    if not hasattr(workflow, "fit"):
        from tamis.features.workflow import Workflow  # the one place where a data set needs a workflow

        workflow = Workflow(nvt_workflow)
    train, valid = data
    root = Path(output_path)
    workflow.fit(train)
    written = [workflow.transform(rows).to_parquet(root / name) for rows, name in ((train, "train"), (valid, "valid"))]
    workflow.save(root / "workflow")
    return written[0], written[1]


def prepare_aliccp(
    raw_dir: str | Path,
    output_dir: str | Path,
    *,
    columns: Sequence[str] | None = None,
    fields: Mapping[str, str] = FIELDS,
    multi_valued: Sequence[str] = MULTI_VALUED,
) -> AliCCP:
    """The raw files of Ali-CCP as parquet, in the order of the file and in bounded memory.

    Looks anywhere below `raw_dir` for `sample_skeleton_train.csv` with `common_features_train.csv`, and the same for
    `test`. Multi-valued fields become list columns, each with a list of weights beside it (`user_shops_weights`);
    the other fields become numbers; a number that has a weight, as the crosses of user and item do, keeps it beside
    it (`user_item_shops_weight`). A field that a row does not have is null. Rows with a conversion but no click are
    errors of the data: they are left out and counted. Nothing else is.

    The full data has several hundred list values per row: name the `columns` you need.

    Args:
        raw_dir: the folder with the published files.
        output_dir: gets the folders `train` and `test`, as far as the raw files are there.
        columns: feature columns to keep, all by default; `sample_id`, `click` and `conversion` always stay.
        fields: column name of each raw field.
        multi_valued: the columns to keep as lists.

    Raises:
        DataError: missing files; a damaged line, an unknown field, a field with several values that is not
            `multi_valued`, a sample whose common features are missing. The file and the line are named.
        UnknownColumnError: `columns` names one that no field becomes.
    """
    layout = Layout.of(fields, multi_valued, columns)
    raw = _raw_files(Path(raw_dir))
    sets: dict[str, Dataset] = {}
    dropped: dict[str, int] = {}
    for name, (samples, common) in raw.items():
        with TemporaryDirectory(prefix="tamis-aliccp-") as scratch, new_folder(Path(output_dir) / name) as folder:
            known = _CommonFeatures(common, layout, Path(scratch))
            num_rows, dropped[name] = _write(_joined(samples, known, layout), folder, layout)
            write_json(folder / "counts.json", {"rows": num_rows, "dropped": dropped[name]})
            layout.schema.save(folder)
        sets[name] = Dataset(Path(output_dir) / name)
    return AliCCP(sets.get("train"), sets.get("test"), dropped)


def _raw_files(raw_dir: Path) -> dict[str, tuple[Path, Path]]:
    found = {}
    for name in ("train", "test"):
        samples = sorted(raw_dir.rglob(f"sample_skeleton_{name}.csv"))
        common = sorted(raw_dir.rglob(f"common_features_{name}.csv"))
        if samples and not common:
            raise DataError(f"{samples[0]}: there is no common_features_{name}.csv for it. Put it into the folder.")
        if samples:
            found[name] = (samples[0], common[0])
    if not found:
        raise DataError(
            f"{raw_dir}: there is neither sample_skeleton_train.csv nor sample_skeleton_test.csv. "
            "Give the folder with the unpacked files."
        )
    return found


class _CommonFeatures:
    """The features that many samples share, in a memory-mapped file, so that rows of it cost no memory."""

    def __init__(self, file: Path, layout: Layout, scratch: Path) -> None:
        ids: list[pl.Series] = []
        parts: list[pl.DataFrame] = []
        for lines in read_lines(file, {**_COMMON, **_FEATURES}):
            ids.append(lines["common_id"])
            parts.append(_memory_mapped(widen(lines, layout, file), scratch / f"{len(parts):06d}.arrow"))
        if not parts:
            raise DataError(f"{file}: the file has no lines. Unpack it again.")
        self._file = file
        self._rows = pl.concat(parts, rechunk=False)
        frame = pl.DataFrame({"common_id": pl.concat(ids)}).with_row_index("common_row")
        self._places = frame.unique("common_id", keep="first")

    def of(self, samples: pl.DataFrame, file: Path) -> pl.DataFrame:
        """The shared features of each sample."""
        places = samples.select("line", "common_id").join(
            self._places, on="common_id", how="left", maintain_order="left"
        )
        missing = places.filter(pl.col("common_row").is_null())
        if len(missing):
            line, common_id = missing.row(0)[:2]
            raise DataError(
                f"{file}, line {line}: {self._file.name} has no common features {common_id!r}. "
                "Use the two files of the same set, unpacked completely."
            )
        return self._rows[places["common_row"]]


def _memory_mapped(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    with pa.ipc.new_file(str(file), (table := rows.to_arrow()).schema) as writer:
        writer.write_table(table)
    # numbers and lists of numbers alone, which Polars takes from the map without a copy
    mapped = pl.from_arrow(pa.ipc.open_file(pa.memory_map(str(file))).read_all(), rechunk=False)
    assert isinstance(mapped, pl.DataFrame)
    return mapped


def _joined(file: Path, common: _CommonFeatures, layout: Layout) -> Iterator[tuple[pl.DataFrame, int]]:
    """Finished rows and the number of rows left out before them."""
    for lines in read_lines(file, {**_SAMPLE, **_FEATURES}):
        for part in lines.iter_slices(_ROWS_PER_GROUP):
            labels = _labels(part, file)
            own, shared = widen(part, layout, file), common.of(part, file)
            rows = pl.concat([labels, layout.merge(own, shared)], how="horizontal")
            kept = rows.filter((pl.col("click") == 1) | (pl.col("conversion") == 0))
            yield kept, len(rows) - len(kept)


def _labels(lines: pl.DataFrame, file: Path) -> pl.DataFrame:
    names = ["sample_id", "click", "conversion"]
    dtypes = [pl.Int64, pl.Int8, pl.Int8]
    labels = lines.select(pl.col(n).cast(d, strict=False) for n, d in zip(names, dtypes, strict=True))
    allowed = pl.col("click").is_in([0, 1]) & pl.col("conversion").is_in([0, 1]) & pl.col("sample_id").is_not_null()
    wrong = np.flatnonzero(~labels.select(allowed.fill_null(False)).to_series().to_numpy())
    if len(wrong):
        row = lines.row(int(wrong[0]), named=True)
        raise DataError(
            f"{file}, line {row['line']}: sample {row['sample_id']!r} has click {row['click']!r} and conversion "
            f"{row['conversion']!r} instead of 0 or 1. Repair the line or leave it out."
        )
    return labels


def _write(parts: Iterator[tuple[pl.DataFrame, int]], folder: Path, layout: Layout) -> tuple[int, int]:
    """Row groups of several parts in one file; the number of rows written and left out comes back."""
    num_rows = num_dropped = num_groups = 0
    writer: Any = None
    for rows, dropped in parts:
        table = rows.select(layout.schema.column_names).to_arrow()
        if num_groups % _GROUPS_PER_FILE == 0:
            if writer is not None:
                writer.close()
            writer = pq.ParquetWriter(
                folder / f"part-{num_groups // _GROUPS_PER_FILE:05d}.parquet", table.schema, compression="zstd"
            )
        writer.write_table(table)
        num_groups, num_rows, num_dropped = num_groups + 1, num_rows + len(rows), num_dropped + dropped
    if writer is None:
        raise DataError("prepare_aliccp: the sample file has no lines. Unpack it again.")
    writer.close()
    return num_rows, num_dropped
