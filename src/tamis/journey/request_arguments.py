"""What a command line says of a request, in the terms of the library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import SettingError, UnknownColumnError
from tamis.schema import Schema


def check_users(users: Sequence[str] | None, output: Path | None, *, all_users: bool) -> None:
    """Refuse a request for nobody, for some and all, or for all onto the screen.

    Raises:
        SettingError: see above.
    """
    if bool(users) == all_users:
        asked = "both --user and --all-users are given" if users else "there is neither --user nor --all-users"
        raise SettingError(f"recommend: {asked}. Give --user ID, or --all-users with --output.")
    if all_users and output is None:
        raise SettingError("recommend: --all-users needs a place for the lists. Give --output recs.parquet.")


def read_context(pairs: Iterable[str], schema: Schema) -> dict[str, Any]:
    """The context by column; numbers, booleans and lists as JSON writes them, text as it is.

    Args:
        pairs: such as `"hour=20"`.
        schema: of the raw columns.

    Raises:
        SettingError: a pair without `=`, or a value that its column cannot hold.
        UnknownColumnError: there is no such raw column.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, is_pair, value = pair.partition("=")
        if not is_pair:
            raise SettingError(f"recommend: --context is {pair!r}. Give name=value, hour=20 say.")
        if name not in schema:
            raise UnknownColumnError(name, schema.column_names, where="recommend: --context")
        column = schema[name]
        is_text = not column.is_list and str(column.dtype).startswith(("string", "date", "time"))
        found[name] = value if is_text else _read(name, value, str(column.dtype))
    return found


def counted(written: Path, user_id: str) -> str:
    """In words, what a bulk run wrote."""
    rows = pl.scan_parquet(written).select(pl.len(), users=pl.col(user_id).n_unique())
    num_rows, num_users = rows.collect(engine="streaming").row(0)
    return f"{num_rows:,} items for {num_users:,} users"


def _read(name: str, value: str, dtype: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise SettingError(
            f"recommend: --context {name} is {value!r}, but the column holds {dtype}. Write it as JSON does."
        ) from error
