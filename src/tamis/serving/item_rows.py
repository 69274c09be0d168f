"""Rows of items as JSON gives them, as frames that a recommender takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import polars as pl

from tamis.errors import DataError
from tamis.recommender.recommender import Recommender

_PARSERS = {pl.Date: date.fromisoformat, pl.Datetime: datetime.fromisoformat, pl.Time: time.fromisoformat}


def item_frames(recommender: Recommender, rows: Sequence[Mapping[str, Any]]) -> Iterator[pl.DataFrame]:
    """The rows in frames, one for those that have the same columns.

    A row that gives some of the columns that an item's features are made of gets the others from the catalogue, where
    the item is known and the catalogue holds them.

    Args:
        recommender: whose items they are.
        rows: raw columns, the id among them; columns that this recommender does not have are left out.

    Raises:
        DataError: a value that its column cannot hold, or a row without an id.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        whole = _completed(recommender, _known(recommender, row))
        groups.setdefault(tuple(sorted(whole)), []).append(whole)
    for names, group in groups.items():
        yield pl.DataFrame([_series(recommender, name, [row[name] for row in group]) for name in names])


def _known(recommender: Recommender, row: Mapping[str, Any]) -> dict[str, Any]:
    known = dict.fromkeys((*recommender.raw_item_columns, *recommender.catalogue.columns.columns))
    if recommender.item_id not in row:
        raise DataError(f"items: an item has no {recommender.item_id!r}, its id. Give each one.")
    return {name: value for name, value in row.items() if name in known}


def _completed(recommender: Recommender, row: dict[str, Any]) -> dict[str, Any]:
    """The row with the feature columns that it lacks, if it has any of them and the catalogue has the others."""
    columns = recommender.catalogue.columns
    features = [name for name in recommender.raw_item_columns if name != recommender.item_id]
    missing = [name for name in features if name not in row]
    if not missing or len(missing) == len(features) or any(name not in columns.columns for name in missing):
        return row
    ids = _series(recommender, recommender.item_id, [row[recommender.item_id]])
    place = int(recommender.catalogue.rows_of(ids)[0])
    return row if place < 0 else row | {name: columns[name][place] for name in missing}


def _series(recommender: Recommender, name: str, values: Sequence[Any]) -> pl.Series:
    catalogue = recommender.catalogue
    if name == recommender.item_id:
        return _ids(name, values, catalogue.ids.dtype)
    dtype = catalogue.columns.schema.get(name)
    try:
        return pl.Series(name, _parsed(values, dtype), dtype=dtype)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"items: the column {name!r} holds {dtype or 'values of one kind'}, but got {_shown(values)}. Give values "
            "of its kind."
        ) from error


def _ids(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """Text is read as the number that it spells, and numbers as their text, where the ids are the other."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise DataError(f"items: {name!r} is {value!r}. Give a whole number or a text.")
    ids = pl.Series(name, [str(value) for value in values]).cast(dtype, strict=False)
    if ids.null_count():
        wrong = next(value for value, one in zip(values, ids.to_list(), strict=True) if one is None)
        raise DataError(f"items: {name!r} is {wrong!r}, but ids are {dtype}. Give one of this kind.")
    return ids


def _parsed(values: Sequence[Any], dtype: pl.DataType | None) -> list[Any]:
    parse = None if dtype is None else _PARSERS.get(type(dtype))
    if parse is None:
        return list(values)
    return [parse(value) if isinstance(value, str) else value for value in values]


def _shown(values: Sequence[Any]) -> str:
    text = ", ".join(repr(value) for value in values[:3])
    return text if len(text) <= 100 else text[:97] + "..."
