"""Features of planted users and items: what each value gives away of the hidden truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tamis.datasets.columns import Array, bounds, is_continuous, size, to_list_series, to_series, value_counts
from tamis.datasets.truth import NUM_TYPES, SUBCLUSTERS, Truth
from tamis.errors import UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

_WRONG_TYPE = 0.1  # share of users whose demographic feature says nothing about them


@dataclass(frozen=True)
class Feature:
    """A column's value for each user or item, and the hidden code that the value stands for."""

    codes: Array  # [entities]
    values: pl.Series  # [entities]

    @property
    def name(self) -> str:
        """The column's name."""
        return self.values.name

    def of(self, entities: Array) -> pl.Series:
        """The column for these users or items."""
        if self.values.dtype.is_numeric():  # NumPy gathers numbers faster
            return pl.Series(self.name, self.values.to_numpy().take(entities))
        return self.values.gather(entities)


def item_features(generator: np.random.Generator, schema: Schema, item_id: ColumnSchema, truth: Truth) -> list[Feature]:
    """Item columns: their values belong to one cluster each, the finer ones to a part of a cluster."""
    made = []
    for column in _features(schema, Tags.ITEM, item_id):
        if is_continuous(column):
            made.append(_projection(generator, column, truth.items))
            continue
        share = math.sqrt(size(column) / size(item_id))
        wanted = max(round(len(truth.items) * share), truth.num_clusters)
        codes, num_codes = _cluster_codes(generator, truth, min(wanted, size(column)))
        made.append(_labelled(generator, column, codes, num_codes))
    return made


def user_features(
    generator: np.random.Generator, schema: Schema, user_id: ColumnSchema, truth: Truth, items: Mapping[str, Feature]
) -> list[Feature]:
    """User columns: what an item the user likes has there, or the user's type, wrong for one user in ten."""
    made = []
    for column in _features(schema, Tags.USER, user_id):
        liked = column.properties.get("favourite_of")
        if is_continuous(column):
            made.append(_projection(generator, column, truth.users))
        elif liked is not None:
            feature = _named(items, liked, column)
            codes = feature.codes[truth.draw_liked(generator, np.arange(len(truth.users)))]
            made.append(_labelled(generator, column, codes, int(feature.codes.max()) + 1))
        else:
            codes, num_codes = _type_codes(generator, truth, size(column))
            made.append(_labelled(generator, column, codes, num_codes))
    return made


@dataclass(frozen=True)
class Cross:
    """A column that is not 0 where the user's favourite value is the item's."""

    column: ColumnSchema
    user: Feature
    item: Feature
    labels: Array

    def of(self, users: Array, items: Array) -> pl.Series:
        """The column for these pairs."""
        codes = self.item.codes.take(items)
        values = np.zeros(len(codes), np.int64)
        same = np.flatnonzero(self.user.codes.take(users) == codes)
        values[same] = self.labels[codes[same]]
        return to_series(self.column, values)


def crosses(
    generator: np.random.Generator, schema: Schema, users: Mapping[str, Feature], items: Mapping[str, Feature]
) -> list[Cross]:
    """The columns with the property `cross`."""
    made = []
    for column in schema:
        if pair := column.properties.get("cross"):
            user, item = _named(users, pair[0], column), _named(items, pair[1], column)
            made.append(Cross(column, user, item, _labels(generator, column, int(item.codes.max()) + 1)))
    return made


def _features(schema: Schema, tag: str, id_column: ColumnSchema) -> list[ColumnSchema]:
    columns = schema.select_by_tag(tag).excluding_by_tag([Tags.TARGET, Tags.TIME]).without(id_column.name)
    return [column for column in columns if "cross" not in column.properties]


def _named(features: Mapping[str, Feature], name: str, column: ColumnSchema) -> Feature:
    if name not in features:
        raise UnknownColumnError(name, features, where=f"generate_data: property of {column.name!r}")
    return features[name]


def _cluster_codes(generator: np.random.Generator, truth: Truth, num_codes: int) -> tuple[Array, int]:
    per_cluster = num_codes // truth.num_clusters
    if per_cluster == 0:
        return truth.cluster % num_codes, num_codes
    per_part = per_cluster // SUBCLUSTERS
    if per_part == 0:
        return truth.cluster * per_cluster + truth.subcluster % per_cluster, truth.num_clusters * per_cluster
    within = (per_part * generator.random(len(truth.items)) ** 2).astype(np.int64)  # some values hold many items
    per_cluster = per_part * SUBCLUSTERS
    return truth.cluster * per_cluster + truth.subcluster * per_part + within, truth.num_clusters * per_cluster


def _type_codes(generator: np.random.Generator, truth: Truth, num_codes: int) -> tuple[Array, int]:
    num_users = len(truth.users)
    wrong = generator.random(num_users) < _WRONG_TYPE
    types = np.where(wrong, generator.integers(0, NUM_TYPES, num_users), truth.user_type)
    per_type = num_codes // NUM_TYPES
    if per_type == 0:  # a grouping of its own for each column, so that several columns together tell the type
        return generator.permutation(NUM_TYPES)[types] % num_codes, num_codes
    return types * per_type + generator.integers(0, per_type, num_users), NUM_TYPES * per_type


def _projection(generator: np.random.Generator, column: ColumnSchema, factors: Array) -> Feature:
    direction = generator.standard_normal(factors.shape[1])
    low, high = bounds(column)
    values = low + (high - low) / (1 + np.exp(-2 * (factors @ direction)))
    return Feature(np.zeros(len(factors), np.int64), to_series(column, values))


def _labels(generator: np.random.Generator, column: ColumnSchema, num_codes: int) -> Array:
    """A value of the column's domain per code, in random order; shared where there are more codes than values."""
    number = min(num_codes, size(column))
    labels = int(bounds(column)[0]) + generator.choice(size(column), number, replace=False)
    return labels[np.arange(num_codes) % number]


def _labelled(generator: np.random.Generator, column: ColumnSchema, codes: Array, num_codes: int) -> Feature:
    if not column.is_list:
        return Feature(codes, to_series(column, _labels(generator, column, num_codes)[codes]))
    shortest, longest = value_counts(column)
    longest = min(longest, size(column))
    lengths = generator.integers(min(shortest, longest), longest, len(codes), endpoint=True)
    low, num_values = int(bounds(column)[0]), size(column)
    first = _labels(generator, column, num_codes)[codes] - low
    steps = generator.integers(1, max(num_values // longest, 1), len(codes), endpoint=True)
    values = (first[:, None] + steps[:, None] * np.arange(longest)) % num_values  # no value twice in a list
    return Feature(codes, to_list_series(column, low + values, lengths))
