"""The index that fits a catalogue's size, and any index back from its folder."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike

from tamis.errors import UnknownNameError
from tamis.folders import read_manifest
from tamis.index.exact import VERSION, ExactIndex
from tamis.index.protocol import Index, as_catalogue

KINDS = ("auto", "exact", "flat", "hnsw", "ivf", "ivf_sq8")
# Where the kinds change: an exact scan is fast enough at first, then cells pay, then memory does.
LARGEST_EXACT, LARGEST_FLAT, LARGEST_IVF = 20_000, 200_000, 5_000_000


def build_index(
    vectors: ArrayLike,
    ids: ArrayLike,
    *,
    kind: str = "auto",
    k: int = 100,
    target_recall: float = 0.99,
    queries: ArrayLike | None = None,
    seed: int = 0,
) -> Index:
    """An index of these vectors [candidates, dim] under these ids [candidates].

    Args:
        vectors: [candidates, dim]
        ids: [candidates], whole numbers from 0 on, each once.
        kind: `"exact"` (NumPy), `"flat"` (FAISS, exact too), `"hnsw"`, `"ivf"`, `"ivf_sq8"` (a quarter of the memory),
            or `"auto"`: the first of exact, flat, ivf and ivf_sq8 that is made for so many vectors.
        k: length of the lists that the recall is measured on.
        target_recall: share of the true best `k` that searches must find; approximate indexes are tuned to it.
        queries: vectors of real queries to tune on; without them candidates stand in.
        seed: of the clustering and the choice of queries.

    Raises:
        UnknownNameError: no such kind.
        SettingError: `k` or `target_recall` out of its range.
        DataError: an id given twice or below 0, vectors that are not finite, lengths that differ.
    """
    if kind not in KINDS:
        raise UnknownNameError(kind, KINDS, where="build_index", what="kind of index")
    vectors, ids = as_catalogue(vectors, ids, where="build_index")
    chosen = _kind_for(len(ids)) if kind == "auto" else kind
    if chosen == "exact":
        return ExactIndex().build(vectors, ids)
    from tamis.index.faiss import FaissIndex  # FAISS loads where it is first used

    return FaissIndex(chosen, k=k, target_recall=target_recall, seed=seed).build(vectors, ids, queries=queries)


def load_index(path: str | Path) -> Index:
    """The index of a folder, whatever its kind.

    Raises:
        FormatError: not a saved index, a damaged one, or one of a newer version.
    """
    manifest = read_manifest(path, kind="index", version=VERSION)
    if manifest["index"] == "exact":
        return ExactIndex.load(path)
    if manifest["index"] == "qdrant":
        from tamis.index.qdrant import QdrantIndex

        return QdrantIndex.load(path)
    from tamis.index.faiss import FaissIndex

    return FaissIndex.load(path)


def _kind_for(num_vectors: int) -> str:
    if num_vectors <= LARGEST_EXACT:
        return "exact"
    if num_vectors <= LARGEST_FLAT:
        return "flat"
    return "ivf" if num_vectors <= LARGEST_IVF else "ivf_sq8"
