"""Search in Qdrant, a server of its own: the vectors need no memory here, and several machines share them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tamis.errors import FormatError, MissingExtraError, UnreachableError
from tamis.folders import saving
from tamis.index.exact import VERSION, check_index_kind
from tamis.index.protocol import (
    NO_ID,
    NO_SCORE,
    Ids,
    SearchResult,
    Vectors,
    as_catalogue,
    as_exclusions,
    as_ids,
    as_vectors,
    check_search,
    rows_of,
)

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_AT_ONCE = 500  # vectors in one request
_MOST_FETCHED = 2000  # up to so many are fetched and sorted out here, beyond it Qdrant is told what is allowed
_RECALL_QUERIES, _INDEXED_S = 50, 120.0


class QdrantIndex:
    """Qdrant behind the interface of `Index`. Best first, equal scores by the smaller id.

    The ids that can be found are remembered here: what the collection holds besides never comes back.

    Args:
        url: `http://host:6333`, or `https://`.
        collection: its name.
        api_key: of the server.
        k: length of the lists that the recall is measured on.
        client: in place of one for the URL.

    Raises:
        MissingExtraError: the package of `tamis[qdrant]` is not installed.
    """

    def __init__(
        self,
        url: str,
        collection: str,
        *,
        api_key: str | None = None,
        k: int = 100,
        client: QdrantClient | None = None,
    ) -> None:
        self.url, self.collection, self.k = url, collection, k
        self._client = client or _connect(url, api_key)
        self._dim: int | None = None
        self._recall = 0.0
        self._ids: Ids = np.zeros(0, np.int64)

    @property
    def recall(self) -> float:
        """Share of the true best `k` that searches found when the index was built."""
        return self._recall

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return check_search(1, self._dim, where="QdrantIndex.dim")

    @property
    def ids(self) -> Ids:
        """The ids that can be found, ascending."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"QdrantIndex({self.collection!r}, {len(self):,} vectors, recall@{self.k} {self.recall:.3f})"

    def build(
        self, vectors: ArrayLike, ids: ArrayLike, *, added: Callable[[int], None] | None = None, indexed: bool = True
    ) -> Self:
        """Hold these vectors [candidates, dim] under these ids [candidates], and nothing else; replaces the collection.

        Args:
            vectors: [candidates, dim]
            ids: [candidates], whole numbers from 0 on, each once.
            added: told how many more are there, every now and then.
            indexed: false does not wait until Qdrant has made its graph, and measures no recall.

        Raises:
            DataError: an id given twice or below 0, vectors that are not finite, lengths that differ.
            UnreachableError: Qdrant does not answer.
        """
        from qdrant_client import models

        matrix, names = as_catalogue(vectors, ids, where="QdrantIndex.build")
        with self._telling():
            if self._client.collection_exists(self.collection):
                self._client.delete_collection(self.collection)
            size = max(matrix.shape[1], 1)
            params = models.VectorParams(size=size, distance=models.Distance.DOT)
            self._client.create_collection(self.collection, vectors_config=params)
            self._put(matrix, names, added)
        self._dim, self._ids = matrix.shape[1], names
        if indexed:
            self._wait_until_indexed()
            self._recall = self._measured(matrix)
        return self

    def attach(self, ids: ArrayLike, dim: int) -> Self:
        """Search a collection that was built elsewhere, for these ids.

        Raises:
            DataError: no ids.
        """
        self._ids, self._dim = np.unique(as_ids(ids, where="QdrantIndex.attach")), dim
        return self

    def ping(self) -> None:
        """See that Qdrant answers.

        Raises:
            UnreachableError: it does not.
        """
        with self._telling():
            self._client.collection_exists(self.collection)

    def check(self) -> None:
        """See that Qdrant answers and has all the vectors.

        Raises:
            UnreachableError: it does not answer.
            FormatError: the collection is not there, or incomplete.
        """
        with self._telling():
            count = self._client.count(self.collection, exact=True).count
        if count < len(self):
            raise FormatError(
                f"QdrantIndex: the collection {self.collection!r} has {count:,} of {len(self):,} vectors. "
                "Run: tamis push BUNDLE --to URL."
            )

    def search(
        self, queries: ArrayLike, k: int, *, exclude: Sequence[ArrayLike] | None = None, allow: ArrayLike | None = None
    ) -> SearchResult:
        """The `k` best candidates of each query [queries, dim]; see `Index.search`.

        Raises:
            NotFittedError: nothing was built.
            SettingError: `k` is below 1, or not one list of exclusions per query.
            DataError: queries of another width, or not finite.
            UnreachableError: Qdrant does not answer.
        """
        dim = check_search(k, self._dim, where="QdrantIndex.search")
        matrix = as_vectors(queries, where="QdrantIndex.search", what="query", dim=dim)
        excluded = as_exclusions(exclude, len(matrix), where="QdrantIndex.search") or [self._ids[:0]] * len(matrix)
        allowed = self._ids if allow is None else self._known(allow)
        result = SearchResult(
            np.full((len(matrix), k), NO_SCORE, np.float32), np.full((len(matrix), k), NO_ID, np.int64)
        )
        if len(allowed) and len(matrix):
            with self._telling():
                self._fill(result, matrix, excluded, allowed)
        return result

    def _fill(self, result: SearchResult, queries: Vectors, excluded: list[Ids], allowed: Ids) -> None:
        k = result.ids.shape[1]
        number, only = self._reach(k + max(len(own) for own in excluded), allowed)
        number = min(number, max(_MOST_FETCHED, k), len(self))
        for row, (scores, ids) in enumerate(self._asked(queries, number, only)):
            keep = np.isin(ids, allowed) & ~np.isin(ids, excluded[row])
            left = np.setdiff1d(allowed, excluded[row])
            if keep.sum() < min(k, len(left)):
                scores, ids = self._asked(queries[[row]], k, _among(left))[0]
                keep = np.isin(ids, left)
            _put_best(result, row, scores[keep], ids[keep])

    def _reach(self, number: int, allowed: Ids) -> tuple[int, Any]:
        """How many to fetch, so that so many of them are probably allowed; where these are too many, only those."""
        if len(allowed) == len(self):
            return number, None
        more = round(1.5 * number * len(self) / len(allowed)) + 20
        return (more, None) if more <= _MOST_FETCHED else (number, _among(allowed))

    def _asked(self, queries: Vectors, k: int, only: Any, *, exact: bool = False) -> list[tuple[Vectors, Ids]]:
        """Scores and ids of each query's list."""
        from qdrant_client import models

        params = models.SearchParams(exact=True) if exact else None
        asked = [models.QueryRequest(query=one, limit=k, filter=only, params=params) for one in queries.tolist()]
        found = self._client.query_batch_points(self.collection, requests=asked)
        return [
            (
                np.array([point.score for point in one.points], np.float32),
                np.array([point.id for point in one.points], np.int64),
            )
            for one in found
        ]

    def upsert(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors, or replace those of ids that are there already.

        Raises:
            NotFittedError: nothing was built.
            DataError: as `build`, and vectors of another width.
            UnreachableError: Qdrant does not answer.
        """
        dim = check_search(1, self._dim, where="QdrantIndex.upsert")
        matrix, names = as_catalogue(vectors, ids, where="QdrantIndex.upsert", dim=dim)
        with self._telling():
            self._put(matrix, names)
        self._ids = np.union1d(self._ids, names)

    def remove(self, ids: ArrayLike) -> None:
        """Take ids out; unknown ids are ignored.

        Raises:
            NotFittedError: nothing was built.
            UnreachableError: Qdrant does not answer.
        """
        from qdrant_client import models

        check_search(1, self._dim, where="QdrantIndex.remove")
        gone = self._known(ids, where="QdrantIndex.remove")
        if len(gone):
            with self._telling():
                selector = models.PointIdsList(points=gone.tolist())
                self._client.delete(self.collection, points_selector=selector, wait=True)
        self._ids = np.setdiff1d(self._ids, gone)

    def save(self, path: str | Path) -> None:
        """Write where the collection is, and its ids, as a folder; the vectors stay in Qdrant.

        Raises:
            NotFittedError: nothing was built.
        """
        facts = {"url": self.url, "collection": self.collection, "k": self.k, "recall": self.recall, "dim": self.dim}
        with saving(path, kind="index", version=VERSION, index="qdrant", **facts) as folder:
            np.save(folder / "ids.npy", self._ids, allow_pickle=False)

    @classmethod
    def load(cls, path: str | Path, *, api_key: str | None = None) -> Self:
        """The index of a folder that `save` wrote.

        Raises:
            FormatError: not a saved index of this kind.
        """
        manifest = check_index_kind(path, "qdrant")
        index = cls(manifest["url"], manifest["collection"], api_key=api_key, k=manifest["k"])
        index.attach(np.load(Path(path) / "ids.npy", allow_pickle=False), manifest["dim"])
        index._recall = manifest["recall"]
        return index

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _known(self, ids: ArrayLike, where: str = "QdrantIndex.search") -> Ids:
        return self._ids[rows_of(self._ids, np.unique(as_ids(ids, where=where)))]

    def _put(self, matrix: Vectors, names: Ids, added: Callable[[int], None] | None = None) -> None:
        from qdrant_client import models

        for start in range(0, len(names), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            batch = models.Batch(ids=names[some].tolist(), vectors=matrix[some].tolist())
            self._client.upsert(self.collection, points=batch, wait=True)
            if added is not None:
                added(len(names[some]))

    def _wait_until_indexed(self) -> None:
        from qdrant_client import models

        deadline = time.monotonic() + _INDEXED_S
        with self._telling():
            while self._client.get_collection(self.collection).status != models.CollectionStatus.GREEN:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.2)

    def _measured(self, matrix: Vectors) -> float:
        """The recall, by vectors of the index itself as queries."""
        if not len(matrix):
            return 1.0
        some = matrix[np.random.default_rng(0).permutation(len(matrix))[:_RECALL_QUERIES]]
        k = min(self.k, len(matrix))
        with self._telling():
            pairs = zip(self._asked(some, k, None), self._asked(some, k, None, exact=True), strict=True)
            return float(np.mean([np.isin(truth[1], found[1]).mean() for found, truth in pairs]))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """An error of the connection, or of the server, in our words."""
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        try:
            yield
        except UnexpectedResponse as error:
            if error.status_code == 404:
                raise FormatError(
                    f"QdrantIndex: {self.url} has no collection {self.collection!r}. Run: tamis push BUNDLE --to URL."
                ) from error
            raise UnreachableError(
                f"QdrantIndex: {self.url} answers {error.status_code}: {error.content!r}."
            ) from error
        except (ResponseHandlingException, OSError) as error:
            raise UnreachableError(
                f"QdrantIndex: {self.url} does not answer ({error}). See that Qdrant runs there."
            ) from error


def _connect(url: str, api_key: str | None) -> QdrantClient:
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise MissingExtraError("qdrant-client", "qdrant", where="QdrantIndex") from error
    return QdrantClient(url=url, api_key=api_key, timeout=60, check_compatibility=False)


def _among(ids: Ids) -> Any:
    from qdrant_client import models

    return models.Filter(must=[models.HasIdCondition(has_id=ids.tolist())])


def _put_best(result: SearchResult, row: int, scores: Vectors, ids: Ids) -> None:
    """These candidates as the list of a query."""
    order = np.lexsort((ids, -scores))[: result.ids.shape[1]]
    result.scores[row, : len(order)], result.ids[row, : len(order)] = scores[order], ids[order]
