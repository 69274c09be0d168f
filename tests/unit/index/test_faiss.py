"""FAISS: tuning, tombstones, kinds, and that it does not load before it is used."""

import re
import subprocess
import sys

import numpy as np
import pytest

from tamis.errors import DataError, SettingError, UnknownNameError
from tamis.index import ExactIndex, FaissIndex, build, build_index
from tamis.index.tuning import _least_effort

GENERATOR = np.random.default_rng(0)
VECTORS = GENERATOR.normal(size=(4_000, 16)).astype(np.float32)
QUERIES = GENERATOR.normal(size=(100, 16)).astype(np.float32)
IDS = np.arange(4_000)


@pytest.mark.parametrize(("target", "least"), [(0.01, 1), (0.05, 5), (0.32, 32), (0.33, 33), (0.5, 50), (1.0, 100)])
def test_the_least_effort_that_reaches_the_target_is_found(target, least) -> None:
    tried = []

    def recall(effort: int) -> float:
        tried.append(effort)
        return effort / 100

    effort, reached = _least_effort(recall, 1, 100, target)
    assert least <= effort <= least + max(1, effort // 16)
    assert reached == effort / 100 >= target
    assert len(tried) < 14


def test_a_target_out_of_reach_ends_at_the_largest_effort() -> None:
    assert _least_effort(lambda effort: effort / 1000, 1, 100, 0.99) == (100, 0.1)


def test_a_higher_target_takes_more_effort_and_finds_more() -> None:
    low, high = (
        FaissIndex("ivf", k=20, target_recall=target).build(VECTORS, IDS, queries=QUERIES) for target in (0.7, 0.99)
    )
    assert low.effort < high.effort < 100
    assert 0.7 <= low.recall < high.recall
    assert high.recall >= 0.99


def test_without_queries_candidates_stand_in() -> None:
    assert FaissIndex("ivf", k=20, target_recall=0.9).build(VECTORS, IDS).recall >= 0.9


def test_a_missed_target_is_told_with_what_was_reached() -> None:
    vectors = np.random.default_rng(0).normal(size=(2_000, 4)) ** 3  # long tails: 8 bits are coarse
    with pytest.warns(UserWarning, match=r"'ivf_sq8' reaches a recall@100 of 0\.\d+ at most, below the target of 1.0"):
        index = FaissIndex("ivf_sq8", target_recall=1.0).build(vectors, np.arange(2_000))
    assert 0.3 < index.recall < 1


def test_an_equal_score_is_equally_right() -> None:
    """All vectors are the same: no list of them is better than another."""
    assert FaissIndex("ivf", k=5).build(np.ones((500, 3)), np.arange(500)).recall == 1.0


def test_lists_longer_than_tuned_for_are_searched_with_more_effort() -> None:
    index = FaissIndex("ivf", k=10, target_recall=0.9).build(VECTORS, IDS, queries=QUERIES)
    found, expected = index.search(QUERIES, 200), ExactIndex().build(VECTORS, IDS).search(QUERIES, 200)
    shared = [len(set(a) & set(b)) / 200 for a, b in zip(found.ids.tolist(), expected.ids.tolist(), strict=True)]
    assert np.mean(shared) > 0.9


def test_removed_rows_take_room_until_the_index_is_rebuilt() -> None:
    index = FaissIndex("hnsw", k=10, target_recall=0.9).build(VECTORS[:500], IDS[:500])
    index.remove(IDS[:100])
    index.upsert(VECTORS[100:110], IDS[100:110])
    assert (len(index), index.num_removed) == (400, 110)
    index.rebuild()
    assert (len(index), index.num_removed) == (400, 0)
    assert index.search(VECTORS[[450]], 1).ids.tolist() == [[450]]


def test_an_index_without_anything_left_gives_empty_lists() -> None:
    index = FaissIndex("flat").build(VECTORS[:3], IDS[:3])
    index.remove(IDS[:3])
    assert index.search(QUERIES[:1], 2).ids.tolist() == [[-1, -1]]
    assert (len(index), index.search(QUERIES[:1], 2).scores.tolist()) == (0, [[-np.inf, -np.inf]])


def test_no_vectors_at_all_make_an_empty_index() -> None:
    for kind in ("auto", "exact", "flat", "hnsw"):
        index = build_index(np.zeros((0, 4)), [], kind=kind)
        assert (len(index), index.search(np.ones((1, 4)), 1).ids.tolist()) == (0, [[-1]])
    with pytest.raises(DataError, match="there are no vectors, so 'ivf' cannot divide them into cells"):
        build_index(np.zeros((0, 4)), [], kind="ivf")


@pytest.mark.parametrize("num", [1, 2, 39, 100])
@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf_sq8"])
def test_a_small_catalogue_is_searched_whole(kind, num) -> None:
    index = build_index(VECTORS[:num], IDS[:num], kind=kind, target_recall=0.5)
    assert set(index.search(QUERIES, num).ids[0].tolist()) == set(range(num))


@pytest.mark.parametrize(("num", "kind"), [(5, "exact"), (6, "flat"), (7, "flat"), (8, "ivf"), (9, "ivf_sq8")])
def test_the_kind_follows_the_size(num, kind, monkeypatch) -> None:
    monkeypatch.setattr(build, "LARGEST_EXACT", 5)
    monkeypatch.setattr(build, "LARGEST_FLAT", 7)
    monkeypatch.setattr(build, "LARGEST_IVF", 8)
    index = build_index(VECTORS[:num], IDS[:num], target_recall=0.01)
    assert getattr(index, "kind", "exact") == kind


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"there is no kind of index 'exakt'\. Did you mean 'exact'"):
        build_index(VECTORS, IDS, kind="exakt")
    with pytest.raises(UnknownNameError, match=r"there is no kind 'hnws'\. Did you mean 'hnsw'"):
        FaissIndex("hnws")
    with pytest.raises(SettingError, match="FaissIndex: k is 0"):
        FaissIndex(k=0)
    with pytest.raises(SettingError, match=re.escape("target_recall is 1.5. Give a share above 0 and up to 1.")):
        FaissIndex(target_recall=1.5)


def test_the_index_says_what_it_is() -> None:
    index = FaissIndex("flat", k=5).build(VECTORS, IDS)
    assert repr(index) == "FaissIndex('flat', 4,000 vectors, effort 1, recall@5 1.000)"


def test_neither_torch_nor_faiss_loads_with_the_package() -> None:
    code = "import sys, tamis.index; assert not {'torch', 'faiss'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
