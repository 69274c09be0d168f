"""A query tower and an index as one object: features in, item ids out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import SettingError
from tamis.folders import read_json, read_manifest, saving, write_json
from tamis.index import Index, build_index, load_index
from tamis.models.encoder import Encoder

KIND = "top_k_encoder"
VERSION = 1


class TopKEncoder:
    """Answers queries with the `k` best items.

    Args:
        encoder: of the queries.
        index: over the candidates' vectors.
        k: length of the answers.
    """

    def __init__(self, encoder: Encoder, index: Index, k: int) -> None:
        self.encoder, self.index, self.k = encoder, index, k

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        vectors: Any,
        ids: Any,
        *,
        k: int,
        kind: str,
        target_recall: float = 0.99,
        queries: Any = None,
    ) -> TopKEncoder:
        """An encoder over an index of these vectors [items, dim] and ids [items].

        An approximate index is tuned on `queries` [n, dim], or where there are none on the items' own vectors.

        Raises:
            SettingError: k below 1 or larger than the number of items.
        """
        if not 1 <= k <= len(ids):
            raise SettingError(
                f"to_top_k_encoder: k is {k}, but there are {len(ids)} candidates. Choose 1 to {len(ids)}."
            )
        return cls(encoder, build_index(vectors, ids, kind=kind, k=k, target_recall=target_recall, queries=queries), k)

    def predict(self, data: Any, *, k: int | None = None, exclude: list[np.ndarray[Any, Any]] | None = None) -> Dataset:
        """The best items of each row of query features, in the rows' order.

        Args:
            data: rows of query features.
            k: length of the lists, by default that of the encoder.
            exclude: per row, item ids to leave out.

        Returns: columns `ids` and `scores`, lists of `k`, best first; shorter where fewer items are left.
        """
        queries = self.encoder.encode(data).numpy()
        found = self.index.search(queries, self.k if k is None else k, exclude=exclude)
        real = found.ids >= 0
        lists = {
            "ids": [ids[keep] for ids, keep in zip(found.ids, real, strict=True)],
            "scores": [scores[keep] for scores, keep in zip(found.scores, real, strict=True)],
        }
        return Dataset(pl.DataFrame(lists, schema={"ids": pl.List(pl.Int64), "scores": pl.List(pl.Float32)}))

    def save(self, path: str | Path) -> None:
        """Write encoder and index as one folder."""
        with saving(path, kind=KIND, version=VERSION) as folder:
            self.encoder.save(folder / "encoder")
            self.index.save(folder / "index")
            write_json(folder / "settings.json", {"k": self.k})

    @classmethod
    def load(cls, path: str | Path) -> TopKEncoder:
        """Read what `save` wrote.

        Raises:
            FormatError: no such folder, another kind, changed files, or a newer version.
        """
        folder = Path(path)
        read_manifest(folder, kind=KIND, version=VERSION)
        k = read_json(folder / "settings.json")["k"]
        return cls(Encoder.load(folder / "encoder"), load_index(folder / "index"), k)
