"""The FAISS structures and their one setting each that trades speed for recall."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from tamis.index.protocol import Vectors

faiss: Any = _faiss  # its own stubs know neither keyword arguments nor the parameters of HNSW

KINDS = ("flat", "hnsw", "ivf", "ivf_sq8")
_LINKS, _EFFORT_OF_BUILDING = 32, 128  # of HNSW
_LARGEST_EF = 4096
_POINTS_PER_CELL = 64  # to find the centre of a cell; more only make building slower


@dataclass(frozen=True)
class Structure:
    """One FAISS index of inner products; rows are numbered in the order in which they were added.

    Args:
        kind: one of `KINDS`.
        faiss_index: the FAISS object.
    """

    kind: str
    faiss_index: Any

    @classmethod
    def of(cls, kind: str, vectors: Vectors, *, seed: int) -> Structure:
        """A structure that holds these vectors."""
        index = _empty(kind, len(vectors), vectors.shape[1])
        if kind.startswith("ivf"):
            index.cp.seed, index.cp.max_points_per_centroid = seed, _POINTS_PER_CELL
            index.train(vectors)
            index.make_direct_map()  # so that vectors can be read back by row
        structure = cls(kind, index)
        structure.add(vectors)
        return structure

    def add(self, vectors: Vectors) -> None:
        """Append rows."""
        with _one_thread() if self.kind == "hnsw" else _all_threads():
            self.faiss_index.add(vectors)

    def read(self, rows: NDArray[np.int64]) -> Vectors:
        """The vectors of these rows, as exactly as the structure keeps them."""
        if len(rows) == 0:
            return np.zeros((0, self.dim), np.float32)
        found: Vectors = self.faiss_index.reconstruct_batch(rows)
        return found

    def write(self, file: Path) -> None:
        """Write FAISS' own file."""
        faiss.write_index(self.faiss_index, str(file))

    @classmethod
    def of_file(cls, kind: str, file: Path) -> Structure:
        """The structure that `write` wrote."""
        return cls(kind, faiss.read_index(str(file)))

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.faiss_index.d)

    @property
    def efforts(self) -> tuple[int, int]:
        """The smallest and largest setting worth trying: cells looked into, or the length of HNSW's list."""
        if self.kind == "flat":
            return 1, 1
        return (16, _LARGEST_EF) if self.kind == "hnsw" else (1, int(self.faiss_index.nlist))

    def search(
        self, queries: Vectors, k: int, *, effort: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Scores and rows [queries, k]; -1 where fewer were found. FAISS is asked for the allowed rows only."""
        selector = None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        settings = {} if selector is None else {"sel": selector}
        if self.kind == "flat":
            parameters = faiss.SearchParameters(**settings)
        elif self.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(effort, k), **settings)
        else:
            parameters = faiss.SearchParametersIVF(nprobe=effort, **settings)
        found: tuple[Vectors, NDArray[np.int64]] = self.faiss_index.search(queries, k, params=parameters)
        return found

    def search_all(self, queries: Vectors, k: int, *, allowed: NDArray[np.bool_]) -> tuple[Vectors, NDArray[np.int64]]:
        """As `search`, but looks at every row."""
        if self.kind == "hnsw":
            return Structure("flat", self.faiss_index.storage).search(queries, k, effort=1, allowed=allowed)
        return self.search(queries, k, effort=self.efforts[1], allowed=allowed)


def _empty(kind: str, num_vectors: int, dim: int) -> Any:
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.IndexFlatIP(dim)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, _LINKS, metric)
        index.hnsw.efConstruction = _EFFORT_OF_BUILDING
        return index
    # FAISS wants 39 points to place the centre of a cell.
    num_cells = max(1, min(int(4 * num_vectors**0.5), num_vectors // 39))
    centres = faiss.IndexFlatIP(dim)
    if kind == "ivf":
        index = faiss.IndexIVFFlat(centres, dim, num_cells, metric)
    else:
        index = faiss.IndexIVFScalarQuantizer(centres, dim, num_cells, faiss.ScalarQuantizer.QT_8bit, metric)
    index.own_fields = True
    centres.this.disown()
    return index


@contextmanager
def _one_thread() -> Iterator[None]:
    """HNSW links rows in the order in which threads come by: with one thread the same graph comes out each time."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def _all_threads() -> Iterator[None]:
    yield
