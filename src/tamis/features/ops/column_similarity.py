"""How alike the things are that two columns name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import SettingError
from tamis.features.feature_rows import feature_rows, feature_table, inner_products
from tamis.features.lookup import kind_of, positions
from tamis.features.ops.op import Column, GroupOp, Learned
from tamis.schema import ColumnSchema, Tags

_METRICS = ("tfidf", "cosine", "inner")


@dataclass(frozen=True, eq=False)
class ColumnSimilarity(GroupOp):
    """Compare the features of what two columns name: `[["clicked", "shown"]] >> ColumnSimilarity(features)`.

    `clicked_shown_sim`, float32, takes the place of the two columns. It is the inner product of the two rows of
    features: as given (`"inner"`), each brought to length 1 before (`"cosine"`), or weighted before that by
    ln(rows / rows that have the feature) (`"tfidf"`). An id that is null or has no row gives null, a row without
    features 0.

    Args:
        left_features: of the first column: a matrix with a row for each id from 0 on, as a 2-D NumPy array or sparse as
            SciPy makes them; or a frame whose first column holds ids, each once, and whose second the list of their
            features, where a feature that comes twice counts twice.
        right_features: of the second column; by default the same.
        metric: `"tfidf"`, `"cosine"` or `"inner"`.

    Raises:
        SettingError: features of another form, an id twice, two matrices of different widths; a group of other than
            two columns, or ids of another kind than those of the features.
    """

    left_features: Any
    right_features: Any = None
    metric: str = "tfidf"

    def __post_init__(self) -> None:
        if self.metric not in _METRICS:
            raise SettingError(f"ColumnSimilarity: metric={self.metric!r} is unknown. Choose {', '.join(_METRICS)}.")
        features = [self.left_features] if self.right_features is None else [self.left_features, self.right_features]
        _need_one_width(features)
        left, *right = (
            feature_table(given, where=f"ColumnSimilarity: {side}_features")
            for given, side in zip(features, ("left", "right"), strict=False)
        )
        object.__setattr__(self, "left_features", left)
        object.__setattr__(self, "right_features", right[0] if right else None)
        kinds = [kind_of(table["feature"].dtype) for table in (left, *right)]
        if len(set(kinds)) > 1:
            raise SettingError(f"ColumnSimilarity: the features are {' and '.join(kinds)}. Give both in one form.")

    def learn(self, columns: Sequence[Column]) -> Mapping[str, pl.Expr]:
        """Nothing; refuses what is no pair of ids."""
        names = [column.name for column in columns]
        if len(columns) != 2:
            raise SettingError(
                f"ColumnSimilarity: {names} are not two columns. Select pairs: [['a', 'b']] >> ColumnSimilarity(...)."
            )
        for column, table in zip(columns, self._tables(), strict=True):
            if column.schema.is_list or kind_of(column.schema.dtype) != kind_of(table["id"].dtype):
                held = f"lists of {column.schema.dtype}" if column.schema.is_list else column.schema.dtype
                raise SettingError(
                    f"ColumnSimilarity: the column {column.name!r} holds {held}, but the ids of its features are "
                    f"{str(table['id'].dtype).lower()}. Give ids of one kind."
                )
        return {}

    def apply(self, columns: Sequence[Column], learned: Learned) -> pl.Expr:
        """The inner products, float32."""
        left, right = feature_rows(self._tables(), self.metric)
        rows = [positions([c.values], f.ids.to_frame()) for c, f in zip(columns, (left, right), strict=True)]

        def similarity(pairs: pl.Series) -> pl.Series:
            at_left, at_right = (pairs.struct.field(side) for side in ("left", "right"))
            known = at_left.is_not_null() & at_right.is_not_null()
            found = inner_products(left, at_left.filter(known).to_numpy(), right, at_right.filter(known).to_numpy())
            values = np.full(len(pairs), np.nan)
            values[known.to_numpy()] = found
            return pl.Series(pairs.name, values, dtype=pl.Float32).set(~known, None)

        pairs = pl.struct(rows[0].alias("left"), rows[1].alias("right"))
        return pairs.map_batches(similarity, return_dtype=pl.Float32, is_elementwise=True)

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> ColumnSchema:
        """Continuous."""
        return ColumnSchema(f"{columns[0].name}_{columns[1].name}_sim", "float32", frozenset({Tags.CONTINUOUS}))

    def _tables(self) -> list[pl.DataFrame]:
        return [self.left_features, self.left_features if self.right_features is None else self.right_features]


def _need_one_width(features: Sequence[Any]) -> None:
    shapes: list[tuple[int, ...]] = [
        getattr(matrix, "shape", ()) for matrix in features if not isinstance(matrix, pl.DataFrame)
    ]
    widths = [shape[1] for shape in shapes if len(shape) == 2]
    if len(set(widths)) > 1:
        raise SettingError(
            f"ColumnSimilarity: the matrices have {widths[0]} and {widths[1]} columns. Give both the same features."
        )
