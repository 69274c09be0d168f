"""A graph of ops, fitted on training rows, applied to any rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from tamis.data.dataset import Dataset
from tamis.data.reading import reading
from tamis.errors import NotFittedError, SettingError, UnknownColumnError
from tamis.features.drawing import to_graphviz, to_mermaid, to_svg
from tamis.features.explain import Explanation, explain
from tamis.features.fitting import Fitted, bind, learn
from tamis.features.input_check import check_columns
from tamis.features.node import Node, as_node, walk
from tamis.features.ops.categorify import Categorify
from tamis.features.ops.categorify_combo import CategorifyCombo
from tamis.features.ops.op import Learned
from tamis.features.removal import without_inputs
from tamis.features.rows import ROW
from tamis.features.subgraph import check_graph, find_subgraph, subgraphs
from tamis.features.training_rows import has_training_form, is_training
from tamis.features.updating import Growth, relearn
from tamis.features.vocabularies import categories, decode, encode
from tamis.schema import Schema

if TYPE_CHECKING:
    from tamis.features.online import OnlineWorkflow

Data = TypeVar("Data", Dataset, pl.DataFrame)


class Workflow:
    """Ops put together with `>>`, `+` and `-`; what they learn in `fit` they apply in `transform`.

    `Workflow(["user_id"] >> Categorify() >> TagAsUserID())`. Only the graph's own columns come out, and only the
    columns that it needs are read.
    """

    def __init__(self, nodes: Any) -> None:
        self.node = as_node(nodes)
        check_graph(self.node)
        self._fitted: Fitted | None = None
        self._output_schema = Schema()
        self._empty: pl.DataFrame | None = None  # the input without rows; None in a folder of an early version

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
        empty = pl.DataFrame(schema=data.scan().select(fitted.input_schema.column_names).collect_schema())
        self._keep(fitted, empty)
        return self

    def update(self, dataset: Dataset | Any) -> Growth:
        """Let ops that grow see new rows: what they knew keeps its place, new values come after it.

        Categorify keeps every code and gives new values the next ones; logs of events grow. All other statistics, of
        Normalize for example, stay as they were fitted. The passes over the rows are those of `fit` for these ops.
        What comes back says how many rows each embedding table must grow.

        Raises:
            NotFittedError: `fit` comes first.
            UnknownColumnError: a column is missing.
            DataError: there are no rows, or a column holds another kind of values than in `fit`.
        """
        fitted, before = self._need_fitted("update"), self._output_schema
        data = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        check_columns(fitted, data.schema, where="update")
        learned = relearn(self.node, fitted, data)
        self._keep(bind(self.node, fitted.input_schema, learned, fitted.fingerprint), self._empty)
        return Growth.between(before, self._output_schema)

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

    def kept_rows(self, dataset: Dataset) -> pl.Series:
        """Numbers of the rows that the workflow's filters keep, from 0, in order: what `transform` gives, row by row.

        Raises:
            NotFittedError: `fit` comes first.
            UnknownColumnError: a column is missing.
            SettingError: an op makes other rows, by groups say, so that none of them is one of the dataset's.
        """
        fitted = self._need_fitted("kept_rows")
        check_columns(fitted, dataset.schema, where="kept_rows")
        rows = fitted.columns.rows.of(dataset.scan().with_row_index(ROW))
        if ROW not in rows.collect_schema():
            raise SettingError("Workflow.kept_rows: an op makes rows of its own. Leave it out of this workflow.")
        return rows.select(ROW).collect(engine="streaming")[ROW]

    def fit_transform(self, data: Data) -> Data:
        """`fit`, then `transform` the same rows."""
        return self.fit(data).transform(data, training=True)

    @property
    def subworkflows(self) -> list[str]:
        """The names of the parts that `Subgraph` gave one, inner parts first."""
        return list(subgraphs(self.node))

    def get_subworkflow(self, name: str) -> Workflow:
        """The part of this name as a workflow of its own, which reads its own inputs only; fitted if this one is.

        Filters after the part in this workflow are not in it.

        Raises:
            UnknownNameError: there is no such part.
        """
        node = find_subgraph(self.node, name).parents[0]
        if self._fitted is None:
            return Workflow(node)
        return self._part(node, self._fitted.learned, self._fitted.input_schema)

    def remove_inputs(self, names: str | Iterable[str]) -> Workflow:
        """A new workflow without these input columns and without all that is made of them, fitted as this one is.

        For serving, where there is no target: `workflow.remove_inputs(["click"])`. A Filter or another row filter
        whose condition needs one of the columns goes too, so the rows that it left out come out again; a Dropna over
        all columns stays, over the others. A column encoded jointly with a removed one keeps its codes. An op that
        needed the column to learn alone stays as it is.

        Raises:
            NotFittedError: `fit` comes first.
            UnknownColumnError: a column is no input.
            SettingError: nothing would be left.
        """
        fitted = self._need_fitted("remove_inputs")
        unwanted = [names] if isinstance(names, str) else list(names)
        node, learned = without_inputs(self.node, fitted, unwanted)
        return self._part(node, learned, fitted.input_schema.without(unwanted))

    def explain(self) -> Explanation:
        """In words: the passes over the data that fit makes, what each output column is, how much was learned."""
        return explain(self.node, self._fitted, self._output_schema)

    def to_graphviz(self) -> str:
        """The graph as a text for Graphviz: `dot -Tsvg`."""
        return to_graphviz(self.node, self._fitted)

    def to_mermaid(self) -> str:
        """The graph as a Mermaid flowchart, which Markdown pages show as a picture."""
        return to_mermaid(self.node, self._fitted)

    def categories(self, column: str) -> pl.DataFrame:
        """What each code of an output column stands for: `value`, `count` in the training rows, `code`.

        Codes for padding, null and unknown values stand for no single value, so they are not in it.
        """
        _, learned = self._categories(column, "categories")
        return categories(learned)

    def encode(self, column: str, values: pl.Series | pl.DataFrame | Iterable[Any]) -> pl.Series:
        """The codes of raw values in an output column; of combinations, tuples, dicts or a frame of their parts."""
        op, learned = self._categories(column, "encode")
        return encode(op, learned, column, values)

    def decode(self, column: str, codes: pl.Series | Iterable[int]) -> pl.Series:
        """The raw values of codes in an output column; null for the codes of padding, null and unknown values.

        Raises:
            DataError: a code is negative or not below the column's cardinality, or is another column's.
        """
        _, learned = self._categories(column, "decode")
        return decode(learned, column, codes)

    def online(self, folder: str | Path | None = None) -> OnlineWorkflow:
        """The workflow for requests: `.transform` of a dict, or of a list of them, in microseconds a row.

        Training rows get what any other rows get, and row filters leave no row out. Take targets out first, with
        `remove_inputs`, since a request has none. What comes back does not hold on to the workflow.

        Args:
            folder: for the look-up tables. The first process writes them; every process maps them into memory, so that
                they are there once. They are written anew where they are damaged or of another workflow: give each
                workflow a folder of its own, out of which nothing but this method reads.

        Raises:
            NotFittedError: `fit` comes first.
            SettingError: an op looks at several rows at once.
            FormatError: the folder holds something else than such tables.
        """
        from tamis.features.online import online

        return online(self.node, self._need_fitted("online"), self._output_schema, folder)

    def save(self, path: str | Path) -> None:
        """Write the workflow into a folder, as JSON and parquet.

        Raises:
            NotFittedError: `fit` comes first.
            NotSavableError: an op holds something that a folder cannot hold, such as a function; nothing is written.
        """
        from tamis.features.saved import save_graph

        save_graph(self.node, self._need_fitted("save"), self._output_schema, self._empty, path)

    @classmethod
    def load(cls, path: str | Path) -> Workflow:
        """The workflow of a folder that `save` wrote.

        Raises:
            FormatError: the folder is not a workflow, is damaged or newer, or needs an op that is not imported.
        """
        from tamis.features.saved import load_graph

        node, fitted, output_schema, empty = load_graph(path)
        workflow = cls(node)
        workflow._fitted, workflow._output_schema, workflow._empty = fitted, output_schema, empty
        return workflow

    def _keep(self, fitted: Fitted, empty: pl.DataFrame | None) -> None:
        """Become what was learned; whatever fails before this leaves the workflow as it was."""
        self._output_schema = fitted.columns.schema if empty is None else _with_dtypes(fitted, empty.lazy())
        self._fitted, self._empty = fitted, empty

    def _part(self, node: Node, learned: Mapping[Node, dict[str, Learned]], schema: Schema) -> Workflow:
        """A fitted workflow of some of what this one has learned."""
        fitted, steps = self._need_fitted("part"), set(walk(node))
        mine = {step: units for step, units in learned.items() if step in steps}
        bound = bind(node, schema, mine, fitted.fingerprint if has_training_form(node) else {})
        part = Workflow(node)
        part._keep(bound, None if self._empty is None else self._empty.select(bound.input_schema.column_names))
        return part

    def _columns_of(
        self, data: Dataset, fitted: Fitted, training: bool | None
    ) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
        check_columns(fitted, data.schema, where="transform")
        if training is None:
            training = bool(fitted.fingerprint) and is_training(self.node, fitted.fingerprint, data)
        if training and fitted.fingerprint:
            return lambda frame: fitted.training_columns.of(frame.with_row_index(ROW))
        return fitted.columns.of

    def _categories(self, column: str, where: str) -> tuple[Categorify | CategorifyCombo, Learned]:
        fitted = self._need_fitted(where)
        if column not in self._output_schema:
            raise UnknownColumnError(column, self._output_schema.column_names, where=f"Workflow.{where}")
        op, learned = fitted.columns.made_by.get(column, (None, {}))
        if not isinstance(op, Categorify | CategorifyCombo):
            raise SettingError(f"Workflow.{where}: {column!r} does not come from Categorify, so it has no codes. "
                               "Name a column that does.")  # fmt: skip
        return op, learned

    def _need_fitted(self, what: str) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(f"Workflow.{what}: the workflow has not learned anything yet. Call fit first.")
        return self._fitted

    def __repr__(self) -> str:
        return f"Workflow({self.node!r})" + ("" if self.is_fitted else ", not fitted")

    def _repr_html_(self) -> str:
        state = "" if self.is_fitted else ", not fitted"
        return f'<p>Workflow{state}</p><div style="overflow:auto">{to_svg(self.node, self._fitted)}</div>'


def _with_dtypes(fitted: Fitted, empty: pl.LazyFrame) -> Schema:
    """The output schema, with the dtypes that the expressions really give."""
    present = reading(fitted.columns.of(empty).collect_schema, "Workflow.fit")
    return Schema(column.with_dtype(present[column.name]) for column in fitted.columns.schema)
