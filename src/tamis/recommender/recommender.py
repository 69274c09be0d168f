"""Everything a request needs as one object: raw user ids in, raw item ids out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.data.unique_rows import first_rows
from tamis.errors import DataError, SchemaError, SettingError
from tamis.features.workflow import Workflow
from tamis.folders import read_manifest, saving
from tamis.index import Index, SearchResult, build_index, load_index
from tamis.recommender.item_columns import one_row_per_item, with_columns
from tamis.recommender.raw_ids import as_ids
from tamis.recommender.seen import Codes, SeenItems
from tamis.schema import Tags

if TYPE_CHECKING:
    from tamis.evaluation.metrics import Metric
    from tamis.models.encoder import Encoder
    from tamis.models.retrieval import RetrievalModel

KIND = "recommender"
VERSION = 1
RETRIEVAL, POPULARITY = "retrieval", "popularity"
_BLOCK = 8192  # users answered at once, so that a million of them stay in bounded memory
_TUNING_QUERIES = 2000


class Recommender:
    """A source of candidates (the retrieval model through its index), a filter (items seen) and raw ids at the border.

    Build it with `build`, or read it with `load`.

    Args:
        workflow: turns raw rows into codes, and codes back into ids.
        encoder: the query tower.
        index: over the items' vectors, by item code.
        users: one row of query features per known user, as codes.
        seen: items per user.
        popular: two columns, item code and number of training rows, most frequent first.
        items: raw item columns to show beside the ids, by raw item id.
    """

    def __init__(
        self,
        workflow: Workflow,
        encoder: Encoder,
        index: Index,
        users: pl.DataFrame,
        seen: SeenItems,
        popular: pl.DataFrame,
        items: pl.DataFrame | None = None,
    ) -> None:
        self.workflow, self.encoder, self.index = workflow, encoder, index
        self.users, self.seen, self.popular, self.items = users, seen, popular, items
        self.user_id: str = encoder.schema.select_by_tag(Tags.USER_ID).first.name
        self.item_id: str = popular.columns[0]
        self._user_codes: Codes = users[self.user_id].to_numpy().astype(np.int64)
        self._popular_codes: Codes = popular[self.item_id].to_numpy().astype(np.int64)
        self._shares = (popular["count"] / popular["count"].sum()).to_numpy().astype(np.float32)

    @classmethod
    def build(
        cls,
        model: RetrievalModel,
        workflow: Workflow,
        train: Dataset,
        *,
        items: Any = None,
        index: str = "auto",
        target_recall: float = 0.99,
        seed: int = 0,
    ) -> Recommender:
        """A recommender out of a fitted model, its workflow and the encoded interactions that users have behind them.

        Args:
            model: fitted; its catalogue becomes the candidates. Codes without a raw id (unknown items) never do.
            workflow: what encoded the model's data.
            train: encoded interactions: the features of known users and the items they have seen.
            items: a frame or Dataset of raw item columns to show beside the ids; of each item, the first row.
            index: kind of index, see `build_index`.
            target_recall: what an approximate index is tuned to.
            seed: of the index.

        Raises:
            NotFittedError: the model or the workflow is not fitted.
            SchemaError: the model's query has no user id.
            DataError: no item of the catalogue, or no user, has a raw id.
        """
        encoder, item = model.query_encoder, model.item_id
        tagged = encoder.schema.select_by_tag(Tags.USER_ID)
        if not len(tagged):
            raise SchemaError("Recommender: the model's query has no user id to ask by. Tag one with TagAsUserID.")
        user = tagged.first.name
        queries = train.select(encoder.schema.column_names).scan()
        users = first_rows(queries, user).collect(engine="streaming").sort(user)
        users = users.filter(workflow.decode(user, users[user]).is_not_null())
        if not len(users):
            raise DataError(
                "Recommender: no user of the data has a raw id. Give the encoded rows that were trained on."
            )
        catalogue = model.catalogue()
        catalogue = catalogue.select(workflow.decode(item, catalogue.ids).is_not_null().to_numpy())
        if not len(catalogue.ids):
            raise DataError("Recommender: no item of the catalogue has a raw id. Fit the model on rows of known items.")
        built = build_index(
            catalogue.vectors,
            catalogue.ids,
            kind=index,
            k=min(100, len(catalogue.ids)),
            target_recall=target_recall,
            queries=encoder.encode(users.sample(min(_TUNING_QUERIES, len(users)), seed=seed)).numpy(),
            seed=seed,
        )
        popular = pl.DataFrame({item: catalogue.ids, "count": catalogue.counts})
        popular = popular.sort("count", item, descending=[True, False])
        # Codes of unknown items stand for many: that a user saw one of them says nothing about another.
        first_code = workflow.categories(item)["code"].min()
        seen = SeenItems.of(train.scan().filter(pl.col(item) >= first_code), user, item)
        dtype = workflow.categories(item)["value"].dtype
        shown = None if items is None else one_row_per_item(Dataset(items), item, dtype)
        return cls(workflow, encoder, built, users, seen, popular, shown)

    @property
    def num_items(self) -> int:
        """Size of the catalogue."""
        return len(self.popular)

    def recommend(
        self, user_ids: Iterable[Any], k: int = 10, *, exclude_seen: bool = True, show: Sequence[str] = ()
    ) -> pl.DataFrame:
        """The `k` best items of each user, in the order asked for.

        Users that the training data does not know get the most popular items, marked `"popularity"` in `source`; their
        score is the share of training rows. Users with fewer than `k` unseen items get fewer rows.

        Args:
            user_ids: raw ids; values that cannot be ids at all are unknown users, and null in the answer.
            k: length of the lists.
            exclude_seen: leave out what the user has seen.
            show: columns of `items` to add.

        Returns: the user id, `rank` from 1, the item id, `score`, `source`, then the columns of `show`.

        Raises:
            SettingError: k below 1 or larger than the catalogue; no list of ids; nothing to `show`.
            UnknownColumnError: `show` names a column that the items do not have.
        """
        if not 1 <= k <= self.num_items:
            raise SettingError(
                f"recommend: k is {k}, but the catalogue has {self.num_items:,} items. Choose 1 to {self.num_items:,}."
            )
        asked = self._as_ids(user_ids)
        blocks = [self._block(asked.slice(at, _BLOCK), k, exclude_seen) for at in range(0, max(len(asked), 1), _BLOCK)]
        found = pl.concat(blocks)
        return with_columns(found, self.items, self.item_id, show) if show else found

    def _as_ids(self, user_ids: Iterable[Any]) -> pl.Series:
        return as_ids(user_ids, self.user_id, self.workflow.categories(self.user_id)["value"].dtype)

    def _block(self, asked: pl.Series, k: int, exclude_seen: bool) -> pl.DataFrame:
        codes = self.workflow.encode(self.user_id, asked).to_numpy()
        is_known = self.knows(codes)
        items = np.full((len(codes), k), -1, np.int64)
        scores = np.full((len(codes), k), -np.inf, np.float32)
        if is_known.any():
            found = self.search(codes[is_known], k, exclude_seen=exclude_seen)
            items[is_known], scores[is_known] = found.ids, found.scores
        items[~is_known], scores[~is_known] = self._popular_codes[:k], self._shares[:k]
        return self._frame(asked, items, scores, is_known)

    def unknown_users(self, user_ids: Iterable[Any]) -> list[Any]:
        """Those of these raw ids that the training data does not know, as they were given."""
        given = list(user_ids)
        is_known = self.knows(self.workflow.encode(self.user_id, self._as_ids(given)).to_numpy())
        return [user for user, known in zip(given, is_known.tolist(), strict=True) if not known]

    def knows(self, user_codes: Codes) -> Any:
        """Which of these user codes have features in the training data: [users], booleans."""
        rows = np.searchsorted(self._user_codes, user_codes).clip(max=len(self._user_codes) - 1)
        return self._user_codes[rows] == user_codes

    def search(self, user_codes: Codes, k: int, *, exclude_seen: bool = True) -> SearchResult:
        """The best items of known users, by code: [users, k], ending with -1 where fewer are left."""
        rows = np.searchsorted(self._user_codes, user_codes)
        vectors = self.encoder.encode(self.users[rows]).numpy()
        return self.index.search(vectors, k, exclude=self.seen.of_users(user_codes) if exclude_seen else None)

    def _frame(self, asked: pl.Series, items: Codes, scores: Any, is_known: Any) -> pl.DataFrame:
        num_users, k = items.shape
        decoded = self.workflow.decode(self.item_id, pl.Series(items.clip(min=0).ravel()))
        sources = np.where(is_known, RETRIEVAL, POPULARITY)
        frame = pl.DataFrame(
            {
                self.user_id: asked.gather(np.repeat(np.arange(num_users), k)),
                "rank": np.tile(np.arange(1, k + 1), num_users),
                self.item_id: decoded,
                "score": scores.ravel(),
                "source": np.repeat(sources, k),
            },
            schema_overrides={"source": pl.String, "rank": pl.Int64},
        )
        return frame.filter(pl.Series(items.ravel() >= 0))

    def evaluate(
        self, held_out: Dataset, *, metrics: Iterable[str | Metric] | None = None, exclude_seen: bool = True
    ) -> dict[str, float]:
        """Metrics of the lists that are really served, and those of the popularity list beside them.

        Args:
            held_out: raw later interactions; the workflow's filters apply, so only positives count.
            metrics: by default Recall and NDCG at 10.
            exclude_seen: leave out what each user has seen; such held-out items are then not relevant either.

        Returns: each metric by name, the popularity list's with `popularity_` before it, `num_users` that were judged
            and `num_unknown_rows`, held-out rows of users that the training data does not know.

        Raises:
            DataError: no row of a known user is left.
        """
        from tamis.recommender.judging import judge_recommender

        return judge_recommender(self, held_out, metrics=metrics, exclude_seen=exclude_seen)

    def save(self, path: str | Path) -> None:
        """Write everything as one folder of JSON, parquet, safetensors and the index's own file."""
        with saving(path, kind=KIND, version=VERSION, num_items=self.num_items, num_users=len(self.users)) as folder:
            self.workflow.save(folder / "workflow")
            self.encoder.save(folder / "query_encoder")
            self.index.save(folder / "index")
            self.users.write_parquet(folder / "users.parquet")
            self.seen.frame.write_parquet(folder / "seen.parquet")
            self.popular.write_parquet(folder / "popular.parquet")
            if self.items is not None:
                self.items.write_parquet(folder / "items.parquet")

    @classmethod
    def load(cls, path: str | Path) -> Recommender:
        """Read what `save` wrote.

        Raises:
            FormatError: no such folder, another kind, a missing or changed file, or a newer version.
        """
        from tamis.models.encoder import Encoder

        folder = Path(path)
        read_manifest(folder, kind=KIND, version=VERSION)
        items = folder / "items.parquet"
        return cls(
            Workflow.load(folder / "workflow"),
            Encoder.load(folder / "query_encoder"),
            load_index(folder / "index"),
            pl.read_parquet(folder / "users.parquet"),
            SeenItems(pl.read_parquet(folder / "seen.parquet")),
            pl.read_parquet(folder / "popular.parquet"),
            pl.read_parquet(items) if items.is_file() else None,
        )

    def __repr__(self) -> str:
        return f"Recommender({len(self.users):,} users, {self.num_items:,} items, index={type(self.index).__name__})"
