"""The catalogue while items come, change and go: as if it had been made anew."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis.recommender.catalogue import Catalogue


def catalogue(num: int = 300) -> Catalogue:
    ids = pl.Series("item", range(100, 100 + num))
    features = pl.DataFrame({"code": range(num), "tags": [[n, n + 1] for n in range(num)]})
    shown = pl.DataFrame({"title": [f"t{n}" for n in range(num)], "price": [float(n) for n in range(num)]})
    return Catalogue(ids, features, shown, np.arange(num) % 7)


@pytest.mark.parametrize("count", [1, 5, 150], ids=["one", "few", "many"])
def test_changed_and_new_items_have_their_values_and_all_others_keep_theirs(count: int) -> None:
    """Few rows and many go different ways."""
    found = catalogue()
    old = found.features, found.columns
    rows = np.random.default_rng(0).permutation(300)[:count]
    ids = pl.Series("item", [*(100 + rows), *(1000 + n for n in range(count))])
    features = pl.DataFrame({"code": [-n for n in range(2 * count)], "tags": [[n] for n in range(2 * count)]})
    placed = found.upsert(ids, features, pl.DataFrame({"title": [f"new {n}" for n in range(2 * count)]}))
    assert placed.tolist() == [*rows, *range(300, 300 + count)]
    assert len(found) == 300 + count and found.rows_of(ids).tolist() == placed.tolist()
    assert found.features["code"].gather(placed).to_list() == features["code"].to_list()
    assert found.features["tags"].gather(placed).to_list() == features["tags"].to_list()
    assert found.columns["price"].gather(placed).to_list() == [*rows.astype(float), *[None] * count]
    others = np.setdiff1d(np.arange(300), rows)
    assert_frame_equal(found.features[others], old[0][others])
    assert_frame_equal(found.columns[others], old[1][others])


def test_the_most_popular_that_a_mask_allows() -> None:
    found = catalogue(5000)
    everything = sorted(range(5000), key=lambda row: (-(row % 7), row))
    assert found.by_popularity().tolist() == everything
    all_of_it = np.ones(5000, np.bool_)
    assert found.most_popular(all_of_it, 10)[:10].tolist() == everything[:10]
    few = np.zeros(5000, np.bool_)
    few[[7, 14, 6]] = True
    assert found.most_popular(few, 10).tolist() == [6, 7, 14]  # these lie far behind the first thousand


def test_the_order_by_popularity_follows_changes() -> None:
    found = catalogue(30)
    assert found.shares()[6] == pytest.approx(6 / found.counts.sum())
    found.by_popularity()
    nothing = pl.DataFrame({"code": [1], "tags": [[1]]})
    state = found.state()
    found.upsert(pl.Series([5000]), nothing, pl.DataFrame())
    found.remove(np.array([6]))
    expected = sorted((row for row in range(31) if row != 6), key=lambda row: (-(row % 7 if row < 30 else 0), row))
    assert found.by_popularity().tolist() == expected
    assert found.shares().tolist() == pytest.approx([*(np.arange(30) % 7 / found.counts.sum()), 0])
    found.restore(state)
    assert len(found.by_popularity()) == 30 - (not found.is_offered[6]) and 30 not in found.by_popularity()


def test_a_loaded_catalogue_changes_and_another_one_over_the_same_files_does_not(tmp_path: Path) -> None:
    saved = catalogue(30)
    saved.remove(np.array([4]))
    saved.save(tmp_path)
    loaded, other = Catalogue.load(tmp_path), Catalogue.load(tmp_path)
    for one in (loaded, other):
        assert_frame_equal(one.features, saved.features)
        assert_frame_equal(one.columns, saved.columns)
        assert one.ids.to_list() == saved.ids.to_list() and one.counts.tolist() == saved.counts.tolist()
        assert one.by_popularity().tolist() == saved.by_popularity().tolist()
        assert one.shares().tolist() == saved.shares().tolist()
    loaded.remove(np.array([6]))
    loaded.upsert(pl.Series([104, 5000]), pl.DataFrame({"code": [1, 2], "tags": [[1], []]}), pl.DataFrame())
    loaded.remove(np.array([7]))
    assert np.flatnonzero(~loaded.is_offered).tolist() == [6, 7]
    assert loaded.by_popularity().tolist() == [row for row in [*_by_count(30), 30] if row not in (6, 7)]
    assert np.flatnonzero(~other.is_offered).tolist() == [4]
    assert other.by_popularity().tolist() == [row for row in _by_count(30) if row != 4]
    assert_frame_equal(other.features, saved.features)


def _by_count(num: int) -> list[int]:
    return sorted(range(num), key=lambda row: (-(row % 7), row))


def test_columns_that_arrow_does_not_know_come_back_too(tmp_path: Path) -> None:
    nothing = pl.DataFrame({"code": [1, 2]})
    shown = pl.DataFrame({"long": pl.Series([2**100, None], dtype=pl.Int128)})
    Catalogue(pl.Series([1, 2]), nothing, shown, np.ones(2, np.int64)).save(tmp_path)
    assert_frame_equal(Catalogue.load(tmp_path).columns, shown)
