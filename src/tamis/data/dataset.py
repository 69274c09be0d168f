"""A lazily scanned table plus the schema that travels with it."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from tamis.data.parquet_files import find_files, schema_beside
from tamis.data.reading import reading
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.folders import new_folder
from tamis.schema import ColumnSchema, Schema

T = TypeVar("T")
ROWS_PER_GROUP = 65_536  # small enough that a shuffle buffer holds many groups, large enough to decode fast
ROWS_PER_FILE = 32 * ROWS_PER_GROUP


class Dataset:
    """Rows with a schema, from parquet or any frame; nothing is read before it is needed.

    `files` are the parquet files that the rows are read from as they are, nothing where a frame or a computation
    gives the rows.

    Args:
        source: a parquet file, a glob, a directory (with all below it), a cloud URL or a list of these; or a frame:
            Polars (lazy or not), pandas, pyarrow or anything else that speaks the Arrow C stream interface; or
            another Dataset.
        schema: what the columns mean. By default `schema.json` in the folder of the first parquet file or the one
            above; without one, the columns with their dtypes and no tags. Columns that a schema does not name are
            left out.

    Raises:
        DataError: no such file, no parquet file, a file that cannot be read.
        UnknownColumnError: the schema names a column that the data does not have.
    """

    files: tuple[str, ...]
    schema: Schema
    _origin: tuple[str, ...]  # the files behind a computation, to name the broken one
    _computed: pl.LazyFrame | None  # the rows where they are not files

    def __init__(self, source: Any, schema: Schema | None = None) -> None:
        where = "Dataset"
        if isinstance(source, Dataset):
            self.files, self._origin, self._computed = source.files, source._origin, source._computed
            schema = schema or source.schema
        else:
            self.files = self._origin = _files_of(source)
            self._computed = None if self.files else _lazy_frame(source)
            beside = None if schema is not None else schema_beside(self.files)
            if beside is not None:
                schema, where = beside
        present = self._read(self._frame.collect_schema)
        self.schema = _bare_schema(present) if schema is None else _with_present_dtypes(schema, present, where)

    @property
    def _frame(self) -> pl.LazyFrame:
        if self._computed is not None:
            return self._computed
        # Anew each time: a scan remembers the footers, and the files may have been replaced since.
        return pl.scan_parquet(list(self.files), glob=False)

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
        self, path: str | Path, *, rows_per_group: int = ROWS_PER_GROUP, rows_per_file: int = ROWS_PER_FILE
    ) -> Dataset:
        """Stream the rows into a folder of parquet files with `schema.json`; the written Dataset comes back.

        The folder is replaced as a whole at the end: a write that dies leaves the old folder or none. So the rows may
        come from the very folder that they replace; Datasets made of it before then read the new files.

        Raises:
            DataError: rows that cannot be read.
            FormatError: `path` is a file, or a folder that holds other things than data.
            SettingError: a group or file of no rows.
        """
        for name, rows in (("rows_per_group", rows_per_group), ("rows_per_file", rows_per_file)):
            if rows < 1:
                raise SettingError(f"Dataset.to_parquet: {name} is {rows}, but must be at least 1. Give a larger one.")
        with new_folder(path) as folder:
            target = pl.PartitionBy(
                folder,
                file_path_provider=lambda part: f"part-{part.index_in_partition:05d}.parquet",
                max_rows_per_file=rows_per_file,
                approximate_bytes_per_file=None,
            )
            self._read(lambda: self.scan().sink_parquet(target, row_group_size=rows_per_group))
            if not any(folder.glob("*.parquet")):  # no rows: one file still tells the columns
                self.head(0).write_parquet(folder / "part-00000.parquet")
            self.schema.save(folder)
        return Dataset(path, schema=self.schema)

    def _collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        return self._read(lambda: frame.collect(engine="streaming"))

    def _read(self, action: Callable[[], T]) -> T:
        return reading(action, self._origin[0] if self._origin else "Dataset", self._origin)

    def _source(self) -> str:
        if not self.files:
            return "a computation over parquet" if self._origin else "a frame"
        return self.files[0] if len(self.files) == 1 else f"{len(self.files)} files from {self.files[0]}"

    def __repr__(self) -> str:
        return f"Dataset of {self._source()}\n{self.schema!r}"

    def _repr_html_(self) -> str:
        return f"<p>Dataset of {html.escape(self._source())}</p>{self.schema._repr_html_()}"


def _files_of(source: Any) -> tuple[str, ...]:
    """The parquet files behind a path, glob, directory, URL or list of them; nothing for a frame."""
    if isinstance(source, str | Path):
        return find_files(str(source))
    if not isinstance(source, list | tuple):
        return ()
    if not source:
        raise DataError("Dataset: the list of paths is empty. Give at least one path.")
    if not all(isinstance(one, str | Path) for one in source):
        return ()
    return tuple(file for one in source for file in find_files(str(one)))


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
