"""A graph of ops, fitted on training rows, applied to any rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from tamis.data.dataset import Dataset
from tamis.data.reading import reading
from tamis.errors import DataError, NotFittedError, SettingError, UnknownColumnError
from tamis.features.fitting import Fitted, learn
from tamis.features.lookup import OOV, encoding, kind_of
from tamis.features.node import as_node
from tamis.features.ops.categorify import Categorify
from tamis.features.ops.op import Learned
from tamis.features.rows import ROW
from tamis.features.training_rows import is_training
from tamis.schema import Schema

Data = TypeVar("Data", Dataset, pl.DataFrame)


class Workflow:
    """Ops put together with `>>`, `+` and `-`; what they learn in `fit` they apply in `transform`.

    `Workflow(["user_id"] >> Categorify() >> TagAsUserID())`. Only the graph's own columns come out, and only the
    columns that it needs are read.
    """

    def __init__(self, nodes: Any) -> None:
        self.node = as_node(nodes)
        self._fitted: Fitted | None = None
        self._output_schema = Schema()

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` or `load` has been through."""
        return self._fitted is not None

    @property
    def input_schema(self) -> Schema:
        """The columns that are read."""
        return self._need_fitted("input_schema").input_schema

    @property
    def output_schema(self) -> Schema:
        """The columns that come out."""
        self._need_fitted("output_schema")
        return self._output_schema

    def fit(self, dataset: Dataset | Any) -> Workflow:
        """Learn from these rows; the workflow itself comes back. Whatever was learned before is replaced.

        Raises:
            UnknownColumnError: an op asks for a column that the data does not have.
            DataError: there are no rows.
            SettingError: an op's settings do not fit the columns.
        """
        data = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        fitted = learn(self.node, data.scan(), data.schema, data.files)
        output_schema = _with_dtypes(fitted, data.scan().head(0))
        self._fitted, self._output_schema = fitted, output_schema
        return self

    def transform(self, data: Data, *, training: bool | None = None) -> Data:
        """The columns that come out for these rows: a lazy Dataset for a Dataset, a frame for a frame.

        Args:
            data: the rows.
            training: whether they are the very rows, in their order, that the workflow was fitted on. An op such as
                TargetEncoding gives those other values, so that no row sees its own target. By default the rows are
                compared with those of `fit`.

        Raises:
            NotFittedError: `fit` comes first.
            UnknownColumnError: a column is missing.
            DataError: a column holds another kind of values than in `fit`, text for numbers say.
        """
        fitted = self._need_fitted("transform")
        if isinstance(data, pl.DataFrame):
            rows = self._columns_of(Dataset(data), fitted, training)
            return reading(lambda: rows(data.lazy()).collect(), "Workflow.transform")
        if not isinstance(data, Dataset):
            raise SettingError(f"Workflow.transform: a {type(data).__name__} is no Dataset. Wrap it: Dataset(...).")
        return data.map(self._columns_of(data, fitted, training), self._output_schema)

    def fit_transform(self, data: Data) -> Data:
        """`fit`, then `transform` the same rows."""
        return self.fit(data).transform(data, training=True)

    def categories(self, column: str) -> pl.DataFrame:
        """What each code of an output column stands for: `value`, `count` in the training rows, `code`.

        Codes for padding, null and unknown values stand for no single value, so they are not in it.
        """
        learned = self._categories(column, "categories")
        vocabulary: pl.DataFrame = learned["vocabulary"]
        first = OOV + learned["num_buckets"]
        return vocabulary.with_columns(code=pl.int_range(first, first + pl.len(), dtype=pl.Int64))

    def encode(self, column: str, values: pl.Series | Iterable[Any]) -> pl.Series:
        """The codes of raw values in an output column."""
        learned = self._categories(column, "encode")
        series = pl.Series(column, values)
        if series.dtype == pl.Null:
            series = series.cast(learned["vocabulary"]["value"].dtype)
        _check_kind(column, str(series.dtype).lower(), str(learned["vocabulary"]["value"].dtype).lower(), "encode")
        codes = encoding(pl.col(column), learned["vocabulary"]["value"], learned["num_buckets"])
        return series.to_frame().select(codes.cast(pl.Int64).alias(column)).to_series()

    def decode(self, column: str, codes: pl.Series | Iterable[int]) -> pl.Series:
        """The raw values of codes in an output column; null for the codes of padding, null and unknown values.

        Raises:
            DataError: a code is negative or not below the column's cardinality.
        """
        learned = self._categories(column, "decode")
        vocabulary, first = learned["vocabulary"]["value"], OOV + learned["num_buckets"]
        series = pl.Series(column, codes, dtype=pl.Int64) if not isinstance(codes, pl.Series) else codes.cast(pl.Int64)
        for code in (series.min(), series.max()):
            if isinstance(code, int) and not 0 <= code < first + len(vocabulary):
                raise DataError(
                    f"Workflow.decode: {code} is not a code of {column!r}, which has {first + len(vocabulary):,}. "
                    "Check that the codes come from this workflow."
                )
        position = pl.when(series >= first).then(series - first)
        return pl.select(position.alias("at")).select(pl.lit(vocabulary).gather(pl.col("at")).alias(column)).to_series()

    def save(self, path: str | Path) -> None:
        """Write the workflow into a folder, as JSON and parquet.

        Raises:
            NotFittedError: `fit` comes first.
            NotSavableError: an op holds something that a folder cannot hold, such as a function; nothing is written.
        """
        from tamis.features.saved import save_graph

        save_graph(self.node, self._need_fitted("save"), self._output_schema, path)

    @classmethod
    def load(cls, path: str | Path) -> Workflow:
        """The workflow of a folder that `save` wrote.

        Raises:
            FormatError: the folder is not a workflow, is damaged or newer, or needs an op that is not imported.
        """
        from tamis.features.saved import load_graph

        node, fitted, output_schema = load_graph(path)
        workflow = cls(node)
        workflow._fitted, workflow._output_schema = fitted, output_schema
        return workflow

    def _columns_of(
        self, data: Dataset, fitted: Fitted, training: bool | None
    ) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
        _check_columns(fitted, data.schema)
        if training is None:
            training = bool(fitted.fingerprint) and is_training(self.node, fitted.fingerprint, data)
        if training and fitted.fingerprint:
            return lambda frame: fitted.training_columns.of(frame.with_row_index(ROW))
        return fitted.columns.of

    def _categories(self, column: str, where: str) -> Learned:
        fitted = self._need_fitted(where)
        if column not in self._output_schema:
            raise UnknownColumnError(column, self._output_schema.column_names, where=f"Workflow.{where}")
        op, learned = fitted.columns.made_by.get(column, (None, {}))
        if not isinstance(op, Categorify):
            raise SettingError(f"Workflow.{where}: {column!r} does not come from Categorify, so it has no codes. "
                               "Name a column that does.")  # fmt: skip
        return learned

    def _need_fitted(self, what: str) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(f"Workflow.{what}: the workflow has not learned anything yet. Call fit first.")
        return self._fitted

    def __repr__(self) -> str:
        return f"Workflow({self.node!r})" + ("" if self.is_fitted else ", not fitted")


def _with_dtypes(fitted: Fitted, empty: pl.LazyFrame) -> Schema:
    """The output schema, with the dtypes that the expressions really give."""
    present = reading(fitted.columns.of(empty).collect_schema, "Workflow.fit")
    return Schema(column.with_dtype(present[column.name]) for column in fitted.columns.schema)


def _check_columns(fitted: Fitted, schema: Schema) -> None:
    for expected in fitted.input_schema:
        if expected.name not in schema:
            raise UnknownColumnError(expected.name, schema.column_names, where=fitted.readers[expected.name])
        found = schema[expected.name]
        _check_kind(expected.name, found.dtype, expected.dtype, "transform")
        if found.is_list != expected.is_list:
            forms = ("lists", "single values") if found.is_list else ("single values", "lists")
            raise DataError(
                f"Workflow.transform: the column {found.name!r} holds {forms[0]} but held {forms[1]} in fit. "
                "Give it the same form."
            )


def _check_kind(name: str, found: str, expected: str, where: str) -> None:
    if kind_of(found) != kind_of(expected) and found != "null":
        raise DataError(
            f"Workflow.{where}: the column {name!r} holds {found} but held {expected} in fit. Cast it to the same type."
        )
