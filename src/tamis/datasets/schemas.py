"""Schemas that the generator knows by name. Adding one is one entry in `SCHEMAS`.

Besides tags and domains the generator reads four properties of a column:

- `values`: the labels that stand for the numbers 1, 2, ... of the domain.
- `value_count`: `{"min", "max"}`, the lengths of a list.
- `favourite_of`: a user column that holds this column's value of an item the user likes.
- `cross`: `[user column, item column]`; the shared value where the two agree, 0 where they do not.
- `examination`: at which share of the impressions in place 1, 2, ... the user looks at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tamis.errors import UnknownNameError
from tamis.schema import ColumnSchema, Schema, Tags

GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
AGES = (1, 18, 25, 35, 45, 50, 56)


def named_schema(name: str) -> Schema:
    """The schema of that name.

    Raises:
        UnknownNameError: there is none; the nearest name is in the message.
    """
    if name not in SCHEMAS:
        raise UnknownNameError(name, SCHEMAS, where="generate_data", what="data set")
    return SCHEMAS[name]()


def _column(name: str, max: int, *tags: str, dtype: str = "int32", **properties: Any) -> ColumnSchema:
    column = ColumnSchema(name, dtype=dtype, tags=frozenset({Tags.CATEGORICAL, *tags}), properties=properties)
    return column.with_domain(max)


def _target(name: str) -> ColumnSchema:
    tags = frozenset({Tags.TARGET, Tags.BINARY_CLASSIFICATION, Tags.BINARY})
    return ColumnSchema(name, dtype="int8", tags=tags).with_domain(1)


def _aliccp_raw() -> Schema:
    user, item, context = Tags.USER, Tags.ITEM, Tags.CONTEXT
    return Schema(
        [
            _column("user_id", 294_736, Tags.USER_ID, dtype="int64"),
            _column("item_id", 3_078_306, Tags.ITEM_ID, dtype="int64"),
            _column("item_category", 8_581, item),
            _column("item_shop", 604_498, item),
            _column("item_brand", 208_179, item),
            _column("item_intention", 96_258, item),
            _column("user_categories", 6_086, user, favourite_of="item_category"),
            _column("user_shops", 116_741, user, favourite_of="item_shop"),
            _column("user_brands", 58_015, user, favourite_of="item_brand"),
            _column("user_intentions", 33_786, user, favourite_of="item_intention"),
            _column("user_profile", 98, user),
            _column("user_group", 14, user),
            _column("user_gender", 3, user),
            _column("user_age", 8, user),
            _column("user_consumption_1", 4, user),
            _column("user_consumption_2", 4, user),
            _column("user_is_occupied", 3, user),
            _column("user_geography", 5, user),
            _column("user_item_categories", 7_735, context, cross=["user_categories", "item_category"]),
            _column("user_item_shops", 384_343, context, cross=["user_shops", "item_shop"]),
            _column("user_item_brands", 142_632, context, cross=["user_brands", "item_brand"]),
            _column("user_item_intentions", 74_317, context, cross=["user_intentions", "item_intention"]),
            _column("position", 4, context, examination=[1.0, 0.9, 0.8, 0.7]),
            _target("click"),
            _target("conversion"),
        ]
    )


def _movielens_1m() -> Schema:
    user, item = Tags.USER, Tags.ITEM
    rating = ColumnSchema("rating", dtype="int8", tags=frozenset({Tags.TARGET, Tags.REGRESSION}))
    time = ColumnSchema("timestamp", dtype="int64", tags=frozenset({Tags.TIME}))
    genres = _column("genres", len(GENRES), item, dtype="string", values=list(GENRES), value_count={"min": 1, "max": 4})
    return Schema(
        [
            _column("user_id", 6_040, Tags.USER_ID, dtype="int64"),
            _column("movie_id", 3_952, Tags.ITEM_ID, dtype="int64"),
            _column("gender", 2, user, dtype="string", values=["F", "M"]),
            _column("age", len(AGES), user, values=list(AGES)),
            _column("occupation", 21, user, values=list(range(21))),
            _column("zip_code", 3_439, user, dtype="string"),
            genres.with_dtype("string", is_list=True).with_tags(Tags.LIST),
            rating.with_domain(5, min=1),
            time.with_domain(1_046_454_590, min=956_703_932),  # April 2000 to February 2003, as in MovieLens-1M
        ]
    )


SCHEMAS: dict[str, Callable[[], Schema]] = {
    "aliccp-raw": _aliccp_raw,
    "movielens-1m": _movielens_1m,
}
