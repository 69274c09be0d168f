"""Vectors of the catalogue's items, each encoded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows

Vectors = NDArray[np.float32]


class ItemVectors:
    """Gives vectors by row, and keeps them until the catalogue changes. Memory is touched for items asked for alone.

    Args:
        catalogue: the items.
        encode: from the catalogue and rows to vectors [rows, dim].
    """

    def __init__(self, catalogue: Catalogue, encode: Callable[[Catalogue, Rows], Vectors]) -> None:
        self._catalogue, self._encode = catalogue, encode
        self._version: int | None = None

    def __call__(self, rows: Rows) -> Vectors:
        """[rows, dim]"""
        if self._version != self._catalogue.version:
            self._version = self._catalogue.version
            self._vectors: Vectors | None = None
            self._is_known = np.zeros(len(self._catalogue), np.bool_)
        missing = np.unique(rows[~self._is_known[rows]])
        if len(missing) or self._vectors is None:
            self._add(missing)
        assert self._vectors is not None
        found: Vectors = self._vectors[rows]
        return found

    def _add(self, rows: Rows) -> None:
        vectors = self._encode(self._catalogue, rows)
        if self._vectors is None:
            self._vectors = np.empty((len(self._is_known), vectors.shape[1]), np.float32)
        self._vectors[rows], self._is_known[rows] = vectors, True
