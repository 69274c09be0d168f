"""Which dozen requests a bundle gets: one of each kind that people send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tamis.errors import TamisError
from tamis.recommender.filters import DenyItems, Filter, Where
from tamis.recommender.golden import Golden, GoldenRequest
from tamis.recommender.raw_draws import RawDraws
from tamis.recommender.requests import Request

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

NUM_REQUESTS = 12
_SEED, _K, _MOST = 12, 10, 50
# Made-up values may be nonsense to an op or a model: such a request is no golden one.
_NONSENSE = (TamisError, ValueError, TypeError, ArithmeticError, pl.exceptions.PolarsError)


def draw_golden(recommender: Recommender, *, seed: int = _SEED) -> Golden:
    """A dozen requests and their answers, a function of the recommender and the seed.

    Known users alone, of another length, with what they have seen, with a filter, in different contexts; known and
    unknown users with features; a user of whom nothing is known. Kinds that cannot be had, since an op takes no
    made-up values say, give way to known users; where these cannot be asked for either, there are fewer than a dozen.
    """
    draws = _Draws(recommender, np.random.default_rng(seed))
    requests, answers = [], []
    for request in draws.requests() if draws.most else ():
        try:
            answer = None if request is None else request.answer(recommender)
        except _NONSENSE:
            continue
        if request is not None and answer is not None:
            requests.append(request)
            answers.append(answer)
        if len(requests) == NUM_REQUESTS:
            break
    return Golden(requests, answers)


class _Draws:
    """Draws requests of one recommender."""

    def __init__(self, recommender: Recommender, generator: np.random.Generator) -> None:
        self.recommender, self.generator = recommender, generator
        most = min(recommender.num_items, sum(source.quota for source in recommender.sources))
        self.most, self.k = min(most, _MOST), min(most, _K)
        raw_user = [name for name in recommender.raw_user_columns if name != recommender.user_id]
        self.features = RawDraws(recommender.workflow, raw_user, generator)
        self.context = RawDraws(recommender.workflow, recommender.raw_context_columns, generator)
        self.users = generator.permutation(len(recommender.audience))[: 2 * NUM_REQUESTS]

    def requests(self) -> Iterator[GoldenRequest | None]:
        """The dozen, then known users to stand in for those that cannot be had; None where one cannot."""
        known = self._known
        yield from (GoldenRequest("a known user", known(i), self.k) for i in range(3))
        yield GoldenRequest("a known user, seen items too", known(3), self.k, exclude_seen=False)
        yield GoldenRequest("a known user, the best item alone", known(4), 1)
        yield GoldenRequest("a known user, a long list", known(5), self.most, exclude_seen=False)
        for i in (6, 7):
            passing = self._filter()
            yield GoldenRequest(f"a known user, {passing.name}", known(i), self.k, [passing], exclude_seen=i == 6)
        yield self._with_features("a known user with features", known(8))
        yield self._with_features("an unknown user with features", self._unknown())
        yield self._with_features("another unknown user with features", self._unknown())
        yield GoldenRequest("a user of whom nothing is known", self._unknown(), self.k)
        yield from (GoldenRequest("a known user", known(i), self.k) for i in range(9, 2 * NUM_REQUESTS))

    def _known(self, number: int) -> Request:
        ids = self.recommender.audience.ids
        return self._request(ids.gather([int(self.users[number % len(self.users)])]))

    def _unknown(self) -> Request:
        ids = self.recommender.audience.ids
        return self._request(pl.Series(ids.name, [None], dtype=ids.dtype))

    def _request(self, ids: pl.Series) -> Request:
        return Request(ids.alias(self.recommender.user_id), pl.DataFrame(), self._context(), by_rows=False)

    def _context(self) -> pl.DataFrame:
        """The recommender's own context in half of the requests, where it has one; else a made-up one."""
        names, defaults = self.recommender.raw_context_columns, self.recommender.context
        is_usual = self.generator.random() < 0.5
        drawn = self.context.row() if self.context.is_possible else {}
        row = {
            name: defaults[name] if name in defaults and (is_usual or not drawn) else drawn.get(name) for name in names
        }
        return pl.DataFrame({name: [value] for name, value in row.items()})

    def _with_features(self, what: str, asked: Request) -> GoldenRequest | None:
        if not self.recommender.raw_user_columns or not self.features.is_possible:
            return None
        row = self.features.row()
        if not row:
            return None
        features = pl.DataFrame({name: [value] for name, value in row.items()})
        return GoldenRequest(what, Request(asked.ids, features, asked.context, by_rows=True), self.k)

    def _filter(self) -> Filter:
        """A condition on an item column that some items fulfil; without such a column, some items denied."""
        catalogue = self.recommender.catalogue
        for name in self.generator.permutation(catalogue.columns.columns).tolist():
            values = catalogue.columns[name].drop_nulls()
            condition = _condition(name, values, self.generator)
            try:
                if condition is not None and Where(condition).allowed(catalogue).any():
                    return Where(condition)
            except TamisError:  # a name or a value that cannot be written as a condition
                continue
        return DenyItems([one for one in catalogue.ids[:3].to_list() if isinstance(one, int | str)])


def _condition(name: str, values: pl.Series, generator: np.random.Generator) -> str | None:
    if not len(values) or values.dtype.is_nested():
        return None
    value: Any = values[int(generator.integers(len(values)))]
    if values.dtype == pl.Boolean:
        return f"`{name}` == {'true' if value else 'false'}"
    if values.dtype.is_numeric():
        middle: Any = values.median()
        return f"`{name}` <= {middle:.6g}"
    return f"`{name}` == {value!r}" if isinstance(value, str) else None
