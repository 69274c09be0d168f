"""The two stages as one object: sources, filters, a ranker and an ordering; raw ids in, raw ids out."""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import SettingError
from tamis.features.workflow import Workflow
from tamis.recommender.answer import Answer, joined
from tamis.recommender.audience import Audience
from tamis.recommender.building import (
    build_audience,
    build_catalogue,
    build_interactions,
    id_column,
    in_time,
)
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import Filter, SeenItems, Where, check_filters
from tamis.recommender.interactions import Interactions
from tamis.recommender.item_updates import ItemUpdates
from tamis.recommender.item_vectors import ItemVectors
from tamis.recommender.ordering import Ordering, check_ordering, generators_of
from tamis.recommender.queries import Queries
from tamis.recommender.query_columns import QueryColumns, query_columns
from tamis.recommender.ranker import Ranker
from tamis.recommender.raw_ids import as_ids
from tamis.recommender.requests import Asked, Context, Request, Requests
from tamis.recommender.source import Source
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.recommender.stage_set import StageSet
from tamis.schema import Tags

if TYPE_CHECKING:
    from tamis.evaluation.metrics import Metric
    from tamis.models.retrieval import RetrievalModel
    from tamis.models.scoring import ScoringModel
    from tamis.recommender.funnel import Funnel
    from tamis.recommender.funnel_ceilings import Oracle
    from tamis.recommender.onnx_runtime import ExportedRanker

_BLOCK = 4096  # requests answered at once, so that a million of them stay in bounded memory


class Recommender(StageSet):
    """Sources find candidates, filters leave some out, a ranker predicts, an ordering makes the list.

    Build it, `fit` it, ask it; `save` writes all of it as one folder.

    Args:
        sources: where candidates come from; a retrieval model stands for `Retrieval(model)`.
        filters: what is left out of every list; by default what the user has seen.
        ranker: a fitted ranking model; without one the sources' scores stand.
        ordering: steps from scores to the list, in this order; by default best score first.
        blend: how several sources' lists become one: `"reciprocal_rank"` or `"score"`.
        context: raw context columns for requests that give none.

    Raises:
        SettingError: no source, or two of one name.
        UnknownNameError: no such blend.
    """

    def __init__(
        self,
        sources: Sequence[Source | RetrievalModel] | Source | RetrievalModel,
        *,
        filters: Sequence[Filter] = (SeenItems(),),
        ranker: ScoringModel | ExportedRanker | None = None,
        ordering: Sequence[Ordering] | Ordering = (),
        blend: str = "reciprocal_rank",
        context: Mapping[str, Any] | None = None,
    ) -> None:
        given = list(sources) if isinstance(sources, Sequence) else [sources]
        super().__init__(
            [one if isinstance(one, Source) else Retrieval(one) for one in given],
            filters,
            None if ranker is None else Ranker(ranker),
            ordering if isinstance(ordering, Sequence) else (ordering,),
            blend,
        )
        self.context = dict(context or {})
        self._updates: ItemUpdates | None = None
        self._identity: tuple[int, str] | None = None  # by the catalogue's version
        self.metrics: dict[str, Any] = {}  # what was measured, as `save` and `load` keep it

    def fit(self, workflow: Workflow, interactions: Dataset, *, items: Any = None, time: str | None = None) -> Self:
        """Learn who the users are, what the items are, and what each source needs.

        Args:
            workflow: what encoded the models' data.
            interactions: encoded rows in which users took items; each counts as seen. Users and items have the features
                of their latest row. Ids that the workflow does not know are left out.
            items: a frame or Dataset of raw item columns to show and to filter by; of each item, the first row.
            time: a column of the interactions to order them by; by default they are oldest first already.

        Raises:
            SchemaError: no user or item id; columns of a model that nobody can supply at request time, by name.
            DataError: no user or item has a raw id.
            SettingError: a source's quota is larger than the catalogue.
        """
        user_id, item_id = (
            id_column(workflow.output_schema, tag, what)
            for tag, what in ((Tags.USER_ID, "user"), (Tags.ITEM_ID, "item"))
        )
        columns = self._query_columns(workflow)
        rows = in_time(interactions, time)
        audience = build_audience(rows, workflow, user_id, columns.user)
        item_columns = [c.name for c in workflow.output_schema if c.has_tag(Tags.ITEM)]
        catalogue = build_catalogue(rows, workflow, item_id, item_columns, None if items is None else Dataset(items))
        met = build_interactions(rows, audience, catalogue, user_id, item_id, time)
        self.hold(workflow, catalogue, audience, met)
        self.metrics = {}
        for source in self.sources:
            source.settle_quota(len(catalogue))
            source.fit(catalogue, met, audience)
        return self

    def _query_columns(self, workflow: Workflow) -> QueryColumns:
        """What queries are made of: all that is known of users, and what the models need besides."""
        whose: dict[str, str] = {}
        for source in self.sources:
            whose |= dict.fromkeys(source.query_columns, f"the source {source.name!r}")
        if self.ranker is not None:
            whose |= dict.fromkeys(self.ranker.query_columns, f"the ranker {self.ranker.model_name}")
        users = [c.name for c in workflow.output_schema if c.has_tag(Tags.USER) or c.has_tag(Tags.USER_ID)]
        return query_columns(workflow, [*users, *whose], whose=whose)

    def hold(self, workflow: Workflow, catalogue: Catalogue, audience: Audience, met: Interactions) -> None:
        """Go on with these parts, as `fit` and `load` do."""
        columns = self._query_columns(workflow)
        dtypes: dict[str, pl.DataType | None] = {**audience.features.schema, **dict.fromkeys(columns.context)}
        schema = workflow.output_schema
        self.user_id = id_column(schema, Tags.USER_ID, "user")
        self.item_id = id_column(schema, Tags.ITEM_ID, "item")
        catalogue.call_ids(self.item_id)  # a folder does not keep the name
        if self.ranker is not None:
            self.ranker.check_items(catalogue)
        towers = [source for source in self.sources if isinstance(source, Retrieval)]
        catalogue.vectors_of = ItemVectors(catalogue, towers[0].vectors_of) if towers else None
        check_filters(self.filters, catalogue)
        check_ordering(self.ordering, catalogue, self.targets)
        self._requests = Requests(workflow, columns, audience, met, self.user_id, self.context, dtypes)
        self._allowed = self._identity = None
        self._parts, self._updates = (workflow, catalogue, audience, met), None

    @property
    def raw_user_columns(self) -> tuple[str, ...]:
        """Raw columns that users' features are made of; rows of features may hold them."""
        return self._requests_fitted().columns.raw_user

    @property
    def raw_context_columns(self) -> tuple[str, ...]:
        """Raw columns of the context that requests must give."""
        return self._requests_fitted().columns.raw_context

    @property
    def raw_item_columns(self) -> tuple[str, ...]:
        """Raw columns that items' features are made of, the id among them."""
        return tuple(self._items().raw)

    def recommend(
        self,
        users: Asked,
        k: int = 10,
        *,
        context: Context = None,
        filters: Filter | str | Sequence[Filter | str] = (),
        exclude_seen: bool = True,
        show: Sequence[str] = (),
    ) -> pl.DataFrame:
        """The `k` best items of each user, in the order asked for.

        Users that are not known and come without features get the most popular items, marked `"popularity"` in
        `sources`; their score is the share of training rows. Lists are shorter where fewer items are left; where
        filters leave none, a warning says which.

        Args:
            users: raw ids; or rows of raw features (a frame, or a list of dicts) with or without an id, for users that
                are not known, or of whom more is known now.
            k: length of the lists.
            context: raw context columns: a dict for all users, or a frame with a row for each.
            filters: of this request only, besides the recommender's; a text stands for `Where(text)`.
            exclude_seen: false lets items come back that the recommender's `SeenItems` leaves out.
            show: raw item columns to add.

        Returns: the user id, `rank` from 1, the item id, `score`, `retrieval_score`, `ranker_` and the name for each
            target of the ranker, `sources`, then the columns of `show`. For rows of features, `query` comes first, the
            number of the row.

        Raises:
            SettingError: k below 1 or larger than the catalogue; no list of ids; a context that is missing; nothing to
                `show`.
            UnknownColumnError: a column that is not there.
        """
        request = self.read(users, context)
        answer = self.answer(request, k, filters=filters, exclude_seen=exclude_seen)
        if answer.reasons:
            warnings.warn(
                f"recommend: {len(answer.reasons):,} lists are empty: {next(iter(answer.reasons.values()))}",
                stacklevel=2,
            )
        return answer.frame(self.catalogue, self.item_id, show, by_rows=request.by_rows)

    def answer(
        self,
        request: Request,
        k: int,
        *,
        filters: Filter | str | Sequence[Filter | str] = (),
        exclude_seen: bool = True,
        generators: Sequence[np.random.Generator] | None = None,
    ) -> Answer:
        """The lists of a request, with each stage's scores and times; `generators` as `order` takes them."""
        if not 1 <= k <= self.num_items:
            raise SettingError(
                f"recommend: k is {k}, but the catalogue has {self.num_items:,} items. Choose 1 to {self.num_items:,}."
            )
        most = sum(source.quota for source in self.sources)
        if k > most:
            raise SettingError(
                f"recommend: k is {k}, but the sources give {most:,} candidates at most. Raise a quota, or lower k."
            )
        more = as_filters(filters)
        starts = range(0, max(len(request), 1), _BLOCK)
        draws = generators or generators_of(self.ordering)
        blocks = [self._block(request.slice(at, _BLOCK), k, more, exclude_seen, draws) for at in starts]
        return joined(blocks, starts)

    def _block(
        self,
        request: Request,
        k: int,
        filters: Sequence[Filter],
        exclude_seen: bool,
        generators: Sequence[np.random.Generator],
    ) -> Answer:
        watch = _Watch()
        queries = self._requests.queries(request)
        watch.lap("features")
        allowed = self.allowed(queries, filters, exclude_seen=exclude_seen)
        candidates = self.candidates(queries, allowed)
        watch.lap("retrieval")
        ranked = self.rank(queries, candidates)
        watch.lap("ranking")
        lists = self.order(ranked, k, allowed, generators=generators)
        watch.lap("ordering")
        empty = np.flatnonzero((lists.items < 0).all(axis=1)).tolist()
        reasons = {row: allowed.reason(row) or "no source has a candidate that the filters let pass" for row in empty}
        return Answer(request.ids, lists, self.source_names, self.targets, reasons, watch.ms)

    def upsert_items(self, items: Any) -> int:
        """Put items in, or change what is known of them, without training: they can be recommended at once.

        Args:
            items: rows with the raw item id, all raw feature columns of items or none of them (then only what is shown
                and filtered by changes), and any of the raw columns to show.

        Returns: how many of them are new.

        Raises:
            UnknownColumnError: a column that items do not have.
            DataError: ids with nulls or twice; some feature columns missing; a new item without features, or one that
                a source has no way to know.
        """
        return self._items().upsert(Dataset(items).compute(), self.sources)

    def check_items(self, items: Any) -> None:
        """Raise what `upsert_items` would, and change nothing."""
        self._items().check(Dataset(items).compute(), self.sources)

    def remove_items(self, item_ids: Iterable[Any]) -> int:
        """Recommend these items no more: how many of them were on offer. Unknown ids are ignored."""
        return self._items().remove(item_ids, self.sources)

    def _items(self) -> ItemUpdates:
        workflow, catalogue, _, _ = self.parts
        if self._updates is None:
            self._updates = ItemUpdates(workflow, catalogue, self.item_id)
        return self._updates

    def save(self, path: str | Path, *, metrics: Mapping[str, Any] | None = None, onnx: bool = False) -> None:
        """Write everything as one folder, the bundle, with a dozen requests and their answers: see `load`.

        Args:
            path: the folder, which replaces an older bundle as a whole.
            metrics: such as `evaluate` gave, to be kept with it as `metrics`; by default those that are kept already.
            onnx: add towers and ranker as ONNX files, so that a server needs no torch.

        Raises:
            NotFittedError: it is not fitted.
            NotSavableError: a setting, or one of the metrics, is something that JSON cannot hold.
            MissingExtraError: `onnx`, and the packages of `tamis[onnx]` are not installed.
            SchemaError: `onnx`, and a ranker of a kind that has no ONNX file.
        """
        from tamis.recommender.recommender_folder import save_recommender

        self.metrics = dict(metrics) if metrics is not None else self.metrics
        save_recommender(self, path, onnx=onnx)

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = True, runtime: str = "auto") -> Recommender:
        """Read what `save` wrote, and see that it answers as it did then. No code of the folder is run.

        Args:
            path: the folder.
            verify: answer the bundle's own requests again and compare, see `golden`.
            runtime: what runs the models: `"onnx"` loads no torch, `"torch"` needs no ONNX files; `"auto"` takes the
                first where the bundle has the files and ONNX Runtime is installed.

        Raises:
            FormatError: no such folder, another kind, a missing or changed file, a newer version, other answers, or no
                ONNX files for `"onnx"`.
            UnknownNameError: no such runtime.
            MissingExtraError: a library that the models run in is not installed.
        """
        from tamis.recommender.recommender_folder import load_recommender

        return load_recommender(path, verify=verify, runtime=runtime)

    def recommend_all(
        self,
        output: str | Path,
        users: Asked | None = None,
        k: int = 10,
        *,
        context: Context = None,
        filters: Filter | str | Sequence[Filter | str] = (),
        exclude_seen: bool = True,
        show: Sequence[str] = (),
        resume: bool = True,
        part_users: int = 20_000,
        verbose: bool = True,
    ) -> Path:
        """The lists of all known users, or of these, as parquet; memory holds those of one part at a time.

        Killed and called again, it goes on where it stood: parts that are finished are checked and kept. A recommender
        that was neither saved nor loaded is another one in every process, so save it first.

        Args:
            output: one file, if it ends in `.parquet`; else a folder, which holds a file for each part.
            users: as `recommend` takes them; by default all known users.
            k: length of the lists.
            context: as in `recommend`.
            filters: as in `recommend`.
            exclude_seen: as in `recommend`.
            show: raw item columns to add.
            resume: false drops what an earlier run wrote there and starts anew.
            part_users: users of a part.
            verbose: a progress bar on stderr.

        Returns: the output. Its columns are those of `recommend`, its rows in the order of the users.

        Raises:
            FormatError: there is something else, or a run of another recommender or with other settings.
            SettingError: as `recommend`; `part_users` below 1; another process writes there.
        """
        from tamis.recommender.bulk import BulkRun, recommend_all

        run = BulkRun(
            users, k, context=context, filters=as_filters(filters), exclude_seen=exclude_seen, show=tuple(show)
        )
        return recommend_all(self, run, output, part_users=part_users, resume=resume, verbose=verbose)

    @property
    def identity(self) -> str:
        """Tells this recommender, as it is now, from every other; of a bundle, it is the same in all processes."""
        version = self.catalogue.version
        if self._identity is None or self._identity[0] != version:
            self._identity = (version, uuid.uuid4().hex)
        return self._identity[1]

    @identity.setter
    def identity(self, name: str) -> None:
        self._identity = (self.catalogue.version, name)

    def unknown_users(self, user_ids: Iterable[Any]) -> list[Any]:
        """Those of these raw ids that the training data does not know, as they were given."""
        given = list(user_ids)
        rows = self.audience.rows_of(as_ids(given, self.user_id, self.audience.ids.dtype))
        return [user for user, row in zip(given, rows.tolist(), strict=True) if row < 0]

    def read(self, users: Asked, context: Context = None) -> Request:
        """What callers give, checked: see `recommend`."""
        return self._requests_fitted().read(users, context)

    def queries(self, users: Asked, context: Context = None, *, stored: pl.DataFrame | None = None) -> Queries:
        """The encoded queries of users, as `recommend` takes them; with features of a store, see `FeatureStore`."""
        return self._requests_fitted().queries(self.read(users, context), stored)

    def queries_of(self, users: Sequence[Any], context: Mapping[str, Any] | None = None) -> Queries:
        """The encoded queries of a few users by raw id, in the kind that ids have; None is nobody who is known."""
        return self._requests_fitted().of_users(users, context)

    def evaluate(
        self, held_out: Dataset, *, metrics: Iterable[str | Metric] | None = None, exclude_seen: bool = True
    ) -> dict[str, float]:
        """Metrics of the lists that are really served, and those of the popularity list beside them.

        Args:
            held_out: raw later interactions. Rows count that the workflow's filters keep and, where the workflow hands
                on a target that is no amount, for which the first such target is 1.
            metrics: by default Recall and NDCG at 10.
            exclude_seen: as in `recommend`; where the recommender has `SeenItems`, held-out items that the user had met
                before are then not relevant either.

        Returns: each metric by name, the popularity list's with `popularity_` before it, `num_users` that were judged
            and `num_unknown_rows`, held-out rows of users that the training data does not know.

        Raises:
            DataError: no row of a known user is left.
        """
        from tamis.recommender.judging import judge_recommender

        return judge_recommender(self, held_out, metrics=metrics, exclude_seen=exclude_seen)

    def funnel(
        self,
        held_out: Dataset,
        k: int = 10,
        *,
        metrics: Iterable[str | Metric] | None = None,
        slices: Sequence[str] = (),
        filters: Filter | str | Sequence[Filter | str] = (),
        exclude_seen: bool = True,
        count_seen: bool = False,
        count_unknown: bool = False,
        oracle: Oracle | None = None,
        oracle_scores: Callable[..., Any] | None = None,
        seed: int = 0,
        num_samples: int = 1000,
        verbose: bool = True,
    ) -> Funnel:
        """What every stage keeps and loses of what users took later, with intervals; see `Funnel`.

        Args:
            held_out: raw later interactions; which rows count says `evaluate`.
            k: length of the lists.
            metrics: with a value per user; by default NDCG, Recall and MRR at k.
            slices: columns of the held-out data or of the items to look at value by value, besides new and heavy users,
                popular and other items.
            filters: besides the recommender's, as in `recommend`.
            exclude_seen: as in `evaluate`.
            count_seen: true makes items relevant too that the user had met before, to see what `SeenItems` loses.
            count_unknown: true judges users too that are not known and have no features; they get popular items.
            oracle: the best lists that there can be, in raw ids: by raw user id, or a function that takes an array of
                users and gives a list for each. What the filters deny is left out of them.
            oracle_scores: a function that takes arrays of users and items, pair by pair, and gives their true scores:
                the best that a ranker could do with the same candidates.
            seed: of the intervals.
            num_samples: how many times users are drawn for an interval.
            verbose: a progress bar on stderr.

        Raises:
            DataError: no row of a known user is left.
            SettingError: k is larger than the catalogue, a metric without a value per user, an oracle that does not
                fit.
            UnknownColumnError: there is no such column to slice by.
        """
        from tamis.recommender.funnel_measuring import measure_funnel
        from tamis.recommender.funnel_trace import FunnelSettings

        settings = FunnelSettings(
            k, as_filters(filters), exclude_seen, count_seen, count_unknown, oracle, oracle_scores, verbose
        )
        return measure_funnel(
            self, held_out, settings, metrics=metrics, slices=slices, seed=seed, num_samples=num_samples
        )

    def _requests_fitted(self) -> Requests:
        assert self.parts
        return self._requests

    def __repr__(self) -> str:
        known = f"{len(self.audience):,} users, {self.num_items:,} items" if self._parts else "not fitted"
        ranker = "none" if self.ranker is None else self.ranker.model_name
        return f"Recommender({known}, sources={self.source_names[:-1]}, ranker={ranker})"


def as_filters(given: Filter | str | Sequence[Filter | str]) -> list[Filter]:
    """The filters that a request gave."""
    several = [given] if isinstance(given, Filter | str) else given
    return [Where(one) if isinstance(one, str) else one for one in several]


class _Watch:
    """Milliseconds of stages that follow each other."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.ms[stage], self._last = (now - self._last) * 1000, now
