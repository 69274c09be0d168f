"""Pairs of queries and candidates as compressed rows."""

import re

import numpy as np
import polars as pl
import pytest
import torch

from tamis.errors import DataError
from tamis.evaluation.pairs import Pairs


def test_pairs_come_out_sorted_and_distinct_per_query() -> None:
    pairs = Pairs.from_arrays([2, 0, 2, 2, 0], [5, 1, 3, 5, 0], num_queries=4)
    assert pairs.offsets.tolist() == [0, 2, 2, 4, 4]
    assert pairs.positions.tolist() == [0, 1, 3, 5]
    assert pairs.counts.tolist() == [2, 0, 2, 0]


def test_unknown_items_count_but_have_no_position() -> None:
    pairs = Pairs.from_arrays([0, 0, 1], [4, -1, -1], num_queries=2)
    assert pairs.positions.tolist() == [4]
    assert pairs.num_items.tolist() == [2, 1]
    assert repr(pairs) == "Pairs(queries=2, pairs=1, unknown=2)"


def test_a_frame_and_tensors_give_the_same_pairs() -> None:
    frame = pl.DataFrame({"row": [1, 0], "item": [7, 8]}, schema={"row": pl.UInt32, "item": pl.Int32})
    pairs = Pairs.from_frame(frame, "row", "item", num_queries=2)
    same = Pairs.from_arrays(torch.tensor([1, 0]), torch.tensor([7, 8]), 2)
    assert pairs.positions.tolist() == same.positions.tolist() == [8, 7]


def test_no_pairs_at_all_are_fine() -> None:
    pairs = Pairs.from_arrays([], [], num_queries=3)
    assert len(pairs) == 3
    assert pairs.num_items.tolist() == [0, 0, 0]


def test_selected_queries_keep_their_pairs_in_the_order_asked() -> None:
    pairs = Pairs.from_arrays([0, 0, 1, 2, 2], [1, 2, -1, 3, 4], num_queries=3).select(torch.tensor([2, 1, 0]))
    assert pairs.offsets.tolist() == [0, 2, 2, 4]
    assert pairs.positions.tolist() == [3, 4, 1, 2]
    assert pairs.num_unknown.tolist() == [0, 1, 0]


def test_the_pairs_of_a_range_are_counted_from_its_start() -> None:
    rows, positions = Pairs.from_arrays([0, 1, 1, 2], [9, 8, 7, 6], num_queries=3).of_rows(1, 3)
    assert rows.tolist() == [0, 0, 1]
    assert positions.tolist() == [7, 8, 6]


@pytest.mark.parametrize(
    ("query", "position", "message"),
    [
        ([0], [1, 2], "Pairs: 1 queries but 2 positions."),
        ([3], [1], "Pairs: query rows go from 3 to 3, but there are 3 queries."),
        ([-1], [1], "Pairs: query rows go from -1 to -1"),
        ([0], [-2], "Pairs: a position is -2."),
        ([0], [0.5], "Pairs: position is float64 of shape (1,). Give one whole number per pair, no nulls."),
    ],
)
def test_impossible_pairs_are_refused(query, position, message) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Pairs.from_arrays(np.array(query), np.array(position), num_queries=3)
