import numpy as np
import polars as pl
import pytest

from tamis.recommender.catalogue import Catalogue
from tamis.recommender.item_vectors import ItemVectors


@pytest.fixture
def catalogue() -> Catalogue:
    items = pl.Series("item", [10, 20, 30, 40])
    return Catalogue(items, pl.DataFrame({"item": [1, 2, 3, 4]}), pl.DataFrame(), np.ones(4, np.int64))


def test_each_item_is_encoded_once_until_the_catalogue_changes(catalogue: Catalogue) -> None:
    asked: list[list[int]] = []

    def encode(items: Catalogue, rows: np.ndarray) -> np.ndarray:
        asked.append(rows.tolist())
        return np.stack([items.features["item"].to_numpy()[rows], rows * 10], axis=1).astype(np.float32)

    vectors = ItemVectors(catalogue, encode)
    assert vectors(np.array([2, 0, 2])).tolist() == [[3, 20], [1, 0], [3, 20]]
    assert vectors(np.array([0, 1])).tolist() == [[1, 0], [2, 10]]
    assert vectors(np.array([1, 2])).tolist() == [[2, 10], [3, 20]]
    assert asked == [[0, 2], [1]]
    catalogue.upsert(pl.Series("item", [10, 50]), pl.DataFrame({"item": [7, 8]}), pl.DataFrame())
    assert vectors(np.array([0, 4])).tolist() == [[7, 0], [8, 40]]
    assert asked[2:] == [[0, 4]]


def test_no_rows_give_no_vectors_of_the_right_width(catalogue: Catalogue) -> None:
    vectors = ItemVectors(catalogue, lambda items, rows: np.zeros((len(rows), 3), np.float32))
    assert vectors(np.zeros(0, np.int64)).shape == (0, 3)
