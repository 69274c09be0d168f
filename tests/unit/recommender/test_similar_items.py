"""Items near the latest items of a history, against all cosines in float64."""

import json

import numpy as np
import polars as pl
import pytest

import retrieval_world as world
from source_world import audience_of, catalogue_of, expected_list, interactions_of, lists_of, queries_of
from tamis import MatrixFactorizationModel, MLPBlock, TwoTowerModel
from tamis.errors import DataError, NotFittedError, SettingError
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.sources import similar_items
from tamis.recommender.sources.similar_items import SimilarItems

# Directions in a plane: items 0 and 1 point almost alike, 2 and 3 too, 4 stands between; lengths must not matter.
ANGLES, LENGTHS = np.radians([0, 10, 90, 85, 45]), np.array([1, 5, 0.1, 1, 2])
PLANE = LENGTHS[:, None] * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def frame_of(vectors: np.ndarray) -> pl.DataFrame:
    ids = pl.Series("item", [f"i{row}" for row in range(len(vectors))])
    return pl.DataFrame([ids, *(pl.Series(str(i), column) for i, column in enumerate(vectors.T))])


def fitted(source: SimilarItems, catalogue: Catalogue | int = 5) -> SimilarItems:
    catalogue = catalogue_of(catalogue) if isinstance(catalogue, int) else catalogue
    source.fit(catalogue, interactions_of([(0, 0)]), audience_of(1))
    return source


def cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def plain(similar: np.ndarray, history: list[int], latest: int) -> np.ndarray:
    """Each item's largest cosine with one of the latest items, itself aside."""
    scores = np.full(len(similar), -np.inf)
    for anchor in history[-latest:]:
        row = similar[anchor].copy()
        row[anchor] = -np.inf
        scores = np.maximum(scores, row)
    return scores


def test_the_nearest_by_direction_come_first_whatever_their_length() -> None:
    found = fitted(SimilarItems(vectors=frame_of(PLANE))).search(queries_of([[0]]), 5)
    assert lists_of(found) == [[1, 4, 3, 2]]
    assert found.scores[0, :4].tolist() == pytest.approx(np.cos(np.radians([10, 45, 85, 90])), abs=1e-6)


def test_of_several_latest_items_the_nearest_counts() -> None:
    source = fitted(SimilarItems(vectors=frame_of(PLANE), latest=2))
    assert lists_of(source.search(queries_of([[4, 0, 2]]), 5, exclude=[[0, 2]])) == [[3, 1, 4]]
    assert lists_of(fitted(SimilarItems(vectors=frame_of(PLANE), latest=1)).search(queries_of([[0, 2]]), 1)) == [[3]]


def test_seen_items_may_come_back_as_neighbours_of_others() -> None:
    found = fitted(SimilarItems(vectors=frame_of(PLANE))).search(queries_of([[0, 1]]), 2)
    assert lists_of(found) == [[0, 1]]


@pytest.mark.parametrize("block", [8192, 4])
@pytest.mark.parametrize("k", [1, 6, 60])
def test_lists_are_those_of_the_plain_rule(k, block, monkeypatch) -> None:
    monkeypatch.setattr(similar_items, "_BLOCK", block)
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(50, 4))
    source = fitted(SimilarItems(vectors=frame_of(vectors), latest=3), 50)
    seen = [generator.permutation(50)[: generator.integers(1, 8)].tolist() for _ in range(9)]
    exclude = [history if row % 2 else generator.permutation(50)[:45].tolist() for row, history in enumerate(seen)]
    allow = generator.permutation(50)[:30].tolist()
    found = source.search(queries_of(seen), k, exclude=exclude, allow=np.array(allow))
    for row, history in enumerate(seen):
        scores = plain(cosines(vectors), history, 3)
        expected = expected_list(scores, k, exclude=exclude[row], allow=allow)
        assert lists_of(found)[row] == expected
        assert found.scores[row, : len(expected)].tolist() == pytest.approx(scores[expected].tolist(), abs=1e-6)


def test_only_those_are_answered_whose_latest_items_have_a_vector() -> None:
    """Item 3 has none, item 4 one without a direction, and item 9 is newer than the fit."""
    vectors = PLANE.copy()
    vectors[4] = 0
    source = fitted(SimilarItems(vectors=frame_of(vectors)[[0, 1, 2, 4]], latest=2))
    queries = queries_of([[], [0], [3], [4, 9], [0, 3, 9], [0, 9]])
    assert source.can_answer(queries).tolist() == [False, True, False, False, False, True]
    assert lists_of(source.search(queries, 3)) == [[], [1, 2], [], [], [], [1, 2]]


def test_vectors_come_as_lists_too_and_in_any_order() -> None:
    listed = pl.DataFrame({"item": [f"i{row}" for row in range(5)], "vector": PLANE.tolist()})
    arrays = listed.with_columns(pl.col("vector").cast(pl.Array(pl.Float64, 2)))
    columns = fitted(SimilarItems(vectors=frame_of(PLANE))).search(queries_of([[0], [2, 4]]), 4)
    for frame in (listed, arrays, listed[[3, 1, 0, 4, 2]]):
        found = fitted(SimilarItems(vectors=frame)).search(queries_of([[0], [2, 4]]), 4)
        assert found.ids.tolist() == columns.ids.tolist()
        assert found.scores.tolist() == columns.scores.tolist()


@pytest.fixture(scope="module")
def two_tower() -> TwoTowerModel:
    """Its item tower reads genres and prices besides the id."""
    data = world.interactions(500)
    schema = world.SCHEMA.select_by_name(["user_id", "item_id", "genres", "price"])
    model = TwoTowerModel(schema, query_tower=MLPBlock([8], no_activation_last_layer=True))
    model.fit(data, verbose=False)
    return model


def model_catalogue(model: TwoTowerModel | MatrixFactorizationModel) -> Catalogue:
    features = model.fitted_items().dataset().compute()
    ids = features["item_id"].cast(pl.String)
    return Catalogue(ids, features, pl.DataFrame(), np.ones(len(features), np.int64))


@pytest.mark.parametrize("popularity_weight", [0.0, 0.7])
def test_a_model_gives_the_vectors_of_its_item_tower_without_their_popularity(popularity_weight) -> None:
    data = world.interactions(500).select(world.IDS)
    model = MatrixFactorizationModel(world.IDS, dim=8, popularity_weight=popularity_weight)
    model.fit(data, verbose=False)
    vectors = model.catalogue().vectors.astype(np.float64)
    vectors = vectors[:, :-1] if popularity_weight else vectors  # the last one is the bias
    found = fitted(SimilarItems(model, latest=2), model_catalogue(model)).search(queries_of([[3], [5, 7]]), 6)
    expected = [expected_list(plain(cosines(vectors), history, 2), 6) for history in ([3], [5, 7])]
    assert lists_of(found) == expected


def test_new_items_come_in_through_the_item_tower(two_tower) -> None:
    """A new item with the features of item 4 lies nearest to it, apart from what the id adds."""
    catalogue = model_catalogue(two_tower)
    source = fitted(SimilarItems(two_tower), catalogue)
    known = len(catalogue)
    new = catalogue.features[[4]].with_columns(pl.lit(2, pl.Int32).alias("item_id"))
    rows = catalogue.upsert(pl.Series(["new"]), new, pl.DataFrame())
    assert not source.can_answer(queries_of([[known]]))[0]
    source.upsert(catalogue, rows)
    assert source.can_answer(queries_of([[known]]))[0]
    features = [two_tower.candidate_encoder.encode(catalogue.features).numpy().astype(np.float64)]
    scores = plain(cosines(features[0]), [known], 5)
    assert lists_of(source.search(queries_of([[known]]), 5)) == [expected_list(scores, 5)]
    assert known in lists_of(source.search(queries_of([[4]]), known))[0]


def test_removed_items_are_not_found_but_still_lead_to_others() -> None:
    catalogue = catalogue_of(5)
    source = fitted(SimilarItems(vectors=frame_of(PLANE)), catalogue)
    source.remove(np.array([1]))
    assert lists_of(source.search(queries_of([[0], [1]]), 2)) == [[4, 3], [0, 4]]
    source.upsert(catalogue_of(6), np.array([1, 5]))  # 1 is offered again; nobody gave a vector of item 5
    assert lists_of(source.search(queries_of([[0], [5]]), 2)) == [[1, 4], []]


@pytest.mark.parametrize("kind", ["vectors", "model"])
def test_a_loaded_source_answers_like_the_saved_one(kind, tmp_path, two_tower) -> None:
    given = {"vectors": frame_of(PLANE)} if kind == "vectors" else {"model": two_tower}
    catalogue = catalogue_of(5) if kind == "vectors" else model_catalogue(two_tower)
    source = fitted(SimilarItems(**given, quota=3, latest=2, index="flat", name="alike"), catalogue)
    source.save(tmp_path)
    again = SimilarItems.load(tmp_path, json.loads(json.dumps(source.settings())))
    assert again.settings() == source.settings()
    queries = queries_of([[0, 2], [4], []])
    assert again.search(queries, 3).ids.tolist() == source.search(queries, 3).ids.tolist()
    new = catalogue.features[[1]].with_columns(pl.lit(2, pl.Int32).alias("item_id"))
    rows = catalogue.upsert(pl.Series(["new"]), new, pl.DataFrame())
    for one in (source, again):
        one.upsert(catalogue, rows)
    assert again.search(queries, 4).ids.tolist() == source.search(queries, 4).ids.tolist()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingError, match=r"SimilarItems: latest is 0\. Give 1 item or more\."):
        SimilarItems(latest=0)
    with pytest.raises(SettingError, match=r"SimilarItems: the quota is 0\. Give 1 candidate or more\."):
        SimilarItems(quota=0)
    with pytest.raises(NotFittedError, match=r"similar_items: there is no index yet\. Call Recommender\.fit first\."):
        SimilarItems(vectors=frame_of(PLANE)).search(queries_of([[0]]), 1)


def test_sources_without_usable_vectors_are_refused(two_tower) -> None:
    with pytest.raises(SettingError, match=r"SimilarItems: there are a model and vectors\. Give one of them\."):
        SimilarItems(two_tower, vectors=frame_of(PLANE))
    with pytest.raises(
        SettingError, match=r"similar_items: there are no vectors\. Give SimilarItems a model or vectors\."
    ):
        fitted(SimilarItems())
    strangers = frame_of(PLANE).with_columns(pl.col("item") + "?")
    with pytest.raises(
        DataError, match=r"similar_items: none of the 5 items has a vector\. Give vectors of the same ids\."
    ):
        fitted(SimilarItems(vectors=strangers))
    twice = pl.concat([frame_of(PLANE), frame_of(PLANE)[:1]])
    with pytest.raises(DataError, match=r"similar_items: the vectors hold the item 'i0' more than once\."):
        fitted(SimilarItems(vectors=twice))


@pytest.mark.parametrize(
    "columns",
    [{}, {"v": ["a", "b"]}, {"v": [[1.0], [1.0, 2.0]]}, {"v": [[1.0], None]}, {"v": [["a"], ["b"]]}],
    ids=["none", "text", "uneven", "missing", "texts"],
)
def test_vectors_that_are_none_are_refused(columns) -> None:
    with pytest.raises(DataError, match=r"similar_items: the vectors are no numbers, or of different lengths \("):
        fitted(SimilarItems(vectors=pl.DataFrame({"item": ["i0", "i1"], **columns})))


def test_infinite_vectors_are_refused() -> None:
    with pytest.raises(DataError, match=r"similar_items: 1 item vectors are not finite"):
        fitted(SimilarItems(vectors=pl.DataFrame({"item": ["i0", "i1"], "0": [1.0, float("inf")]})))
