"""Parts of a dataset at random, users or rows: decided by a hash, so that they stream and do not depend on order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import polars as pl

from tamis.data.dataset import Dataset, check_ids
from tamis.data.split import check_fractions, known_column, tagged_column
from tamis.data.stable_hash import is_hashable, stable_hash
from tamis.errors import DataError, SettingError
from tamis.schema import Tags

_HASHES = 1 << 64


def split_by_user(
    dataset: Dataset, fractions: Sequence[float] = (0.8, 0.1, 0.1), *, user: str | None = None, seed: int = 0
) -> tuple[Dataset, ...]:
    """Parts that have no user in common, each with about its fraction of the users (not of the rows).

    What it tells is how well users are served that training has never seen. A user's part hangs on the id and the seed
    alone: another order of the rows, or rows added later, move nobody, and there are no ties to break. The parts keep
    the order of the file, and nothing is read again before they are.

    Args:
        dataset: any rows.
        fractions: the share of each part; they add up to 1.
        user: the user column; by default the one tagged `Tags.USER_ID`.
        seed: another one deals the users anew.

    Raises:
        SettingError: fractions that are not positive or do not add up to 1.
        SchemaError: no column is tagged as user id and none was named.
        DataError: user ids with nulls or fractions, no rows, or so few users that a part is empty.
    """
    where = "split_by_user"
    check_fractions(fractions, where)
    user = known_column(dataset, user or tagged_column(dataset, Tags.USER_ID, where, "user"), where)
    check_ids(dataset, [user], where=where)
    return _parts(dataset, [user], fractions, seed, where)


def split_random(
    dataset: Dataset,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    together: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[Dataset, ...]:
    """Parts of rows at random, each with about its fraction of them. It leaks the future: see below.

    Training then holds rows that are later than held-out ones: what was popular afterwards, what the same user did
    next. Metrics come out higher than anything a live system can reach. It is for comparing with published results
    that were split this way, and for rows without time; to judge what will be served, use `split_by_time`.

    Rows that repeat each other are never torn apart: rows that are equal in the columns `together` share a part, or a
    model would be judged on rows that it was shown. Where a row goes hangs on these values and the seed alone, not on
    the order of the rows. The parts keep the order of the file.

    Args:
        dataset: any rows.
        fractions: the share of each part; they add up to 1.
        together: columns in which equal rows stay together; by default the user and item ids where both are tagged,
            else all columns that hold single values.
        seed: another one deals the rows anew.

    Raises:
        SettingError: fractions that are not positive or do not add up to 1; nothing to tell rows apart by.
        DataError: a column of `together` that cannot be compared; no rows, or so few that a part is empty.
    """
    where = "split_random"
    check_fractions(fractions, where)
    return _parts(dataset, _together(dataset, together, where), fractions, seed, where)


def _together(dataset: Dataset, given: Sequence[str] | None, where: str) -> list[str]:
    dtypes = dataset.scan().collect_schema()
    if given is not None:
        names = [known_column(dataset, name, where) for name in ([given] if isinstance(given, str) else given)]
        for name in names:
            if not is_hashable(dtypes[name]):
                raise DataError(
                    f"{where}: the column {name!r} holds {dtypes[name]}, which has no stable hash. Cast it to whole "
                    "numbers or text first, or leave it out of `together`."
                )
    else:
        users, items = (dataset.schema.select_by_tag(tag).column_names[:1] for tag in (Tags.USER_ID, Tags.ITEM_ID))
        every = [name for name, dtype in dtypes.items() if is_hashable(dtype)]
        names = [*users, *items] if users and items else every
    if not names:
        raise SettingError(f"{where}: there is no column to tell rows apart by. Name some with `together=`.")
    return names


def _parts(
    dataset: Dataset, columns: Sequence[str], fractions: Sequence[float], seed: int, where: str
) -> tuple[Dataset, ...]:
    hashed = stable_hash(columns, seed=seed)
    cuts = [0, *(round(share * _HASHES) for share in accumulate(fractions[:-1])), _HASHES]
    conditions = [_between(hashed, low, high) for low, high in pairwise(cuts)]
    _check_parts(dataset, columns, conditions, fractions, where)
    return tuple(dataset.filter(condition) for condition in conditions)


def _between(hashed: pl.Expr, low: int, high: int) -> pl.Expr:
    condition = hashed >= pl.lit(low, dtype=pl.UInt64)
    return condition if high == _HASHES else condition & (hashed < pl.lit(high, dtype=pl.UInt64))


def _check_parts(
    dataset: Dataset, columns: Sequence[str], conditions: Sequence[pl.Expr], fractions: Sequence[float], where: str
) -> None:
    sums = [condition.sum().alias(str(part)) for part, condition in enumerate(conditions)]
    counts = Dataset(dataset.scan().select(columns).select(sums)).compute().row(0)
    if not all(counts):
        raise DataError(
            f"{where}: parts of {tuple(fractions)} would have {', '.join(f'{count or 0:,}' for count in counts)} rows, "
            f"by {', '.join(map(repr, columns))}. Give other fractions, another seed or more rows."
        )
