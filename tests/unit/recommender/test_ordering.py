"""The last stage: order by score, weights, chance, diversity, caps and pins."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import polars as pl
import pytest

from tamis.errors import FormatError, SettingError, UnknownColumnError, UnknownNameError
from tamis.recommender.allowed_items import combine
from tamis.recommender.candidates import Candidates
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import DenyItems, SeenItems
from tamis.recommender.ordering import (
    MMR,
    ByScore,
    Caps,
    Ordering,
    Pins,
    Situation,
    SoftmaxSampling,
    Weighted,
    check_ordering,
    generators_of,
    order_by,
)
from tamis.recommender.queries import Queries

NAN = math.nan


def catalogue(num_items: int = 6, **columns: object) -> Catalogue:
    """Items "a", "b", ..., row 0 on."""
    ids = pl.Series("item", [chr(ord("a") + row) for row in range(num_items)])
    return Catalogue(
        ids, pl.DataFrame({"code": range(num_items)}), pl.DataFrame(columns), np.zeros(num_items, np.int64)
    )


def candidates(items: object, scores: object, ranking: object = None) -> Candidates:
    rows, given = np.array(items, np.int64), np.array(scores, np.float32)
    predicted = None if ranking is None else np.array(ranking, np.float32)
    return Candidates(rows, given, (rows >= 0).astype(np.int64), given.copy(), predicted)


def random_candidates(num_queries: int, width: int, num_items: int, seed: int) -> Candidates:
    """Best first, some requests with fewer candidates than others."""
    random = np.random.default_rng(seed)
    items = np.array([random.permutation(num_items)[:width] for _ in range(num_queries)])
    scores = -np.sort(-random.normal(size=items.shape), axis=1)
    is_empty = np.arange(width) >= random.integers(0, width + 1, num_queries)[:, None]
    return candidates(np.where(is_empty, -1, items), np.where(is_empty, -np.inf, scores))


def one(asked: Candidates, row: int) -> Candidates:
    return candidates(asked.items[[row]], asked.scores[[row]])


def queries(*seen: list[int]) -> Queries:
    lists = [np.array(rows, np.int64) for rows in seen]
    return Queries(np.arange(len(seen)), pl.DataFrame({"user": range(len(seen))}), np.ones(len(seen), np.bool_), lists)


def at(items: Catalogue, k: int = 3, **more: object) -> Situation:
    return Situation(items, k, **more)


# --- by score, by weights ---


def test_without_a_ranker_the_retrieval_score_decides() -> None:
    found = ByScore().order(candidates([[0, 1, 2, -1]], [[0.1, 0.3, 0.3, -np.inf]]), at(catalogue()))
    assert found.items.tolist() == [[1, 2, 0, -1]]
    assert found.scores.tolist() == [pytest.approx([0.3, 0.3, 0.1, -np.inf])]


def test_the_rankers_first_target_decides_and_retrieval_where_it_was_not_asked() -> None:
    ranking = [[[0.1, 9], [0.7, 1], [NAN, NAN]], [[NAN, NAN]] * 3]
    found = ByScore().order(candidates([[0, 1, 2], [3, 4, 5]], [[3, 2, 1], [1, 2, 3]], ranking), at(catalogue()))
    assert found.items.tolist() == [[1, 0, 2], [5, 4, 3]]  # what alone was not asked comes last
    assert found.scores[0].tolist() == pytest.approx([0.7, 0.1, -np.inf])
    assert found.scores[1].tolist() == [3, 2, 1]


def test_targets_are_weighed_against_each_other() -> None:
    clicks_and_purchases = [[[0.9, 0.1], [0.5, 0.4], [0.0, 0.5]]]
    asked = candidates([[0, 1, 2]], [[0, 0, 0]], clicks_and_purchases)
    situation = at(catalogue(), targets=["click", "purchase"])
    added = Weighted({"purchase": 5.0, "click": 1.0}).order(asked, situation)
    assert added.items.tolist() == [[1, 2, 0]]
    assert added.scores[0].tolist() == pytest.approx([2.5, 2.5, 1.4])
    multiplied = Weighted({"click": 1.0, "purchase": 2.0}, how="product").order(asked, situation)
    assert multiplied.items.tolist() == [[1, 0, 2]]
    assert multiplied.scores[0].tolist() == pytest.approx([0.5 * 0.4**2, 0.9 * 0.1**2, 0])
    assert Weighted({"click": 1.0}).order(asked, situation).items.tolist() == [[0, 1, 2]]


def test_weights_leave_requests_without_predictions_in_the_order_of_retrieval() -> None:
    asked = candidates([[0, 1, 2]], [[1, 3, 2]], [[[NAN], [NAN], [NAN]]])
    assert Weighted({"click": 1}, how="product").order(asked, at(catalogue(), targets=["click"])).items.tolist() == [
        [1, 2, 0]
    ]


def test_the_retrieval_score_can_be_weighed_like_a_target() -> None:
    clicks = [[[0.1], [0.3], [NAN]], [[NAN], [NAN], [NAN]]]
    asked = candidates([[0, 1, -1], [3, 4, 5]], [[0.4, -0.2, -np.inf], [1, 3, 2]], clicks)
    situation = at(catalogue(), targets=["click"])
    added = Weighted({"click": 2.0, "retrieval": 0.5}).order(asked, situation)
    assert added.items.tolist() == [[1, 0, -1], [4, 5, 3]]  # nobody asked the ranker about the second request
    assert added.scores[0].tolist() == pytest.approx([2 * 0.3 - 0.5 * 0.2, 2 * 0.1 + 0.5 * 0.4, -np.inf])
    multiplied = Weighted({"click": 1.0, "retrieval": 2.0}, how="product").order(asked, situation)
    assert multiplied.items.tolist() == [[0, 1, -1], [4, 5, 3]]
    assert multiplied.scores[0].tolist() == pytest.approx([0.1 * math.exp(0.8), 0.3 * math.exp(-0.4), -np.inf])


def test_a_product_of_large_powers_still_orders() -> None:
    clicks = [[[0.5], [0.5], [0.5]], [[0.5], [0.5], [0.5]]]
    asked = candidates([[0, 1, 2], [3, 4, 5]], [[0.900, 0.901, 0.902], [0.001, 0.003, 0.002]], clicks)
    ordering = Weighted({"click": 1.0, "retrieval": 1000.0}, how="product")
    found = ordering.order(asked, at(catalogue(), targets=["click"]))
    assert found.items.tolist() == [[2, 1, 0], [4, 5, 3]]
    assert found.scores[0].tolist() == pytest.approx(
        [math.exp(80 - x) for x in (0, 1, 2)], rel=1e-3
    )  # exp(902) is none
    assert found.scores[1].tolist() == pytest.approx([0.5 * math.exp(x) for x in (3, 2, 1)], rel=1e-4)


def test_a_target_named_retrieval_is_the_target() -> None:
    asked = candidates([[0, 1]], [[2, 1]], [[[0.1], [0.9]]])
    found = Weighted({"retrieval": 1.0}).order(asked, at(catalogue(), targets=["retrieval"]))
    assert found.scores.tolist() == [pytest.approx([0.9, 0.1])]


def test_no_power_is_taken_of_negative_predictions() -> None:
    asked = candidates([[0]], [[1]], [[[-0.5]]])
    with pytest.raises(
        SettingError, match=r"Weighted: a prediction is -0.5, of which 'product' takes no power. Use 's"
    ):
        Weighted({"click": 1}, how="product").order(asked, at(catalogue(), targets=["click"]))


# --- chance ---


def probabilities(scores: list[float], temperature: float) -> dict[tuple[int, ...], float]:
    """Of each order: items are drawn one by one, in proportion to exp(score / temperature) (Plackett and Luce)."""
    weights = [math.exp(score / temperature) for score in scores]
    found = {}
    for order in itertools.permutations(range(len(scores))):
        left, found[order] = sum(weights), 1.0
        for item in order:
            found[order] *= weights[item] / left
            left -= weights[item]
    return found


@pytest.mark.parametrize(("shift", "temperature"), [(0.0, 1.0), (-10.0, 1.0), (0.0, 0.5), (-10.0, 3.0)])
def test_lists_are_drawn_as_often_as_their_probability_says(shift: float, temperature: float) -> None:
    """Negative scores included: a better item stays the likelier one."""
    num_draws, scores = 60_000, [1.0 + shift, 0.5 + shift, -1.0 + shift]
    asked = candidates(np.tile([0, 1, 2], (num_draws, 1)), np.tile(scores, (num_draws, 1)))
    drawn = SoftmaxSampling(temperature, seed=7).order(asked, at(catalogue()))
    counts = Counter(map(tuple, drawn.items.tolist()))
    for order, probability in probabilities(scores, temperature).items():
        deviation = math.sqrt(probability * (1 - probability) / num_draws)
        assert counts[order] / num_draws == pytest.approx(probability, abs=5 * deviation)


@pytest.mark.parametrize("scores", [[3.0, 2.0, 1.0], [-1.0, -2.0, -3.0], [1e4, 0.0, -1e4]])
def test_no_temperature_is_the_order_by_score(scores: list[float]) -> None:
    asked = candidates(np.tile([0, 1, 2, -1], (50, 1)), np.tile([*scores, -np.inf], (50, 1)))
    for temperature in (0.0, 1e-6):
        drawn = SoftmaxSampling(temperature).order(asked, at(catalogue()))
        assert (drawn.items == asked.items).all()
        assert drawn.scores[0, :3].tolist() == pytest.approx(scores, abs=1e-3)


def test_a_seed_repeats_the_draw_and_blocks_of_one_call_differ() -> None:
    steps = [SoftmaxSampling(1.0, seed=3)]
    asked, items = random_candidates(50, 6, 6, seed=1), catalogue()
    first, again = (order_by(steps, asked, items, 6).items for _ in range(2))
    assert (first == again).all()
    draws = generators_of(steps)
    blocks = [order_by(steps, asked, items, 6, generators=draws).items for _ in range(2)]
    assert (blocks[0] == first).all() and (blocks[1] != first).any()
    assert (order_by([SoftmaxSampling(5.0)], asked, items, 6).items != asked.items).any()


def test_scores_stay_in_order_after_a_draw() -> None:
    drawn = SoftmaxSampling(2.0, seed=1).order(random_candidates(40, 6, 6, seed=2), at(catalogue()))
    assert (drawn.scores[:, :-1] >= drawn.scores[:, 1:]).all()


# --- diversity ---

GENRES = [["x"], ["x", "y"], None, ["y"], [], ["x", "x", "z"], ["z", None], ["w"]]
BRANDS = ["p", "q", "p", None, "q", "p", None, "r"]
VECTORS = [[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.5, 2.0], [-1.0, 3.0]]


def in_common(one: list[str] | None, other: list[str] | None) -> float:
    a, b = ({value for value in values or () if value is not None} for values in (one, other))
    return len(a & b) / len(a | b) if a | b else 0.0


def cosine(one: list[float], other: list[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return max(sum(a * b for a, b in zip(one, other, strict=True)) / lengths, 0.0) if lengths else 0.0


def similarity(kind: str, a: int, b: int) -> float:
    same_brand = float(BRANDS[a] is not None and BRANDS[a] == BRANDS[b])
    if kind == "brand":
        return same_brand
    if kind == "genres":
        return in_common(GENRES[a], GENRES[b])
    if kind == "both":
        return (same_brand + in_common(GENRES[a], GENRES[b])) / 2
    return cosine(VECTORS[a], VECTORS[b])


def mmr_by_hand(items: list[int], scores: list[float], diversity: float, kind: str, k: int) -> list[int]:
    """The equation of Carbonell & Goldstein, word for word."""
    low, high = min(scores, default=0), max(scores, default=0)
    relevance = {
        item: (score - low) / (high - low) if high > low else 1.0 for item, score in zip(items, scores, strict=True)
    }
    chosen: list[int] = []
    while len(chosen) < min(k, len(items)):
        left = [item for item in items if item not in chosen]
        chosen.append(
            max(
                left,
                key=lambda item: (
                    (1 - diversity) * relevance[item]
                    - diversity * max((similarity(kind, item, other) for other in chosen), default=0.0)
                ),
            )
        )
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize(
    ("kind", "by"),
    [("brand", "brand"), ("genres", ["genres"]), ("both", ["brand", "genres"]), ("vectors", "place"),
     ("vectors", "spot")],
)  # fmt: skip
def test_each_place_goes_to_the_largest_marginal_relevance(kind: str, by: object, diversity: float) -> None:
    spots = pl.Series(VECTORS, dtype=pl.Array(pl.Float32, 2))
    items = catalogue(8, brand=BRANDS, genres=GENRES, place=VECTORS, spot=spots)
    asked = random_candidates(60, 7, 8, seed=5)
    found = MMR(diversity, by=by).order(asked, at(items, k=4))
    for row in range(len(asked)):
        there = asked.items[row] >= 0
        scores = asked.scores[row, there].astype(float).tolist()
        expected = mmr_by_hand(asked.items[row, there].tolist(), scores, diversity, kind, 4)
        assert found.items[row, : len(expected)].tolist() == expected
        assert sorted(found.items[row].tolist()) == sorted(asked.items[row].tolist())
    assert (found.scores[:, :-1] >= found.scores[:, 1:] - 1e-6).all()


def test_lists_of_very_many_values_are_compared_alike() -> None:
    """Beyond 256 values another way is quicker; items that nobody asks for must not matter."""
    more = [[f"other {i}" for i in range(at, at + 30)] for at in range(0, 600, 30)]
    items = catalogue(28, genres=GENRES + more)
    asked = random_candidates(60, 7, 8, seed=5)
    some = candidates(np.tile(range(8, 28), (60, 1)), np.tile(np.arange(20.0, 0, -1) - 1000, (60, 1)))
    both = candidates(np.hstack([asked.items, some.items]), np.hstack([asked.scores, some.scores]))
    found = MMR(0.3, by="genres").order(both, at(items, k=4))
    for row in np.flatnonzero((asked.items >= 0).all(axis=1)):
        scores = both.scores[row].astype(float).tolist()
        low, high = min(scores), max(scores)
        chosen: list[int] = []
        sets = GENRES + more
        while len(chosen) < 4:
            values = {
                item: 0.7 * (score - low) / (high - low)
                - 0.3 * max((in_common(sets[item], sets[other]) for other in chosen), default=0.0)
                for item, score in zip(both.items[row].tolist(), scores, strict=True)
                if item not in chosen
            }
            chosen.append(max(values, key=values.__getitem__))
        assert found.items[row, :4].tolist() == chosen


def test_few_requests_to_a_large_catalogue_get_the_same_lists_as_many() -> None:
    """Which way of looking items up is quicker depends on how many are asked for."""
    brands = [None if row % 7 == 0 else f"b{row % 13}" for row in range(500)]
    items = Catalogue(
        pl.Series("item", range(500)),
        pl.DataFrame({"code": range(500)}),
        pl.DataFrame({"brand": brands}),
        np.zeros(500, np.int64),
    )
    asked = random_candidates(40, 30, 500, seed=4)
    for step in (Caps({"brand": 1}), MMR(0.6, by="brand")):
        together = step.order(asked, at(items, k=5)).items
        alone = [step.order(one(asked, row), at(items, k=5)).items
                 for row in range(40)]  # fmt: skip
        assert (np.concatenate(alone) == together).all()


def test_vectors_of_the_catalogue_are_compared_by_their_direction() -> None:
    items = catalogue(3)
    items.vectors_of = np.array([[1, 0], [5, 0.1], [0, 0.2]]).__getitem__
    found = MMR(0.5).order(candidates([[0, 1, 2]], [[1.0, 0.9, 0.0]]), at(items))
    assert found.items.tolist() == [[0, 2, 1]]  # 0.5 * 0 - 0 against 0.5 * 0.9 - 0.5 * 0.9998
    assert found.scores[0].tolist() == pytest.approx([0.5, 0.0, 0.45 - 0.5 * 5 / math.hypot(5, 0.1)], abs=1e-6)


def test_no_diversity_keeps_the_order_by_score() -> None:
    asked = random_candidates(20, 6, 8, seed=3)
    found = MMR(0.0, by="brand").order(asked, at(catalogue(8, brand=BRANDS)))
    assert (found.items == asked.items).all()


def test_vectors_of_different_widths_are_refused() -> None:
    items = catalogue(2, place=[[1.0], [1.0, 2.0]])
    with pytest.raises(SettingError, match=r"MMR: 1 vectors of 'place' are not 2 wide. Give vectors of one width."):
        MMR(by="place").order(candidates([[0, 1]], [[1, 0]]), at(items))


def test_an_item_without_a_vector_is_like_nothing() -> None:
    items = catalogue(3, place=pl.Series([[1.0, 0.0], [1.0, 0.0], None]))
    assert MMR(0.9, by="place").order(candidates([[0, 1, 2]], [[3, 2, 1]]), at(items)).items.tolist() == [[0, 2, 1]]


# --- caps ---


def capped_by_hand(items: list[int], caps: dict[str, int], columns: dict[str, list[object]]) -> list[int]:
    counts: Counter[tuple[str, object]] = Counter()
    kept = []
    for item in items:
        keys = set()
        for name in caps:
            value = columns[name][item]
            values = value if isinstance(value, list) else [value]
            keys |= {(name, one) for one in values or () if one is not None}
        if all(counts[key] < caps[key[0]] for key in keys):
            kept.append(item)
            counts.update(keys)
    return kept


@pytest.mark.parametrize("caps", [{"brand": 1}, {"brand": 2}, {"genres": 1}, {"genres": 2, "brand": 1}, {"price": 1}])
def test_no_value_has_more_items_than_its_cap(caps: dict[str, int]) -> None:
    columns = {"brand": BRANDS, "genres": GENRES, "price": [1.5, 1.5, 2.0, None, 2.0, 1.5, 3.0, 3.0]}
    asked = random_candidates(80, 8, 8, seed=11)
    found = Caps(caps).order(asked, at(catalogue(8, **columns)))
    for row in range(len(asked)):
        kept = capped_by_hand([item for item in asked.items[row].tolist() if item >= 0], caps, columns)
        assert found.items[row].tolist() == kept + [-1] * (8 - len(kept))
    assert (found.scores[found.items < 0] == -np.inf).all()


def test_nulls_are_not_capped_and_rejected_items_do_not_count() -> None:
    items = catalogue(4, brand=[None, None, None, None], genre=["x", "x", "y", "y"])
    asked = candidates([[0, 1, 2, 3]], [[4, 3, 2, 1]])
    assert Caps({"brand": 1}).order(asked, at(items)).items.tolist() == [[0, 1, 2, 3]]
    assert Caps({"brand": 1, "genre": 1}).order(asked, at(items)).items.tolist() == [[0, 2, -1, -1]]


# --- pins ---


def pinned(pins: dict[int, str], items: list[list[int]], **more: object) -> list[list[int]]:
    asked = candidates(items, [[10.0 - i for i in range(len(row))] for row in items])
    return order_by([Pins(pins)], asked, catalogue(), 4, **more).items.tolist()


def test_pinned_items_stand_at_their_places_and_others_move() -> None:
    assert pinned({0: "d"}, [[0, 1, 2, 3]]) == [[3, 0, 1, 2]]
    assert pinned({2: "a"}, [[0, 1, 2, 3]]) == [[1, 2, 0, 3]]
    assert pinned({3: "b", 1: "a"}, [[0, 1, 2, 3]]) == [[2, 0, 3, 1]]
    assert pinned({0: "f", 1: "e"}, [[0, 1, 2, 3]]) == [[5, 4, 0, 1]]


def test_pins_beyond_the_list_come_last_and_unknown_ones_not_at_all() -> None:
    assert pinned({3: "f"}, [[0, -1]]) == [[0, 5, -1]]
    assert pinned({0: "f"}, [[-1, -1]]) == [[5, -1, -1]]
    assert pinned({0: "nobody knows", 1: "f"}, [[0, 1]]) == [[0, 5, 1]]
    assert pinned({4: "f"}, [[0, 1, 2, 3]]) == [[0, 1, 2, 3]]


def test_a_pinned_item_that_a_filter_denies_is_left_out() -> None:
    items = catalogue()
    allowed = combine([SeenItems(), DenyItems(["e"])], items, queries([5], []))
    assert pinned({0: "f", 1: "e"}, [[0, 1], [2, 3]], allowed=allowed) == [
        [0, 1, -1, -1],
        [5, 2, 3, -1],
    ]
    items.remove(np.array([5]))
    asked = candidates([[0, 1]], [[2, 1]])
    assert order_by([Pins({0: "f"})], asked, items, 2).items.tolist() == [[0, 1]]


def test_a_pinned_item_that_no_source_found_has_no_scores() -> None:
    asked = candidates([[0, 1]], [[2, 1]], [[[0.5], [0.4]]])
    found = order_by([Pins({0: "f", 1: "b"})], asked, catalogue(), 3, targets=["click"])
    assert found.items.tolist() == [[5, 1, 0]]
    assert np.isnan([found.scores[0, 0], found.retrieval[0, 0], found.ranking[0, 0, 0]]).all()
    assert found.found_by.tolist() == [[0, 1, 1]]
    assert found.scores[0, 1:].tolist() == pytest.approx([0.4, 0.5])


# --- all steps ---


def test_steps_follow_each_other_and_the_first_k_stay() -> None:
    items = catalogue(6, brand=["p", "p", "q", "q", "r", "r"])
    asked = candidates([[5, 4, 3, 2, 1, 0]], [[1, 2, 3, 4, 5, 6]])
    found = order_by([ByScore(), Caps({"brand": 1}), Pins({1: "f"})], asked, items, 3)
    assert found.items.tolist() == [[0, 5, 2]]
    assert order_by([], asked, items, 2).items.tolist() == [[0, 1]]
    assert order_by([], asked, items, 9).items.tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    "step",
    [ByScore(), Weighted({"click": 1}), SoftmaxSampling(), MMR(by="brand"), MMR(by="genres"), Caps({"genres": 1}),
     Pins({0: "a"})],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2, 3)])
def test_nothing_to_order_stays_nothing(step: Ordering, shape: tuple[int, int]) -> None:
    items = catalogue(8, brand=BRANDS, genres=GENRES)
    items.remove(np.arange(8))
    asked = candidates(np.full(shape, -1), np.full(shape, -np.inf), np.full((*shape, 1), NAN))
    assert (order_by([step], asked, items, 2, targets=["click"]).items == -1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Weighted({}), r"Weighted: the weights are {}. Give one by target, {'click': 1.0} say."),
        (lambda: Weighted({"click": 0}), r"Weighted: the weights are {'click': 0}."),
        (lambda: Weighted(["click"]), r"Weighted: the weights are \['click'\]."),
        (lambda: Weighted({"click": math.inf}), r"Weighted: the weight of 'click' is inf. Give a finite number."),
        (lambda: Weighted({"click": 1}, how="mean"), r"Weighted: how is 'mean'. Choose 'sum' or 'product'."),
        (lambda: SoftmaxSampling(-1), r"SoftmaxSampling: temperature is -1. Give 0 or more, in score units."),
        (lambda: SoftmaxSampling(NAN), r"SoftmaxSampling: temperature is nan."),
        (lambda: MMR(1.5), r"MMR: diversity is 1.5. Give a number from 0 to 1."),
        (lambda: MMR(by=[]), r"MMR: by is \[\]. Give 'embedding' or names of item columns."),
        (lambda: Caps({}), r"Caps: the caps are {}. Give one by item column, {'category': 2} say."),
        (lambda: Caps({"brand": 0}), r"Caps: the cap of 'brand' is 0. Give a whole number of 1 or more."),
        (lambda: Caps({"brand": 1.5}), r"Caps: the cap of 'brand' is 1.5."),
        (lambda: Pins({}), r"Pins: the items are {}. Give one by place, {0: 'item'} say."),
        (lambda: Pins({-1: "a"}), r"Pins: -1 is no place. Give a whole number, 0 for the first."),
        (lambda: Pins({0: "a", 2: "a"}), r"Pins: 'a' is pinned to two places. Give it one."),
        (lambda: check_ordering([MMR()], catalogue()), r"MMR: the items have no vectors to compare by. Give a"),
        (lambda: check_ordering([Weighted({"click": 1})], catalogue()), r"Weighted: there is no ranker, so"),
        (lambda: check_ordering(["score"], catalogue()), r"Recommender: 'score' is no step of ordering. Give"),
        (
            lambda: check_ordering([Pins({0: "a"}), ByScore()], catalogue()),
            r"Recommender: ByScore\(\) stands behind Pins, and would undo it. Put Pins last.",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(make: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()


def test_names_are_checked_before_anything_is_asked() -> None:
    items = catalogue(2, brand=["p", "q"])
    for step in (Caps({"brnd": 1}), MMR(by=["brnd"])):
        with pytest.raises(UnknownColumnError, match=r"the data has no item column 'brnd'. Did you mean 'brand'\?"):
            check_ordering([step], items)
    with pytest.raises(UnknownNameError, match=r"Weighted: there is no target 'clic'. Did you mean 'click'\?"):
        check_ordering([Weighted({"clic": 1})], items, ["click", "purchase"])
    with pytest.raises(UnknownNameError, match=r"there is no target 'retrieva'. Did you mean 'retrieval'\?"):
        check_ordering([Weighted({"retrieva": 1})], items, ["click", "purchase"])
    check_ordering([Weighted({"retrieval": 1})], items, ["click"])
    check_ordering(
        [ByScore(), Weighted({"click": 1}), MMR(by="brand"), Caps({"brand": 1}), Pins({0: "a"})], items, ["click"]
    )


@pytest.mark.parametrize(
    "step",
    [ByScore(), Weighted({"click": 1.0, "purchase": 5.0}, how="product"), SoftmaxSampling(0.5, seed=1), MMR(),
     MMR(0.5, by=["brand", "genres"]), Caps({"brand": 2}), Pins({0: 17, 3: "a"})],
    ids=repr,
)  # fmt: skip
def test_a_step_comes_back_from_its_description(step: Ordering) -> None:
    assert Ordering.from_description(json.loads(json.dumps(step.describe()))) == step


def test_a_description_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"Recommender: there is no ordering 'MMRR'. Did you mean 'MMR'\?"):
        Ordering.from_description({"kind": "MMRR"})
    with pytest.raises(FormatError, match=r"MMR: the settings {'lambda': 1} do not fit"):
        Ordering.from_description({"kind": "MMR", "lambda": 1})
