"""A lazily scanned table plus the schema that travels with it."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from tamis.data.counting import counting
from tamis.data.dtypes import given_dtypes
from tamis.data.hive import check_partition
from tamis.data.memory import spill_in_time
from tamis.data.parquet_folder import expected_size, write_rows
from tamis.data.reading import reading
from tamis.data.source_files import schema_beside
from tamis.data.table import Table
from tamis.disk_full import telling_disk_full
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.folders import new_folder
from tamis.schema import ColumnSchema, Schema

T = TypeVar("T")
ROWS_PER_GROUP = 65_536  # small enough that a shuffle buffer holds many groups, large enough to decode fast
ROWS_PER_FILE = 32 * ROWS_PER_GROUP


class Dataset:
    """Rows with a schema, from files or any frame; nothing is read before it is needed.

    Files may be parquet, csv (or tsv), arrow (IPC, feather) or jsonl, told by their endings, compressed text included;
    a folder that is a Delta Lake or Iceberg table is read as it is now. Columns in the names of folders, such as
    `day=2024-01-01/part.parquet`, are columns like all others.

    `files` are the parquet files that hold the rows as they are; nothing where a frame, a computation, another format
    or folders' names give a part of them.

    Args:
        source: a file, a glob, a directory (with all below it), a cloud URL (`s3://`, `gs://`, `az://`, `hf://`,
            `https://`) or a list of these; or a frame: Polars (lazy or not), pandas, pyarrow or anything else that
            speaks the Arrow C stream interface; or another Dataset.
        schema: what the columns mean. By default `schema.json` in the folder of the first file or the one above;
            without one, the columns with their dtypes and no tags. Columns that a schema does not name are left out.
        format: `"parquet"`, `"csv"`, `"arrow"`, `"jsonl"`, `"delta"` or `"iceberg"`, where the endings do not tell.
        split: the part of a folder to read: `"train"` reads `train.parquet`, `train-00000-of-00003.parquet` and the
            like, and what lies in a folder `train`.
        dtypes: types of csv and jsonl columns, as `{"zip_code": "string"}`; by default those of a `schema.json`
            beside, and guessed from the first rows.
        storage_options: passed to Polars for a cloud: keys, region, endpoint.

    Raises:
        DataError: no such file, no data in a folder, two formats or splits, a file that cannot be read.
        UnknownColumnError: the schema names a column that the data does not have.
        UnknownNameError: a format or split that there is not.
        SettingError: a setting for files where there are none.
        MissingExtraError: the package for Delta Lake or Iceberg is not installed.
    """

    files: tuple[str, ...]
    schema: Schema
    _origin: Table | None  # the files behind, of a computation too, to name the broken one
    _computed: pl.LazyFrame | None  # the rows where they are not files

    def __init__(
        self,
        source: Any,
        schema: Schema | None = None,
        *,
        format: str | None = None,
        split: str | None = None,
        dtypes: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        where = "Dataset"
        settings: dict[str, Any] = {"format": format, "split": split, "dtypes": dtypes}
        settings |= {"storage_options": storage_options}
        paths = _paths_of(source)
        if not paths:
            _check_unset(settings, source)
        if isinstance(source, Dataset):
            self._origin, self._computed = source._origin, source._computed
            schema = schema or source.schema
        elif paths:
            table = _table(paths, **settings)
            beside = schema_beside(table.files)
            if beside is not None:
                table = table.described_by(beside[0])
                schema, where = beside if schema is None else (schema, where)
            self._origin, self._computed = table, None
        else:
            self._origin, self._computed = None, _lazy_frame(source)
        self.files = () if self._origin is None or self._computed is not None else self._origin.parquet_files
        present = self._read(self._frame.collect_schema)
        self.schema = _bare_schema(present) if schema is None else _with_present_dtypes(schema, present, where)

    @property
    def _frame(self) -> pl.LazyFrame:
        if self._computed is not None:
            return self._computed
        assert self._origin is not None
        # Anew each time: a scan remembers the footers, and the files may have been replaced since.
        return self._origin.scan()

    @property
    def column_names(self) -> list[str]:
        """Names in order."""
        return self.schema.column_names

    @property
    def num_rows(self) -> int:
        """Number of rows; read from the files' footers where the data is a plain scan."""
        return int(self._collect(self._frame.select(pl.len())).item())

    def scan(self) -> pl.LazyFrame:
        """The rows as a lazy frame of the schema's columns."""
        return self._frame.select(self.column_names)

    def compute(self) -> pl.DataFrame:
        """All rows in memory."""
        return self._collect(self.scan())

    def head(self, n: int = 5) -> pl.DataFrame:
        """The first `n` rows."""
        return self._collect(self.scan().head(n))

    def batches(self, num_rows: int = ROWS_PER_GROUP) -> Iterator[pl.DataFrame]:
        """All rows in order, so many at a time, in bounded memory."""
        frames = self._read(
            lambda: iter(self.scan().collect_batches(chunk_size=num_rows, maintain_order=True, engine="streaming"))
        )
        while (frame := self._read(lambda: next(frames, None))) is not None:
            yield frame

    def to_pandas(self) -> Any:
        """All rows as a pandas frame."""
        return self.compute().to_pandas()

    def select(self, columns: str | Sequence[str] | Schema) -> Dataset:
        """The same rows with these columns only.

        Raises:
            UnknownColumnError: a column that the dataset does not have.
        """
        names = columns.column_names if isinstance(columns, Schema) else columns
        return Dataset(self, schema=self.schema.select_by_name(names))

    def filter(self, predicate: pl.Expr) -> Dataset:
        """The rows for which the expression is true."""
        return self._derived(self._frame.filter(predicate), self.schema)

    def sample(self, num_rows: int, *, seed: int = 0) -> Dataset:
        """So many rows at random, without replacement, in memory; all rows when there are fewer."""
        frame = self.compute()
        return Dataset(frame.sample(min(num_rows, len(frame)), seed=seed), schema=self.schema)

    def map(self, change: Callable[[pl.LazyFrame], pl.LazyFrame], schema: Schema) -> Dataset:
        """The rows that `change` makes of the lazy frame, described by `schema`."""
        return self._derived(change(self.scan()), schema)

    def _derived(self, frame: pl.LazyFrame, schema: Schema) -> Dataset:
        derived = Dataset.__new__(Dataset)
        derived.files, derived._origin, derived._computed = (), self._origin, frame
        derived.schema = _with_present_dtypes(schema, derived._read(frame.collect_schema), "Dataset")
        return derived

    def to_parquet(
        self,
        path: str | Path,
        *,
        partition_on: str | Sequence[str] = (),
        rows_per_group: int = ROWS_PER_GROUP,
        rows_per_file: int = ROWS_PER_FILE,
    ) -> Dataset:
        """Stream the rows into a folder of parquet files with `schema.json`; the written Dataset comes back.

        The folder is replaced as a whole at the end: a write that dies leaves the old folder or none. So the rows may
        come from the very folder that they replace; Datasets made of it before then read the new files.

        With `partition_on=["day"]` the rows of each day go into a folder `day=2024-01-01` of their own, in order, and
        what reads only some days opens only those; reading the folder gives the column back.

        Raises:
            DataError: rows that cannot be read.
            DiskFullError: there is no more room; it says how much was needed, and nothing is left behind.
            FormatError: `path` is a file, or a folder that holds other things than data.
            SchemaError: `partition_on` names a column that no folder can be named after.
            SettingError: a group or file of no rows.
        """
        for name, rows in (("rows_per_group", rows_per_group), ("rows_per_file", rows_per_file)):
            if rows < 1:
                raise SettingError(f"Dataset.to_parquet: {name} is {rows}, but must be at least 1. Give a larger one.")
        keys = [partition_on] if isinstance(partition_on, str) else list(partition_on)
        check_partition(self.schema, keys)
        spill_in_time()
        with (
            new_folder(path) as folder,
            telling_disk_full(path, folder, lambda: expected_size(folder, self.rows_at_hand())),
        ):
            sizes = {"rows_per_group": rows_per_group, "rows_per_file": rows_per_file}
            with counting(self.scan(), "write", self._rows_behind) as frame:
                self._read(lambda: write_rows(frame, folder, partition_on=keys, **sizes))
            if not any(folder.rglob("*.parquet")):  # no rows: one file still tells the columns
                self.head(0).write_parquet(folder / "part-00000.parquet")
            self.schema.save(folder)
        return Dataset(path, schema=self.schema)

    def _rows_behind(self) -> int | None:
        """About how many rows will come, by the files that they are computed from."""
        files = self._origin.parquet_files if self._origin else ()
        return Dataset(list(files)).num_rows if files else self.rows_at_hand()

    def rows_at_hand(self) -> int | None:
        """The number of rows where footers or a frame in memory tell it, and no computation is needed."""
        is_frame = self._computed is not None and self._origin is None
        return self.num_rows if self.files or is_frame else None

    def _collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        spill_in_time()
        return self._read(lambda: frame.collect(engine="streaming"))

    def _read(self, action: Callable[[], T]) -> T:
        table = self._origin
        if table is None:
            return reading(action, "Dataset")
        return reading(action, table.files[0], table.files, None if table.parquet_files else table.scan)

    @property
    def origin(self) -> tuple[str, ...]:
        """The files, of any format, that the rows are read or computed from; nothing for a frame."""
        return () if self._origin is None else self._origin.files

    @property
    def source(self) -> str:
        """Where the rows come from, in words."""
        if self._origin is None:
            return "a frame"
        files, format = self._origin.files, self._origin.format
        if self._computed is not None:
            return f"a computation over {format}"
        return files[0] if len(files) == 1 else f"{len(files)} files from {files[0]}"

    def __repr__(self) -> str:
        return f"Dataset of {self.source}\n{self.schema!r}"

    def _repr_html_(self) -> str:
        return f"<p>Dataset of {html.escape(self.source)}</p>{self.schema._repr_html_()}"


def _paths_of(source: Any) -> list[str]:
    """What to look for on disk or in a cloud; nothing for a frame."""
    if isinstance(source, str | Path):
        return [str(source)]
    if not isinstance(source, list | tuple):
        return []
    if not source:
        raise DataError("Dataset: the list of paths is empty. Give at least one path.")
    return [str(one) for one in source] if all(isinstance(one, str | Path) for one in source) else []


def _table(paths: Sequence[str], *, dtypes: Mapping[str, Any] | None, **settings: Any) -> Table:
    return Table.find(paths, dtypes=given_dtypes(dtypes or {}), **settings)


def _check_unset(settings: Mapping[str, Any], source: Any) -> None:
    given = [name for name, value in settings.items() if value is not None]
    if given:
        raise SettingError(
            f"Dataset: {given[0]} is for files, but the source is a {type(source).__name__}. Leave it out."
        )


def _lazy_frame(source: Any) -> pl.LazyFrame:
    if isinstance(source, pl.LazyFrame):
        return source
    if isinstance(source, pl.DataFrame):
        return source.lazy()
    try:
        if type(source).__module__.startswith("pandas") and hasattr(source, "columns"):
            return pl.from_pandas(source).lazy()
        if hasattr(source, "__arrow_c_stream__"):
            return pl.DataFrame(source).lazy()
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:  # pyarrow's errors are ValueError or TypeError
        raise DataError(f"Dataset: the frame cannot be read ({error}). Give every column one type first.") from error
    raise DataError(
        f"Dataset: cannot read a {type(source).__name__}. Give a path, a glob, a list of paths, or a Polars, pandas "
        "or Arrow frame."
    )


def _bare_schema(present: pl.Schema) -> Schema:
    return Schema(ColumnSchema(name).with_dtype(dtype) for name, dtype in present.items())


def _with_present_dtypes(schema: Schema, present: pl.Schema, where: str) -> Schema:
    for name in schema.column_names:
        if name not in present:
            raise UnknownColumnError(name, present.names(), where=where)
    return Schema(column.with_dtype(present[column.name], is_list=False) for column in schema)


def check_ids(dataset: Dataset, columns: Iterable[str], *, where: str) -> None:
    """Refuse id columns with nulls, lists or fractional numbers, and a dataset without rows.

    Raises:
        DataError: names the column and what was found in it.
    """
    names = list(columns)
    for name in names:
        dtype = dataset.schema[name].dtype
        if dataset.schema[name].is_list:
            raise DataError(f"{where}: the id column {name!r} holds lists. Give one id per row: explode it first.")
        if dtype.startswith(("float", "decimal")):
            raise DataError(
                f"{where}: the id column {name!r} holds fractional numbers ({dtype}). "
                "Cast it to whole numbers or text first."
            )
    nulls = [pl.col(name).null_count().alias(f"null {name}") for name in names]
    counts = dataset._collect(dataset.scan().select(pl.len(), *nulls))
    if counts["len"].item() == 0:
        raise DataError(f"{where}: the dataset has no rows. Check the path and the filters before it.")
    for name in names:
        found = counts[f"null {name}"].item()
        if found:
            raise DataError(f"{where}: the id column {name!r} has {found:,} nulls. Drop these rows or fill them first.")
