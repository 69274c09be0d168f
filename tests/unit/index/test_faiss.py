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


def test_removed_rows_do_not_come_back_and_their_places_are_filled() -> None:
    """Few removed rows are sorted out after the search, many are left out of it."""
    generator = np.random.default_rng(3)
    vectors = generator.normal(size=(3000, 8)).astype(np.float32)
    queries = generator.normal(size=(3, 8)).astype(np.float32)
    for count in (1, 200, 1500):
        index = FaissIndex("ivf", target_recall=1.0).build(vectors, np.arange(3000))
        gone = index.search(queries, 500).ids[0, :count] if count <= 500 else np.arange(count)
        index.remove(gone)
        index.upsert(vectors[:2] * 0.5, [0, 1])
        scores = queries @ np.concatenate([vectors[:2] * 0.5, vectors[2:]]).T
        scores[:, np.setdiff1d(gone, [0, 1])] = -np.inf
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :300]
        found = index.search(queries, 300)
        assert not np.isin(found.ids, np.setdiff1d(gone, [0, 1])).any()
        assert np.mean([len(np.intersect1d(a, b)) / 300 for a, b in zip(found.ids, expected, strict=True)]) > 0.99
        alone = [index.search(queries[[row]], 300).ids[0] for row in range(3)]
        assert np.array_equal(found.ids, alone)


def test_a_list_of_allowed_ids_that_comes_again_means_the_same_also_after_changes() -> None:
    generator = np.random.default_rng(4)
    vectors = generator.normal(size=(2000, 8)).astype(np.float32)
    index = FaissIndex("ivf", target_recall=1.0).build(vectors, np.arange(2000))
    allow = np.arange(0, 2000, 2)
    allow.flags.writeable = False  # as the recommender's are
    query = generator.normal(size=(1, 8)).astype(np.float32)
    first = index.search(query, 20, allow=allow)
    assert np.array_equal(index.search(query, 20, allow=allow).ids, first.ids) and (first.ids % 2 == 0).all()
    best = first.ids[0, 0]
    index.remove([best])
    assert index.search(query, 19, allow=allow).ids[0].tolist() == first.ids[0, 1:].tolist()
    index.upsert(vectors[[best]], [best])
    assert index.search(query, 20, allow=allow).ids[0].tolist() == first.ids[0].tolist()
    everything = np.arange(2000)
    assert np.array_equal(index.search(query, 20, allow=everything).ids, index.search(query, 20).ids)


def test_equal_scores_come_by_the_smaller_id_however_large_ids_are() -> None:
    vectors = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    for offset in (0, 2**41):
        ids = np.array([5, 3, 4, 2, 1, 0]) + offset
        index = FaissIndex("flat").build(vectors, ids)
        found = index.search([[1.0, 0.5], [0.5, 1.0]], 7)
        assert (found.ids[:, :6] - offset).tolist() == [[3, 4, 5, 0, 1, 2], [0, 1, 2, 3, 4, 5]]
        assert found.ids[:, 6].tolist() == [-1, -1]
