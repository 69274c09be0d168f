"""The raw format of Ali-CCP: lines of features `field 0x02 value 0x03 weight`, with 0x01 between features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from tamis.datasets.schemas import named_schema
from tamis.errors import DataError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

FIELDS: Mapping[str, str] = {
    "101": "user_id",
    "109_14": "user_categories",
    "110_14": "user_shops",
    "127_14": "user_brands",
    "150_14": "user_intentions",
    "121": "user_profile",
    "122": "user_group",
    "124": "user_gender",
    "125": "user_age",
    "126": "user_consumption_1",
    "127": "user_consumption_2",
    "128": "user_is_occupied",
    "129": "user_geography",
    "205": "item_id",
    "206": "item_category",
    "207": "item_shop",
    "210": "item_intention",
    "216": "item_brand",
    "508": "user_item_categories",
    "509": "user_item_shops",
    "702": "user_item_brands",
    "853": "user_item_intentions",
    "301": "position",
}
MULTI_VALUED = (
    "user_categories", "user_shops", "user_brands", "user_intentions", "item_intention", "user_item_intentions",
)  # fmt: skip
_WEIGHTED = ("user_item_categories", "user_item_shops", "user_item_brands", "user_item_intentions")
_BYTES_PER_READ = 16 * 2**20


@dataclass(frozen=True)
class Layout:
    """Which raw field goes into which column, and how."""

    fields: Mapping[str, str]
    multi_valued: frozenset[str]
    schema: Schema  # of the written rows, sample id and targets included

    @classmethod
    def of(cls, fields: Mapping[str, str], multi_valued: Sequence[str], columns: Sequence[str] | None) -> Layout:
        """The layout that keeps these columns.

        Raises:
            UnknownColumnError: a column that no field becomes.
        """
        for name in [*(columns or ()), *multi_valued]:
            if name not in fields.values():
                raise UnknownColumnError(name, fields.values(), where="prepare_aliccp")
        wanted = [name for name in fields.values() if columns is None or name in columns]
        lists = frozenset(multi_valued)
        tags = {column.name: column for column in named_schema("aliccp-raw")}
        made = [ColumnSchema("sample_id", dtype="int64")]
        for name in wanted:
            made.append(_described(tags.get(name, ColumnSchema(name)), name in lists))
            if name in lists:
                made.append(ColumnSchema(f"{name}_weights", dtype="float32", is_list=True, tags=frozenset({Tags.LIST})))
            elif name in _WEIGHTED:
                made.append(ColumnSchema(f"{name}_weight", dtype="float32"))
        return cls(dict(fields), lists, Schema([*made, _described(tags["click"]), _described(tags["conversion"])]))

    @property
    def features(self) -> list[ColumnSchema]:
        """The columns that come out of the feature lists, weights apart."""
        names = set(self.fields.values())
        return [column for column in self.schema if column.name in names]

    def weight_of(self, name: str) -> str | None:
        """The column that holds the weight of this one."""
        weight = f"{name}_weights" if name in self.multi_valued else f"{name}_weight"
        return weight if weight in self.schema else None

    def merge(self, own: pl.DataFrame, shared: pl.DataFrame) -> pl.DataFrame:
        """Rows with the features of both frames; where both have a single value, the own one counts."""
        merged = []
        for name in own.columns:
            mine, common = own[name], shared[name]
            if common.null_count() == len(common) or (mine.null_count() == 0 and not own[name].dtype.is_nested()):
                merged.append(mine)
            elif mine.null_count() == len(mine):
                merged.append(common)
            else:
                merged.append(_combined(mine, common))
        return pl.DataFrame(merged)


def _combined(mine: pl.Series, common: pl.Series) -> pl.Series:
    pair = pl.DataFrame([mine.alias("mine"), common.alias("common")])
    both = pl.concat_list("mine", "common") if mine.dtype.is_nested() else pl.col("mine")
    return pair.select(pl.coalesce(both, "mine", "common").alias(mine.name)).to_series()


def _described(column: ColumnSchema, is_list: bool = False) -> ColumnSchema:
    """The generator's column as the raw files have it: their values keep to no domain."""
    dtype = "int8" if column.has_tag(Tags.TARGET) else "int64"
    tags = column.tags | {Tags.LIST} if is_list else column.tags
    return ColumnSchema(column.name, dtype=dtype, tags=frozenset(tags), is_list=is_list)


def read_lines(file: Path, columns: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
    """The file's lines as text columns with their number in `line`, about 16 MB of text at a time."""
    num_lines = 0
    for text in _whole_lines(file):
        try:
            lines = pl.read_csv(
                BytesIO(text), has_header=False, schema=dict(columns), quote_char=None, truncate_ragged_lines=False
            )
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{file}, after line {num_lines}: these are not lines of {len(columns)} parts between commas "
                f"({str(error).splitlines()[0]}). Unpack the file again."
            ) from error
        yield lines.with_row_index("line", offset=num_lines + 1)
        num_lines += len(lines)


def _whole_lines(file: Path) -> Iterator[bytes]:
    rest = b""
    with file.open("rb") as handle:
        while text := handle.read(_BYTES_PER_READ):
            end = text.rfind(b"\n") + 1
            if end == 0:
                rest += text
                continue
            yield rest + text[:end]
            rest = text[end:]
    if rest.strip():  # the last line may have no end
        yield rest


def widen(lines: pl.DataFrame, layout: Layout, file: Path) -> pl.DataFrame:
    """The feature lists of the lines as one column per field (and its weights); null where a line lacks a field."""
    long = _long(lines, layout, file)
    by_column = long.partition_by("column", as_dict=True, include_key=False)
    rows = lines.select("line")
    wide = []
    for column in layout.features:
        found = by_column.get((column.name,))
        values = _gathered(found, column, rows, file) if found is not None else rows.select(_empty(column))
        wide.append(values["value"].cast(_dtype(column)).alias(column.name))
        if weight := layout.weight_of(column.name):
            wide.append(values["weight"].alias(weight))
    return pl.DataFrame(wide)


def _long(lines: pl.DataFrame, layout: Layout, file: Path) -> pl.DataFrame:
    """A row per feature: line, column, value, weight."""
    listed = lines.select("line", "num_features", pl.col("features").fill_null("").str.split("\x01"))
    lost = listed.filter(pl.col("num_features").is_null())
    features = listed.explode("features").filter(pl.col("features") != "")
    field, rest = _cut("features", "\x02")
    features = features.with_columns(field.alias("field"), rest.alias("rest"))
    value, weight = _cut("rest", "\x03")
    features = features.with_columns(
        value.cast(pl.Int64, strict=False).alias("value"), weight.cast(pl.Float32, strict=False).alias("weight")
    )
    wrong = features.filter(pl.col("value").is_null() | pl.col("weight").is_null())
    if len(lost) or len(wrong):
        line = min([*lost["line"], *wrong["line"]])
        text = wrong["features"][0] if len(wrong) else ""
        raise DataError(
            f"{file}, line {line}: the feature {text!r} is damaged; it should be field, 0x02, whole number, 0x03, "
            "weight. Unpack the file again, or leave the line out."
        )
    unknown = features.filter(~pl.col("field").is_in(list(layout.fields)))
    if len(unknown):
        line, name = unknown.select("line", "field").row(0)
        raise DataError(
            f"{file}, line {line}: the field {name!r} is unknown. Name a column for it: "
            f"prepare_aliccp(..., fields={{**FIELDS, {name!r}: 'my_column'}})."
        )
    column = pl.col("field").replace_strict(dict(layout.fields), return_dtype=pl.String)
    return features.select("line", column.alias("column"), "value", "weight")


def _cut(column: str, sign: str) -> tuple[pl.Expr, pl.Expr]:
    parts = pl.col(column).str.split_exact(sign, 1)
    return parts.struct.field("field_0"), parts.struct.field("field_1")


def _gathered(found: pl.DataFrame, column: ColumnSchema, rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    """The column's values and weights in the order of `rows`."""
    if column.is_list:
        found = found.group_by("line", maintain_order=True).agg("value", "weight")
    elif found["line"].is_duplicated().any():
        line = found.filter(found["line"].is_duplicated())["line"][0]
        raise DataError(
            f"{file}, line {line}: {column.name!r} has several values. Keep them as a list: "
            f"prepare_aliccp(..., multi_valued=[*MULTI_VALUED, {column.name!r}])."
        )
    return rows.join(found, on="line", how="left", maintain_order="left")


def _dtype(column: ColumnSchema) -> Any:
    return pl.List(pl.Int64) if column.is_list else pl.Int64


def _empty(column: ColumnSchema) -> list[pl.Expr]:
    weight = pl.List(pl.Float32) if column.is_list else pl.Float32
    length = pl.len()
    return [
        pl.repeat(None, length, dtype=_dtype(column)).alias("value"),
        pl.repeat(None, length, dtype=weight).alias("weight"),
    ]
