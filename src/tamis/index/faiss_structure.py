"""The FAISS structures and their one setting each that trades speed for recall."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
_MAPPED = getattr(faiss, "IO_FLAG_MMAP_IFC", 0)  # before FAISS 1.11, files are read into memory


@dataclass(frozen=True)
class Structure:
    """One FAISS index of inner products; rows are numbered in the order in which they were added.

    Args:
        kind: one of `KINDS`.
        faiss_index: the FAISS object.
        file: what the object lies in, as long as it is a view of a file: it then takes no rows.
    """

    kind: str
    faiss_index: Any
    file: mmap.mmap | None = None

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
        """Append rows, which a structure in a file does not take; see `in_memory`."""
        assert self.file is None  # FAISS would end the process
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
        """The structure that `write` wrote, in the file, so that processes share it; the file may go meanwhile."""
        if not _MAPPED:
            return cls(kind, faiss.read_index(str(file)))
        with file.open("rb") as handle:
            whole = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(kind, faiss.read_index(str(file), _MAPPED), whole)

    def in_memory(self) -> Structure:
        """The same structure, but one that takes rows."""
        if self.file is None:
            return self
        self.file.seek(0)
        return Structure(self.kind, faiss.read_index(faiss.PyCallbackIOReader(self.file.read)))

    @cached_property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.faiss_index.d)

    @cached_property
    def efforts(self) -> tuple[int, int]:
        """The smallest and largest setting worth trying: cells looked into, or the length of HNSW's list."""
        if self.kind == "flat":
            return 1, 1
        return (16, _LARGEST_EF) if self.kind == "hnsw" else (1, int(self.faiss_index.nlist))

    def search(
        self, queries: Vectors, k: int, *, effort: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Scores and rows [queries, k]; -1 where fewer were found. FAISS is asked for the allowed rows only."""
        if allowed is None:
            parameters = _parameters(self.kind, effort, k if self.kind == "hnsw" else 0)
        else:
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            parameters = _new_parameters(self.kind, effort, k, sel=selector)
        found: tuple[Vectors, NDArray[np.int64]] = self.faiss_index.search(queries, k, params=parameters)
        return found

    def search_all(self, queries: Vectors, k: int, *, allowed: NDArray[np.bool_]) -> tuple[Vectors, NDArray[np.int64]]:
        """As `search`, but looks at every row."""
        if self.kind == "hnsw":
            return Structure("flat", self.faiss_index.storage).search(queries, k, effort=1, allowed=allowed)
        return self.search(queries, k, effort=self.efforts[1], allowed=allowed)


def _new_parameters(kind: str, effort: int, k: int, **settings: Any) -> Any:
    if kind == "flat":
        return faiss.SearchParameters(**settings)
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=max(effort, k), **settings)
    return faiss.SearchParametersIVF(nprobe=effort, **settings)


_parameters = lru_cache(256)(_new_parameters)  # they are only read, and making them takes as long as a small search


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
