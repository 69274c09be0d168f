"""What requests may hold, with their limits. Unknown fields are refused: a typing error shall not pass unseen."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_validator,
)

MAX_USERS, MAX_K, MAX_CANDIDATES = 256, 500, 5000
MAX_ITEMS, MAX_EVENTS, MAX_EXCLUDE, MAX_RANKED_ITEMS = 1000, 1000, 10_000, 5000
MAX_FILTERS, MAX_FILTER_LETTERS, MAX_COLUMNS, MAX_LIST, MAX_TEXT = 20, 2000, 200, 1000, 10_000
_MAX_ID_LETTERS = 500

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def _raw_id(value: Any) -> int | str:
    if isinstance(value, str) and len(value) <= _MAX_ID_LETTERS:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and _LOWEST <= value <= _HIGHEST:
        return value
    raise ValueError(f"give a whole number of 64 bits, or a text of up to {_MAX_ID_LETTERS} letters")


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and _LOWEST <= value <= _HIGHEST:
        return value
    raise ValueError(
        f"give a finite number of 64 bits, a text of up to {MAX_TEXT:,} letters, true, false, null, or a list of up to "
        f"{MAX_LIST:,} of them"
    )


def _raw_value(value: Any) -> Any:
    if isinstance(value, list) and len(value) <= MAX_LIST:
        return [_scalar(one) for one in value]
    return _scalar(value)


Scalar: TypeAlias = int | float | str | bool | None
RawIdField: TypeAlias = Annotated[int | str, PlainValidator(_raw_id, json_schema_input_type=int | str)]
RawValue: TypeAlias = Annotated[
    Scalar | list[Scalar], PlainValidator(_raw_value, json_schema_input_type=Scalar | list[Scalar])
]
Columns: TypeAlias = Annotated[dict[Annotated[str, Field(max_length=500)], RawValue], Field(max_length=MAX_COLUMNS)]
Condition: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_FILTER_LETTERS)]
ColumnName: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]


def _distinct(names: list[Any]) -> list[Any]:
    if len(set(names)) < len(names):
        raise ValueError("the same value is given twice")
    return names


Show: TypeAlias = Annotated[list[ColumnName], Field(max_length=MAX_COLUMNS), AfterValidator(_distinct)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ItemConditions(_Model):
    """What says which items may come back, and what is told of them."""

    k: Annotated[StrictInt, Field(ge=1, le=MAX_K, description="Length of the list.")] = 10
    filters: Annotated[
        list[Condition],
        Field(max_length=MAX_FILTERS, description="Conditions on item columns, such as `price < 20`; all must hold."),
    ] = []
    exclude: Annotated[
        list[RawIdField], Field(max_length=MAX_EXCLUDE, description="Ids of items that are not wanted.")
    ] = []
    show: Annotated[Show, Field(description="Item columns to add to each item.")] = []
    timeout_ms: Annotated[
        StrictFloat | StrictInt | None,
        Field(gt=0, allow_inf_nan=False, description="By then the answer is wanted, simpler where time is short."),
    ] = None


class RecommendRequest(_ItemConditions):
    """Lists for users that are named, described, or both."""

    users: Annotated[list[RawIdField], Field(max_length=MAX_USERS, description="Raw user ids.", examples=[["u1"]])] = []
    features: Annotated[
        list[Columns],
        Field(
            max_length=MAX_USERS,
            description="Raw user columns, for each of `users` in their order; without `users`, of somebody unnamed.",
        ),
    ] = []
    context: Annotated[Columns, Field(description="Raw columns of the situation, the same for all users.")] = {}
    exclude_seen: Annotated[StrictBool, Field(description="False lets come back what a user has met.")] = True
    num_candidates: Annotated[
        StrictInt | None, Field(ge=1, le=MAX_CANDIDATES, description="How many the sources find together.")
    ] = None
    num_ranked: Annotated[
        StrictInt | None, Field(ge=1, le=MAX_CANDIDATES, description="How many of them the ranker looks at.")
    ] = None
    explain: Annotated[StrictBool, Field(description="Tell what each list was made of.")] = False
    version: Annotated[
        str | None, Field(min_length=1, max_length=200, description="A loaded version, in place of the users' own.")
    ] = None

    @model_validator(mode="after")
    def _has_users(self) -> RecommendRequest:
        if not self.users and not self.features:
            raise ValueError("give `users`, `features`, or both")
        if self.users and self.features and len(self.users) != len(self.features):
            raise ValueError(f"there are {len(self.users)} users, but features of {len(self.features)}; give one each")
        if self.num_ranked is not None and self.num_ranked < self.k:
            raise ValueError(f"num_ranked is {self.num_ranked}, less than k, which is {self.k}; rank at least k")
        return self


class SimilarItemsRequest(_ItemConditions):
    """Items that resemble others."""

    items: Annotated[list[RawIdField], Field(min_length=1, max_length=MAX_USERS, examples=[[1]])]
    source: Annotated[
        str | None, Field(max_length=100, description="Which source of the bundle says what resembles what.")
    ] = None


class RankRequest(_Model):
    """A caller's own candidates, to be put in order for one user."""

    items: Annotated[list[RawIdField], Field(min_length=1, max_length=MAX_RANKED_ITEMS)]
    user: RawIdField | None = None
    features: Columns = {}
    context: Columns = {}
    show: Show = []
    explain: StrictBool = False


class PutItemsRequest(_Model):
    """New items, or what changed of known ones: raw columns with the id."""

    items: Annotated[list[Columns], Field(min_length=1, max_length=MAX_ITEMS)]


class PutUserRequest(_Model):
    """Raw user columns; they replace those that were put before."""

    features: Columns


class EventField(_Model):
    """A user met an item."""

    user: RawIdField
    item: RawIdField
    kind: Annotated[str | None, Field(max_length=100, description="What happened, `click` say.")] = None


class EventsRequest(_Model):
    """What users just saw or chose, oldest first."""

    events: Annotated[list[EventField], Field(min_length=1, max_length=MAX_EVENTS)]
