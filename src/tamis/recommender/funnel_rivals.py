"""Other systems' lists, judged on the users and items of a funnel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.evaluation.rank_values import accuracy_metrics, values_of_ranks
from tamis.recommender.funnel_trace import FUNNEL
from tamis.recommender.id_rows import Rows

if TYPE_CHECKING:
    from tamis.recommender.funnel import Funnel

Rival: TypeAlias = "Mapping[Any, Sequence[Any]] | pl.DataFrame | Funnel"
_RANK = "__rank"


def rival_values(funnel: Funnel, name: str, rival: Rival) -> tuple[Rows, dict[str, NDArray[np.float64]]]:
    """Which of the funnel's users count, and the rival's metrics of each of these.

    Raises:
        SettingError: see `Funnel.compare`.
    """
    from tamis.recommender.funnel import Funnel

    if isinstance(rival, Funnel):
        return _of_funnel(funnel, name, rival)
    user, item = funnel.relevant.columns
    lists = rival if isinstance(rival, pl.DataFrame) else _as_frame(funnel, name, rival)
    for column in (user, item):
        if column not in lists.columns:
            raise SettingError(
                f"Funnel.compare: {name!r} has the columns {lists.columns}. Give {user!r} and {item!r}, one row per "
                "place, best first."
            )
    places = _ranks(lists.select(user, item).cast(funnel.relevant.schema, strict=False), user)
    found = funnel.relevant.join(places, on=[user, item], how="left", maintain_order="left")[_RANK].fill_null(0)
    rows = funnel.users.select(user).with_row_index("__row")
    query = funnel.relevant.join(rows, on=user, how="left", maintain_order="left")["__row"].to_numpy()
    metrics = accuracy_metrics(funnel.metrics, funnel.k, where="Funnel.compare")
    ranks = found.to_numpy().astype(np.int32)
    return np.arange(funnel.num_users), values_of_ranks(metrics, query.astype(np.int64), ranks, funnel.num_users)


def _as_frame(funnel: Funnel, name: str, lists: Mapping[Any, Sequence[Any]]) -> pl.DataFrame:
    user, item = funnel.relevant.columns
    users = funnel.users[user].to_list()
    missing = [one for one in users if one not in lists]
    if missing:
        raise SettingError(
            f"Funnel.compare: {name!r} has no list for {len(missing):,} of {len(users):,} users, {missing[0]!r} say. "
            "Give one per judged user, [] for none."
        )
    dtypes = funnel.relevant.schema
    pairs = [(one, entry) for one in users for entry in lists[one]]
    return pl.DataFrame(
        {
            user: pl.Series([one for one, _ in pairs], dtype=dtypes[user]),
            item: pl.Series([entry for _, entry in pairs], strict=False).cast(dtypes[item], strict=False),
        }
    )


def _ranks(lists: pl.DataFrame, user: str) -> pl.DataFrame:
    """Each pair with its place from 1; an item that stands twice in a list counts where it stands first."""
    placed = lists.with_columns(pl.int_range(1, pl.len() + 1).over(user).alias(_RANK))
    return placed.unique(lists.columns, keep="first", maintain_order=True)


def _of_funnel(funnel: Funnel, name: str, rival: Funnel) -> tuple[Rows, dict[str, NDArray[np.float64]]]:
    from tamis.recommender.funnel import value_column

    missing = [metric for metric in funnel.metrics if metric not in rival.metrics]
    if missing:
        raise SettingError(f"Funnel.compare: {name!r} has no {', '.join(missing)}. Measure it with the same metrics.")
    user, other = funnel.relevant.columns[0], rival.relevant.columns[0]
    theirs = rival.users.rename({other: user}).cast({user: funnel.users.schema[user]}, strict=False)
    rows = funnel.users.select(user).with_row_index("__row").join(theirs, on=user, maintain_order="left")
    if not len(rows):
        raise SettingError(f"Funnel.compare: {name!r} judged none of the same users. Give it the same held-out data.")
    values = {metric: rows[value_column(FUNNEL, metric)].to_numpy() for metric in funnel.metrics}
    return rows["__row"].to_numpy().astype(np.int64), values
