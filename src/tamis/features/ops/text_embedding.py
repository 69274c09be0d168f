"""Texts to vectors."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError, SettingError
from tamis.features.lookup import bucket, kind_of
from tamis.features.ops.op import Column, ColumnOp, Learned
from tamis.schema import ColumnSchema, Schema, Tags

Encoder = Callable[[list[str]], Any]
_LENGTHS = (3, 4, 5)  # of the parts of words
_CHUNK = 4096  # texts at a time: their words' vectors lie side by side


@dataclass(frozen=True)
class TextEmbedding(ColumnOp):
    """Turn each text into a vector of `dim` float32 numbers of length 1, for towers and rankers.

    Without an encoder, nothing is learned: the text's words, and the parts of 3 to 5 letters of each, are hashed to a
    place in the vector and a sign, and added up. Texts that share words or parts of them come near each other, on
    every machine alike; capital letters, order and punctuation do not count. A text without words, and null, is all
    zeros. A list of texts is taken as one text.

    Args:
        dim: length of the vectors.
        encoder: a function from a list of texts to an array [texts, dim], a language model's say. It gets the distinct
            texts of some rows, and its vectors are taken as they are; null is all zeros. A workflow with one cannot be
            saved.

    Raises:
        SettingError: dim is not a whole number of at least 1; a column holds no text.
        DataError: the encoder gives an array of another shape.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
    """

    leaves: ClassVar[bool] = False

    dim: int = 64
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.dim, int) or isinstance(self.dim, bool) or self.dim < 1:
            raise SettingError(f"TextEmbedding: dim={self.dim!r} is not a whole number of at least 1.")
        if self.encoder is not None and not callable(self.encoder):
            raise SettingError(f"TextEmbedding: encoder={self.encoder!r} is not a function of a list of texts.")

    def check(self, columns: Schema) -> None:
        """Refuse columns without text."""
        for column in columns:
            if kind_of(column.dtype) != "text":
                raise SettingError(f"TextEmbedding: the column {column.name!r} holds {column.dtype}, not text.")

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The vectors, as an array of a fixed width."""
        texts = column.values
        if column.schema.is_list:
            lists = texts if column.schema.width is None else texts.arr.to_list()
            texts = lists.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
        dtype = pl.Array(pl.Float32, self.dim)
        return texts.cast(pl.String).map_batches(self._vectors, return_dtype=dtype, is_elementwise=True)

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """A vector to embed with, no longer text."""
        plain = ColumnSchema(column.name, tags=column.tags - {Tags.TEXT, Tags.LIST})
        return plain.with_dtype(pl.Array(pl.Float32, self.dim)).with_tags(Tags.EMBEDDING)

    def _vectors(self, texts: pl.Series) -> pl.Series:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        is_text = texts.is_not_null().to_numpy()
        if is_text.any():
            distinct = texts.drop_nulls().unique()
            encoder = self.encoder
            encoded = _hashed(distinct, self.dim) if encoder is None else _encoded(distinct, self.dim, encoder)
            vectors[is_text] = encoded[texts.drop_nulls().cast(pl.Enum(distinct)).to_physical().to_numpy()]
        return pl.Series(texts.name, vectors, dtype=pl.Array(pl.Float32, self.dim))


def _encoded(texts: pl.Series, dim: int, encoder: Encoder) -> NDArray[np.float32]:
    vectors = np.asarray(encoder(texts.to_list()), dtype=np.float32)
    if vectors.shape != (len(texts), dim):
        raise DataError(
            f"TextEmbedding: the encoder gave an array of shape {list(vectors.shape)} for {len(texts)} texts, not "
            f"[{len(texts)}, {dim}]. Give its width as dim."
        )
    return vectors


def _hashed(texts: pl.Series, dim: int) -> NDArray[np.float32]:
    """Each text's hashed features, at length 1."""
    words = texts.str.to_lowercase().str.extract_all(r"\w+")
    distinct = words.explode(empty_as_null=False).unique()
    of_words = _word_vectors(distinct.to_list(), dim)
    sums = np.zeros((len(texts), dim))
    for start in range(0, len(texts), _CHUNK):
        some = words.slice(start, _CHUNK)
        at = some.explode(empty_as_null=False).cast(pl.Enum(distinct)).to_physical().to_numpy()
        lengths = some.list.len().cast(pl.Int64).to_numpy()
        full = np.flatnonzero(lengths)
        if len(full):
            # Whole numbers, so that the sum does not depend on how it is taken.
            first = (np.cumsum(lengths) - lengths)[full]
            sums[start + full] = np.add.reduceat(of_words[at], first, axis=0)
    lengths_of_vectors = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    return (sums / np.where(lengths_of_vectors == 0, 1, lengths_of_vectors)).astype(np.float32)


def _word_vectors(words: Sequence[str], dim: int) -> NDArray[np.int32]:
    """For each word the signs of its features, added up at the features' places. [words, dim]"""
    features = [_features(word) for word in words]
    sums = np.array([zlib.crc32(feature.encode()) for of_word in features for feature in of_word], np.uint64)
    place_and_sign = bucket(sums, 2 * dim)
    vectors = np.zeros((len(words), dim), np.int32)
    rows = np.repeat(np.arange(len(words)), [len(of_word) for of_word in features])
    np.add.at(vectors, (rows, place_and_sign // 2), place_and_sign % 2 * 2 - 1)
    return vectors


def _features(word: str) -> list[str]:
    """The word and its parts, with marks where it begins and ends."""
    marked = f"<{word}>"
    return [marked, *(marked[i : i + n] for n in _LENGTHS for i in range(len(marked) - n + 1) if n < len(marked))]
