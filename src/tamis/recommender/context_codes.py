"""Encoded contexts of requests, kept for the next request in the same situation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from tamis.recommender.raw_encoding import RawEncoding

_MOST = 1000  # contexts; then it starts anew


@dataclass(frozen=True)
class OneContext:
    """The encoded context of one request, as a frame of one row."""

    frame: pl.DataFrame

    @cached_property
    def values(self) -> dict[str, Any]:
        """The same by column."""
        return self.frame.row(0, named=True) if self.frame.width else {}


class ContextCodes:
    """Encodes contexts. One that came before costs nothing: an hour and a device, say, are the same for many requests.

    Any number of threads may use it at once.

    Args:
        encoding: of the raw context columns.
        dtypes: of the encoded columns.
    """

    def __init__(self, encoding: RawEncoding, dtypes: Mapping[str, pl.DataType | None]) -> None:
        self._encoding, self._dtypes = encoding, dtypes
        self._kept: dict[object, OneContext] = {}

    def encode(self, context: pl.DataFrame) -> pl.DataFrame:
        """The encoded columns.

        Raises:
            DataError: a value that a column cannot hold.
        """
        return self._encoding.encode(context, self._dtypes)

    def of_one(self, given: Mapping[str, Any] | None, read: Callable[[], pl.DataFrame]) -> OneContext:
        """The encoded columns of one request; `read` makes a frame of what was given.

        Raises:
            DataError: a value that a column cannot hold.
        """
        # 1, 1.0 and True are equal, but not alike
        key = tuple((name, type(value), value) for name, value in (given or {}).items())
        try:
            found = self._kept.get(key)
        except TypeError:  # a list
            return OneContext(self.encode(read()))
        if found is None:
            found = OneContext(self.encode(read()))
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[key] = found
        return found
