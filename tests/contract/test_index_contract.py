"""What every index promises, whatever its kind."""

import re
import shutil

import numpy as np
import pytest

from qdrant_world import qdrant_server
from tamis.errors import DataError, FormatError, NotFittedError, SettingError, UnreachableError
from tamis.folders import MANIFEST, read_json, write_json
from tamis.index import ExactIndex, FaissIndex, SearchResult, build_index, load_index
from tamis.index.qdrant import QdrantIndex

KINDS = ["exact", "flat", "hnsw", "ivf", "ivf_sq8", "qdrant"]
NUM, DIM = 1_500, 16


def vectors_like_towers(num: int, seed: int) -> np.ndarray:
    """Unit vectors in soft clusters."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(20, DIM))
    found = centres[generator.integers(0, 20, num)] + generator.normal(size=(num, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = vectors_like_towers(NUM, 1), vectors_like_towers(40, 2)
IDS = np.random.default_rng(3).permutation(10 * NUM)[:NUM]  # neither dense nor sorted


@pytest.fixture(scope="module")
def qdrant():
    with qdrant_server() as server:
        yield server


@pytest.fixture(params=KINDS)
def index(request, qdrant):
    if request.param == "qdrant":
        return QdrantIndex(qdrant.url, "items", k=20).build(VECTORS, IDS)
    # 8 bits a number: two neighbours in 50 may change places, so its target is lower
    target = 0.9 if request.param == "ivf_sq8" else 0.99
    return build_index(VECTORS, IDS, kind=request.param, k=20, target_recall=target, queries=QUERIES)


def recall(found: SearchResult, expected: SearchResult) -> float:
    pairs = zip(found.ids.tolist(), expected.ids.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(set(b)) for a, b in pairs]))


def exact() -> ExactIndex:
    return ExactIndex().build(VECTORS, IDS)


def test_the_measured_recall_is_the_recall(index) -> None:
    measured = recall(index.search(QUERIES, 20), exact().search(QUERIES, 20))
    assert measured == pytest.approx(index.recall, abs=0.01)
    assert measured > 0.9 - 0.01


def test_lists_are_ordered_and_their_scores_are_inner_products(index) -> None:
    found = index.search(QUERIES, 20)
    assert found.scores.dtype == np.float32
    assert found.ids.dtype == np.int64
    assert (np.diff(found.scores, axis=1) <= 0).all()
    of_id = dict(zip(IDS.tolist(), VECTORS, strict=True))
    for row in range(len(QUERIES)):
        by_hand = [float(of_id[item] @ QUERIES[row]) for item in found.ids[row].tolist()]
        assert found.scores[row] == pytest.approx(by_hand, abs=0.02)


def test_excluded_ids_never_come_back_and_the_lists_stay_full(index) -> None:
    first = exact().search(QUERIES, 300).ids
    for length in (1, 15, 300):  # few, and more than are fetched in excess
        exclude = [first[row, : length * (row % 2)] for row in range(len(QUERIES))]
        found = index.search(QUERIES, 20, exclude=exclude)
        assert not any(np.isin(found.ids[row], exclude[row]).any() for row in range(len(QUERIES)))
        assert (found.ids >= 0).all()
        assert recall(found, exact().search(QUERIES, 20, exclude=exclude)) > 0.88


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_only_allowed_ids_come_back_and_nearly_the_best_of_them(index, share) -> None:
    allow = IDS[: int(share * NUM)]
    found = index.search(QUERIES, 10, allow=allow)
    assert np.isin(found.ids, allow).all()
    assert recall(found, exact().search(QUERIES, 10, allow=allow)) > 0.88


def test_allow_and_exclude_go_together(index) -> None:
    allow = np.array([*IDS[:5], 999_999])
    exclude = [IDS[:3]] * len(QUERIES)
    found = index.search(QUERIES, 4, allow=allow, exclude=exclude)
    assert {frozenset(row) for row in found.ids[:, :2].tolist()} == {frozenset(IDS[3:5].tolist())}
    assert (found.ids[:, 2:] == -1).all()
    assert (found.scores[:, 2:] == -np.inf).all()


def test_what_does_not_exist_is_filled_with_minus_one(index) -> None:
    found = index.search(QUERIES[:2], NUM + 3)
    assert sorted(found.ids[0, :NUM].tolist()) == sorted(IDS.tolist())
    assert (found.ids[:, NUM:] == -1).all()
    assert (found.scores[:, NUM:] == -np.inf).all()
    assert (index.search(QUERIES[:2], 3, allow=[]).ids == -1).all()
    assert (index.search(QUERIES[:2], 3, exclude=[IDS, IDS]).ids == -1).all()
    assert index.search(QUERIES[:0], 3).ids.shape == (0, 3)


def test_removed_ids_are_gone_and_unknown_ones_ignored(index) -> None:
    best = index.search(QUERIES[:1], 5).ids[0]
    index.remove([*best.tolist(), 10**9])
    assert len(index) == NUM - 5
    assert not np.isin(best, index.ids).any()
    found = index.search(QUERIES, 20).ids
    assert (found >= 0).all()
    assert not np.isin(found, best).any()
    assert not np.isin(index.search(QUERIES, 20, allow=[*best, *IDS[:200]]).ids, best).any()


def test_an_upsert_adds_and_replaces(index) -> None:
    moved, new = int(IDS[7]), 10**6
    index.upsert(np.stack([0.9 * QUERIES[0], QUERIES[0]]), [moved, new])
    assert len(index) == NUM + 1
    found = index.search(QUERIES[:1], 2)
    assert found.ids.tolist() == [[new, moved]]
    assert found.scores[0] == pytest.approx([1, 0.9], abs=0.02)
    assert index.ids.tolist() == sorted([*IDS.tolist(), new])


def test_a_saved_index_is_the_same_index(index, tmp_path) -> None:
    index.remove(IDS[:3])
    index.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert type(loaded) is type(index)
    assert repr(loaded) == repr(index)
    assert (loaded.recall, len(loaded), loaded.dim) == (index.recall, NUM - 3, DIM)
    expected, found = index.search(QUERIES, 20), loaded.search(QUERIES, 20)
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("ids", [IDS, np.arange(NUM)], ids=["any", "rows"])
@pytest.mark.parametrize("kind", [one for one in KINDS if one != "qdrant"])
def test_a_loaded_index_changes_as_the_one_that_was_saved_and_its_files_do_not(kind, ids, tmp_path) -> None:
    """What lies in files is mapped into memory, for all who load them; whoever changes it needs an own copy."""
    built = build_index(VECTORS, ids, kind=kind, k=20, target_recall=0.9, queries=QUERIES)
    built.save(tmp_path / "index")
    loaded, other = load_index(tmp_path / "index"), load_index(tmp_path / "index")
    before = other.search(QUERIES, 20)
    shutil.rmtree(tmp_path / "index")
    for step in range(3):
        new = 10**6 + step
        for one in (built, loaded):
            one.remove(ids[3 * step : 3 * step + 2])
            one.upsert(VECTORS[step : step + 2], [new, ids[100 + step]])
        expected, found = built.search(QUERIES, 20), loaded.search(QUERIES, 20)
        assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.scores, expected.scores)
        assert np.array_equal(loaded.ids, built.ids)
    loaded.save(tmp_path / "again")
    again = load_index(tmp_path / "again").search(QUERIES, 20)
    assert np.array_equal(again.ids, expected.ids) and np.array_equal(again.scores, expected.scores)
    after = other.search(QUERIES, 20)
    assert np.array_equal(after.ids, before.ids) and np.array_equal(after.scores, before.scores)
    assert len(other) == NUM


def test_the_same_seed_gives_the_same_index(index) -> None:
    again = build_index(VECTORS, IDS, kind=getattr(index, "kind", "exact"), k=20, target_recall=0.9, queries=QUERIES)
    first = build_index(VECTORS, IDS, kind=getattr(index, "kind", "exact"), k=20, target_recall=0.9, queries=QUERIES)
    assert repr(again) == repr(first)
    assert np.array_equal(again.search(QUERIES, 20).ids, first.search(QUERIES, 20).ids)


def test_one_query_alone_gets_what_it_gets_in_a_crowd(index) -> None:
    crowd = index.search(QUERIES, 10)
    one, few = ([index.search(QUERIES[at : at + size], 10) for at in range(0, len(QUERIES), size)] for size in (1, 5))
    for found in (one, few):
        assert np.array_equal(np.concatenate([part.ids for part in found]), crowd.ids)
    if not isinstance(index, QdrantIndex):  # a few get to the last digit what each gets alone
        assert np.array_equal(*(np.concatenate([part.scores for part in found]) for found in (one, few)))


@pytest.mark.parametrize("kind", ["exact", "flat", "ivf"])  # those that find all there is, if told to
@pytest.mark.parametrize("allow", [None, IDS[::3]], ids=["all", "some"])
def test_exclusions_and_removals_hold_alone_as_in_a_crowd(kind, allow) -> None:
    index = build_index(VECTORS, IDS, kind=kind, k=20, target_recall=1.0, queries=QUERIES)
    if kind == "ivf":
        index.effort = index._structure.efforts[1]
    index.remove(IDS[5:60])
    best = exact().search(QUERIES, 200).ids
    unknown = [-5, 10**9]
    exclude = [np.append(best[row, : row * 5], [*best[row, :2], *unknown]) for row in range(len(QUERIES))]  # 0 to 195
    for k in (1, 30, NUM):
        crowd = index.search(QUERIES, k, exclude=exclude, allow=allow)
        alone = [index.search(QUERIES[[row]], k, exclude=[exclude[row]], allow=allow) for row in range(len(QUERIES))]
        ids = np.concatenate([one.ids for one in alone])
        # a crowd is multiplied otherwise, so of all there are some neighbours may change places
        assert np.array_equal(*((ids, crowd.ids) if k < NUM else (np.sort(ids), np.sort(crowd.ids))))
        np.testing.assert_allclose(np.concatenate([one.scores for one in alone]), crowd.scores, rtol=1e-5, atol=1e-6)
        for row, gone in enumerate(exclude):
            assert not np.isin(crowd.ids[row], [*gone, *IDS[5:60]]).any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: i.search(QUERIES, 0), SettingError, "k is 0. Give a length of 1 or more."),
        (lambda i: i.search(QUERIES[:, :5], 1), DataError, "the query vectors are 5 wide, but the index holds"),
        (lambda i: i.search(QUERIES[0], 1), DataError, "the query vectors have shape (16,). Give a matrix"),
        (lambda i: i.search(QUERIES * np.nan, 1), DataError, "40 query vectors are not finite, the first at row 0"),
        (lambda i: i.search(QUERIES, 1, exclude=[[1]]), SettingError, "exclude holds 1 lists for 40 queries"),
        (lambda i: i.upsert(VECTORS[:2], [5, 5]), DataError, "the id 5 is given more than once (1 such rows)"),
        (lambda i: i.upsert(VECTORS[:2], [5]), DataError, "2 vectors but 1 ids. Give one id per vector."),
        (lambda i: i.upsert(VECTORS[:1, :3], [5]), DataError, "the candidate vectors are 3 wide"),
        (lambda i: i.upsert(VECTORS[:1], [-1]), DataError, "an id is -1, but -1 marks an empty place in results"),
        (lambda i: i.remove([0.5]), DataError, "ids are float64 of shape (1,). Give one whole number per vector."),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(index, call, error, message) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(index)
    assert len(index) == NUM


@pytest.mark.parametrize(
    "empty",
    [ExactIndex(), FaissIndex("flat"), QdrantIndex("http://127.0.0.1:1", "none")],
    ids=["exact", "faiss", "qdrant"],
)
def test_an_index_without_vectors_says_what_to_do(empty, tmp_path) -> None:
    for call in (
        lambda: empty.search(QUERIES, 1),
        lambda: empty.remove([1]),
        lambda: empty.upsert(VECTORS, IDS),
        lambda: empty.save(tmp_path / "index"),
    ):
        with pytest.raises(NotFittedError, match=re.escape("the index holds nothing yet. Call build(vectors, ids)")):
            call()


def test_a_newer_or_changed_folder_is_refused(index, tmp_path) -> None:
    index.save(tmp_path / "index")
    manifest = read_json(tmp_path / "index" / MANIFEST)
    write_json(tmp_path / "index" / MANIFEST, {**manifest, "version": 99})
    with pytest.raises(FormatError, match="format version 99 is newer than the 1"):
        load_index(tmp_path / "index")
    write_json(tmp_path / "index" / MANIFEST, manifest)
    (tmp_path / "index" / "ids.npy").write_bytes(b"changed")
    with pytest.raises(FormatError, match="its content changed since it was saved"):
        load_index(tmp_path / "index")


def test_an_index_is_not_loaded_as_one_of_another_kind(tmp_path) -> None:
    exact().save(tmp_path / "exact")
    with pytest.raises(FormatError, match=r"it holds an index of kind 'exact', not 'faiss'\. Load it with load_index"):
        FaissIndex.load(tmp_path / "exact")
    with pytest.raises(FormatError, match="it is not a saved index"):
        load_index(tmp_path / "nothing")


def test_a_collection_that_is_not_there_or_incomplete_is_told(qdrant) -> None:
    index = QdrantIndex(qdrant.url, "other").attach(np.arange(5), 4)
    for call in (index.check, lambda: index.search(np.ones((1, 4)), 1)):
        with pytest.raises(FormatError, match=r"has no collection 'other'\. Run: tamis push BUNDLE --to URL"):
            call()
    QdrantIndex(qdrant.url, "other").build(np.eye(4, dtype=np.float32), np.arange(4))
    with pytest.raises(FormatError, match="the collection 'other' has 4 of 5 vectors"):
        index.check()


def test_what_a_collection_holds_besides_never_comes_back(qdrant) -> None:
    QdrantIndex(qdrant.url, "more").build(np.eye(4, dtype=np.float32), [1, 2, 3, 4])
    index = QdrantIndex(qdrant.url, "more").attach([2, 3], 4)
    assert index.search(np.ones((1, 4)), 4).ids.tolist() == [[2, 3, -1, -1]]


def test_a_server_that_is_gone_is_told() -> None:
    with qdrant_server() as server:
        index = QdrantIndex(server.url, "items").build(VECTORS[:10], IDS[:10])
        server.kill()
        for call in (index.check, lambda: index.search(QUERIES, 1), lambda: index.upsert(VECTORS[:1], IDS[:1])):
            with pytest.raises(UnreachableError, match=r"does not answer .* See that Qdrant runs there"):
                call()
        server.start()
        with pytest.raises(FormatError, match="no collection"):
            index.check()
        index.close()
