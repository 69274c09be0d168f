import math
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import SettingError
from tamis.features.ops import ColumnSimilarity, Rename
from tamis.features.workflow import Workflow
from tamis.schema import Tags

MATRIX = np.array([[3.0, 4.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [4.0, 3.0, 0.0]])


def fitted(op, left, right):
    frame = pl.DataFrame({"a": left, "b": right}, schema_overrides={"a": pl.Int64} if left == [None] else None)
    workflow = Workflow([["a", "b"]] >> op).fit(frame)
    return workflow, workflow.transform(frame)


def made(op, left, right):
    return fitted(op, left, right)[1]["a_b_sim"].to_list()


@dataclass
class Sparse:
    """What is used of SciPy's sparse matrices."""

    dense: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dense.shape

    def tocoo(self) -> SimpleNamespace:
        row, col = np.nonzero(self.dense)
        return SimpleNamespace(row=row.astype(np.int32), col=col.astype(np.int32), data=self.dense[row, col])


def test_the_similarity_takes_the_place_of_the_pair() -> None:
    workflow, frame = fitted(ColumnSimilarity(MATRIX, metric="inner"), [0, 0, 2], [1, 3, 0])
    assert frame.to_dict(as_series=False) == {"a_b_sim": [4.0, 24.0, 0.0]}
    column = workflow.output_schema["a_b_sim"]
    assert (column.dtype, column.tags) == ("float32", {Tags.CONTINUOUS})


def test_cosine_brings_rows_to_length_1() -> None:
    assert made(ColumnSimilarity(MATRIX, metric="cosine"), [0, 0, 2], [1, 3, 0]) == pytest.approx([0.8, 0.96, 0.0])


def test_tfidf_lets_a_rare_feature_count_more() -> None:
    """Feature 0 is in 2 of 4 rows: ln 2; feature 1 in 3: ln 4/3."""
    rare, frequent = math.log(4 / 2), math.log(4 / 3)
    first, last = (3 * rare, 4 * frequent), (4 * rare, 3 * frequent)
    expected = (first[0] * last[0] + first[1] * last[1]) / (math.hypot(*first) * math.hypot(*last))
    assert made(ColumnSimilarity(MATRIX), [0], [3]) == pytest.approx([expected])


def test_a_feature_of_every_row_tells_nothing() -> None:
    assert made(ColumnSimilarity(np.ones((3, 1))), [0], [1]) == [0.0]


def test_null_and_unknown_ids_give_null() -> None:
    assert made(ColumnSimilarity(MATRIX, metric="inner"), [None, 0, 0, -1, 2**40], [0, None, 4, 0, 0]) == [None] * 5


def test_sparse_matrices_and_two_sides_are_taken() -> None:
    other = np.eye(3)
    assert made(ColumnSimilarity(Sparse(MATRIX), Sparse(other), "inner"), [0, 0, 3], [0, 1, 2]) == [3.0, 4.0, 0.0]
    assert made(ColumnSimilarity(Sparse(MATRIX), other, metric="inner"), [0], [1]) == [4.0]


def test_frames_of_ids_and_lists_of_features_are_taken() -> None:
    items = pl.DataFrame({"id": ["x", "y", "z"], "genres": [["a", "b", "b"], ["b"], None]})
    users = pl.DataFrame({"id": [7, 8], "likes": [["b", None], []]})
    assert made(ColumnSimilarity(items, users, "inner"), ["x", "y", "z", "x"], [7, 7, 7, 8]) == [2.0, 1.0, 0.0, 0.0]
    assert made(ColumnSimilarity(items, metric="cosine"), ["x"], ["y"]) == pytest.approx([2 / 5**0.5])


def test_it_is_saved_and_can_be_fitted_again(tmp_path) -> None:
    workflow, frame = fitted(ColumnSimilarity(MATRIX), [0, 1], [3, 9])
    workflow.save(tmp_path / "w")
    assert list((tmp_path / "w" / "learned").glob("*setting-left_features.parquet"))
    loaded = Workflow.load(tmp_path / "w")
    rows = pl.DataFrame({"a": [0, 1], "b": [3, 9]})
    assert loaded.transform(rows).equals(frame)
    assert loaded.fit(rows).transform(rows).equals(frame)


def test_ids_that_other_ops_made_are_looked_up() -> None:
    frame = pl.DataFrame({"a": [0], "b": [1]})
    node = ["a", "b"] >> Rename(postfix="_x")
    with pytest.raises(SettingError, match=r"ColumnSimilarity: \['a_x'\] are not two columns"):
        Workflow(node >> ColumnSimilarity(MATRIX)).fit(frame)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColumnSimilarity(MATRIX, metric="l2"), "metric='l2' is unknown. Choose tfidf, cosine, inner"),
        (
            lambda: ColumnSimilarity([[1, 2]]),
            "left_features is a list. Give a matrix, dense or sparse, or a Polars frame",
        ),
        (lambda: ColumnSimilarity(MATRIX, np.ones(3)), r"right_features is a ndarray of shape \[3\]"),
        (lambda: ColumnSimilarity(MATRIX, np.ones((2, 2))), "the matrices have 3 and 2 columns"),
        (lambda: ColumnSimilarity(Sparse(MATRIX), np.ones((2, 2))), "the matrices have 3 and 2 columns"),
        (lambda: ColumnSimilarity(pl.DataFrame({"a": [1]})), r"left_features has the columns .* Give ids and lists"),
        (
            lambda: ColumnSimilarity(pl.DataFrame({"a": [1, 1], "b": [[1], [2]]})),
            "left_features has an id twice in 'a'. Drop it",
        ),
        (
            lambda: ColumnSimilarity(pl.DataFrame({"a": [1, None], "b": [[1], [2]]})),
            "left_features has a null in 'a'. Drop it",
        ),
        (lambda: ColumnSimilarity(MATRIX, pl.DataFrame({"a": [1], "b": [["x"]]})), "the features are number and text"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(make, message) -> None:
    with pytest.raises(SettingError, match=f"ColumnSimilarity: {message}"):
        make()


def test_ids_of_another_kind_and_lists_are_refused() -> None:
    with pytest.raises(SettingError, match="the column 'a' holds string, but the ids of its features are int64"):
        fitted(ColumnSimilarity(MATRIX), ["x"], [1])
    with pytest.raises(SettingError, match="the column 'b' holds lists of int64, but"):
        fitted(ColumnSimilarity(MATRIX), [1], [[1]])


WORDS = st.lists(st.sampled_from("abcd"), max_size=5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(left=st.lists(WORDS, min_size=1, max_size=4), right=st.lists(WORDS, min_size=1, max_size=4),
       metric=st.sampled_from(["tfidf", "cosine", "inner"]))  # fmt: skip
def test_it_agrees_with_dictionaries(left, right, metric) -> None:
    def weighted(rows):
        counts = [Counter(row) for row in rows]
        if metric == "tfidf":
            seen = Counter(feature for row in counts for feature in row)
            counts = [{f: n * math.log(len(rows) / seen[f]) for f, n in row.items()} for row in counts]
        lengths = [1 if metric == "inner" else math.hypot(*row.values()) or 1 for row in counts]
        return [{f: n / length for f, n in row.items()} for row, length in zip(counts, lengths, strict=True)]

    frames = [
        pl.DataFrame({"id": range(len(rows)), "f": pl.Series(rows, dtype=pl.List(pl.String))}) for rows in (left, right)
    ]
    pairs = [(i, j) for i in range(len(left)) for j in range(len(right))]
    of_left, of_right = weighted(left), weighted(right)
    expected = [sum(n * of_right[j].get(f, 0) for f, n in of_left[i].items()) for i, j in pairs]
    found = made(ColumnSimilarity(*frames, metric), [i for i, _ in pairs], [j for _, j in pairs])
    assert found == pytest.approx(expected, abs=1e-6)
