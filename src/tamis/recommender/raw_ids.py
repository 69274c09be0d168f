"""Raw ids as people give them, in the dtype that the training data had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tamis.errors import SettingError
from tamis.features.lookup import kind_of


def as_ids(given: Iterable[Any], name: str, dtype: pl.DataType) -> pl.Series:
    """One id per value given; null where a value cannot be an id of this dtype.

    Text is read as the number that it spells, since a command line and a URL give nothing else. A fraction is
    nobody's id, not that of its whole part, and neither is a truth value or a date that of the number behind it.

    Raises:
        SettingError: no list of values.
    """
    if isinstance(given, str | bytes | pl.DataFrame) or not isinstance(given, Iterable):
        shown = f"a frame with the columns {given.columns}" if isinstance(given, pl.DataFrame) else repr(given)
        raise SettingError(f"recommend: {shown} is not a list of user ids. Give a list, [1, 2] say, or one column.")
    values = given if isinstance(given, pl.Series) else pl.Series(name, list(given), strict=False)
    if not _may_be(values.dtype, dtype):
        return pl.Series(name, [None] * len(values), dtype=dtype)
    ids = values.cast(dtype, strict=False).alias(name)
    if values.dtype.is_float() and dtype.is_integer():
        return ids.set(values != values.floor(), None)
    return ids


def _may_be(found: pl.DataType, wanted: pl.DataType) -> bool:
    if (found == pl.Boolean) != (wanted == pl.Boolean):
        return False
    kinds = kind_of(found), kind_of(wanted)
    return kinds[0] == kinds[1] or set(kinds) == {"number", "text"}
