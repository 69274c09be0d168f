"""What may not be recommended: items that everybody is denied, and items that one user is."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import SettingError, UnknownColumnError
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.described import Described
from tamis.recommender.expressions import canonical, parse_condition
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries
from tamis.recommender.raw_ids import as_ids

Mask: TypeAlias = NDArray[np.bool_]


class Filter(Described, ABC):
    """Takes items out of the running: for all requests alike, for each by itself, or both.

    A subclass is a frozen dataclass whose fields are its settings; it overrides what it needs.
    """

    @property
    def name(self) -> str:
        """How reports call it."""
        return repr(self)

    def allowed(self, catalogue: Catalogue) -> Mask | None:
        """[items] which of them may be recommended to anybody; None for all."""
        return None

    def excluded(self, queries: Queries) -> list[Rows] | None:
        """For each request the items that it may not get, besides; None for no items at all."""
        return None

    def unknown_ids(self, catalogue: Catalogue) -> list[Any]:
        """Raw ids among the settings that the catalogue does not have."""
        return []


@dataclass(frozen=True)
class SeenItems(Filter):
    """Leave out what the user has seen already.

    Args:
        latest: only so many items that the user met last; None for all of them.

    Raises:
        SettingError: `latest` is below 1.
    """

    latest: int | None = None

    def __post_init__(self) -> None:
        if self.latest is not None and self.latest < 1:
            raise SettingError(f"SeenItems: latest is {self.latest}. Give 1 or more, or None for all seen items.")

    @property
    def name(self) -> str:
        """How reports call it."""
        return "SeenItems()" if self.latest is None else f"SeenItems({self.latest})"

    def excluded(self, queries: Queries) -> list[Rows] | None:
        """The items seen."""
        if self.latest is None:
            return list(queries.seen)
        return [seen[-self.latest :] for seen in queries.seen]


@dataclass(frozen=True)
class _IdFilter(Filter):
    """What AllowItems and DenyItems share."""

    ids: Iterable[Any]

    def __post_init__(self) -> None:
        ids: Any = self.ids
        if isinstance(ids, str | bytes | pl.DataFrame) or not isinstance(ids, Iterable):
            raise SettingError(f"{type(self).__name__}: {ids!r} is not a list of item ids. Give a list, [1, 2] say.")
        object.__setattr__(self, "ids", tuple(one.item() if isinstance(one, np.generic) else one for one in ids))

    @property
    def name(self) -> str:
        """How reports call it."""
        num_ids = len(tuple(self.ids))
        return f"{type(self).__name__}({num_ids:,} id{'' if num_ids == 1 else 's'})"

    def unknown_ids(self, catalogue: Catalogue) -> list[Any]:
        """Those of the ids that the catalogue does not have."""
        rows = self._rows(catalogue)
        return [one for one, row in zip(self.ids, rows.tolist(), strict=True) if row < 0]

    def _listed(self, catalogue: Catalogue) -> Mask:
        rows = self._rows(catalogue)
        listed = np.zeros(len(catalogue), np.bool_)
        listed[rows[rows >= 0]] = True
        return listed

    def _rows(self, catalogue: Catalogue) -> Rows:
        return catalogue.rows_of(as_ids(self.ids, catalogue.ids.name, catalogue.ids.dtype))


class AllowItems(_IdFilter):
    """Recommend these items alone.

    Ids that the catalogue does not have are kept in the settings, since the items may still come, and allow nothing
    until then; `unknown_ids` names them.

    Args:
        ids: raw ids.

    Raises:
        SettingError: no list of ids.
    """

    def allowed(self, catalogue: Catalogue) -> Mask:
        """The items listed."""
        return self._listed(catalogue)


class DenyItems(_IdFilter):
    """Never recommend these items.

    Ids that the catalogue does not have are kept in the settings and deny the item as soon as it comes; `unknown_ids`
    names them.

    Args:
        ids: raw ids.

    Raises:
        SettingError: no list of ids.
    """

    def allowed(self, catalogue: Catalogue) -> Mask:
        """All but the items listed."""
        return ~self._listed(catalogue)


@dataclass(frozen=True)
class Where(Filter):
    """Recommend items alone that fulfil a condition on the catalogue's columns; see `parse_condition` for its words.

    The raw id can be named too, unless a column has its name. An item for which the condition is null is left out.

    Args:
        condition: such as `'category == 3 and price < 20'`.

    Raises:
        SettingError: it is no condition. What it says of the columns is checked when the catalogue is there.
    """

    condition: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "condition", canonical(self.condition, where="Where"))

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"Where({self.condition!r})"

    def allowed(self, catalogue: Catalogue) -> Mask:
        """The items that fulfil the condition."""
        frame = _with_id(catalogue)
        passes = frame.select(parse_condition(self.condition, frame.schema, where="Where")).to_series()
        return passes.to_numpy().astype(np.bool_)


@dataclass(frozen=True)
class Available(Filter):
    """Recommend items alone whose boolean column is true; null is not available.

    Args:
        column: of the catalogue's columns, `"in_stock"` say.
    """

    column: str

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"Available({self.column!r})"

    def allowed(self, catalogue: Catalogue) -> Mask:
        """The items for which the column is true."""
        if self.column not in catalogue.columns.columns:
            raise UnknownColumnError(self.column, catalogue.columns.columns, where="Available", what="item column")
        values = catalogue.columns[self.column]
        if values.dtype != pl.Boolean:
            raise SettingError(
                f"Available: {self.column!r} holds {values.dtype}, not true and false. Write a condition instead, "
                f"Where('{self.column} > 0') say."
            )
        return values.fill_null(False).to_numpy().astype(np.bool_)


def _with_id(catalogue: Catalogue) -> pl.DataFrame:
    ids, columns = catalogue.ids, catalogue.columns
    return columns if ids.name in columns.columns else columns.hstack([ids]) if columns.width else ids.to_frame()


def check_filters(filters: Sequence[Filter], catalogue: Catalogue) -> None:
    """Refuse filters that this catalogue's columns do not fit, before anything is asked.

    Raises:
        UnknownColumnError: a column that is not there.
        SettingError: a condition that compares what cannot be compared, or no filter at all.
    """
    for one in filters:
        if not isinstance(one, Filter):
            raise SettingError(
                f"Recommender: {one!r} is no filter. Give SeenItems(), Where('price < 20') and the like."
            )
        one.allowed(catalogue)
