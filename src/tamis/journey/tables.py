"""The tables that a configuration names, as rows to train, validate and test on."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tamis.data.dataset import Dataset, check_ids
from tamis.data.reading import reading
from tamis.data.split import leave_last_out, split_by_time
from tamis.errors import DataError, UnknownColumnError
from tamis.features.lookup import kind_of
from tamis.journey.config import DataConfig


def split_rows(config: DataConfig, folder: Path) -> dict[str, Dataset]:
    """The split rows, written once: `train`, `valid`, `test`, and `fit`, the part of `train` that is trained on."""
    rows = joined(config)
    if config.split == "time":
        split = split_by_time(rows, config.order, (0.8, 0.1, 0.1))
    else:
        split = leave_last_out(rows, user=config.user_id, order=config.order or None)
    parts = {name: part.to_parquet(folder / name) for name, part in zip(("train", "valid", "test"), split, strict=True)}
    for name in ("valid", "test"):
        if not parts[name].num_rows:
            raise DataError(f"{config.interactions}: no rows are left for {name}. Users need three rows or more.")
    parts["fit"] = latest(parts["train"], config, folder / "fit")
    return parts


def latest(rows: Dataset, config: DataConfig, folder: Path) -> Dataset:
    """Each user's latest rows, written, as many as the configuration trains on; all of them where it does not say."""
    if not config.latest:
        return rows
    from_end = pl.len().cast(pl.Int64) - _place(config)
    return rows.filter((from_end <= config.latest).over(config.user_id)).to_parquet(folder)


def periods(rows: Dataset, config: DataConfig, share: float, folder: Path) -> tuple[Dataset, Dataset]:
    """The rows before, and the latest `share` of them, written: of each user, or of all where the split is by time.

    Raises:
        DataError: one of the two is empty.
    """
    if config.split == "time":
        early, late = split_by_time(rows, config.order, (1 - share, share))
    else:
        count = pl.len().cast(pl.Int64)
        is_late = (count - _place(config) <= (count * share).ceil().clip(1, count - 1)).over(config.user_id)
        early, late = rows.filter(~is_late), rows.filter(is_late)
    found = early.to_parquet(folder / "early"), late.to_parquet(folder / "late")
    if not all(part.num_rows for part in found):
        raise DataError(f"{config.interactions}: there are too few rows for two stages. Leave [ranking] out.")
    return found


def _place(config: DataConfig) -> pl.Expr:
    """Each row's place in the order of time; of equal order the later in the file is the later one, as in the split."""
    row = pl.int_range(pl.len())
    return pl.arg_sort_by(config.order, row).arg_sort().cast(pl.Int64) if config.order else row


def joined(config: DataConfig) -> Dataset:
    """The positive interactions with the columns of users and items beside them, in their order.

    Raises:
        DataError: no positive row, a filter column with one value only, ids with nulls or fractions, tables whose ids
            are not unique or of another kind.
        UnknownColumnError: a column is missing.
    """
    interactions = Dataset(config.interactions)
    named = (config.user_id, config.item_id, *filter(None, (config.positive_column, config.order)))
    _need(named, interactions)
    check_ids(interactions, [config.user_id, config.item_id], where=config.interactions)
    if config.order:
        _check_order(interactions, config)
    rows = interactions.scan()
    if config.positive_column:
        _check_positives(interactions, config)
        rows = rows.filter(is_positive(config))
    tables = [(path, key) for path, key in ((config.users, config.user_id), (config.items, config.item_id)) if path]
    known = [*interactions.column_names, *(name for path, _ in tables for name in Dataset(path).column_names)]
    for name in (*config.user_features, *config.item_features):
        if name not in known:
            raise UnknownColumnError(name, known, where=config.interactions)
    for path, key in tables:
        rows = _with_table(rows, interactions, path, key, config)
    return Dataset(rows).select([*dict.fromkeys(_used(config))])


def is_positive(config: DataConfig) -> pl.Expr:
    """Whether a row counts."""
    return pl.col(config.positive_column).cast(pl.Float64) >= config.least


def item_columns(config: DataConfig) -> Dataset | None:
    """What may be shown beside an item's id: the columns to show, or all of the item table; none without a table.

    Raises:
        UnknownColumnError: the table does not have one of them.
    """
    if not config.items:
        return None
    table = Dataset(config.items)
    names = [config.item_id, *(name for name in config.show or table.column_names if name != config.item_id)]
    _need(names, table, where=config.items)
    return table.select(names)


def _used(config: DataConfig) -> list[str]:
    optional = filter(None, (config.order, config.positive_column))
    return [config.user_id, config.item_id, *config.user_features, *config.item_features, *optional]


def _need(names: tuple[str, ...] | list[str], table: Dataset, where: str = "") -> None:
    for name in names:
        if name not in table.schema:
            raise UnknownColumnError(name, table.column_names, where=where or table.files[0])


def _check_order(interactions: Dataset, config: DataConfig) -> None:
    order = pl.col(config.order)
    is_float = interactions.schema[config.order].dtype.startswith("float")
    missing = interactions.filter(order.is_null() | order.is_nan() if is_float else order.is_null()).num_rows
    if missing:
        raise DataError(
            f"{config.interactions}: {missing:,} rows have no {config.order!r}, so their place is not known. Drop or "
            "fill them first."
        )


def _check_positives(interactions: Dataset, config: DataConfig) -> None:
    where = f"{config.interactions}: the column {config.positive_column!r}"
    dtype = interactions.schema[config.positive_column].dtype
    if kind_of(dtype) != "number":
        raise DataError(f"{where} holds {dtype}, which cannot be compared with {config.least}. Make it a number.")
    column = pl.col(config.positive_column)
    asked = interactions.scan().select(
        kinds=column.n_unique(), positive=is_positive(config).sum(), low=column.min(), high=column.max()
    )
    answer = reading(lambda: asked.collect(engine="streaming"), config.interactions, interactions.files)
    found = answer.row(0, named=True)
    if found["kinds"] < 2:
        raise DataError(
            f"{where} holds only the value {found['low']!r}, so it cannot tell positives from the rest. Name another "
            "column, or leave positive_column out when every row is a positive."
        )
    if not found["positive"]:
        raise DataError(
            f"{where} goes from {found['low']!r} to {found['high']!r}, so no row reaches {config.least}. Lower "
            "positive_min."
        )


def _with_table(rows: pl.LazyFrame, interactions: Dataset, path: str, key: str, config: DataConfig) -> pl.LazyFrame:
    """The rows with the features that this table has and they have not; the table is in memory, as in any join."""
    table = Dataset(path)
    _need([key], table, where=path)
    check_ids(table, [key], where=path)
    dtypes = table.schema[key].dtype, interactions.schema[key].dtype
    if kind_of(dtypes[0]) != kind_of(dtypes[1]):
        raise DataError(
            f"{path}: {key!r} holds {dtypes[0]}, but {dtypes[1]} in {config.interactions}. Cast one to the other."
        )
    have = rows.collect_schema().names()
    features = [name for name in (*config.user_features, *config.item_features) if name not in have]
    frame = table.select([key, *(name for name in features if name in table.schema)]).compute()
    if frame[key].n_unique() < len(frame):
        raise DataError(f"{path}: {key!r} is not unique, so rows would double. Keep one row per id.")
    same = frame.with_columns(pl.col(key).cast(rows.collect_schema()[key], strict=False))  # text for categorical, say
    return rows.join(same.lazy(), on=key, how="left", maintain_order="left")
