import numpy as np
import polars as pl
import pytest

from tamis.datasets import PlantedWorld, generate_data, oracle_of
from tamis.datasets.planted import _best
from tamis.datasets.schemas import named_schema
from tamis.datasets.truth import _in_slots, _Line
from tamis.errors import DataError, SettingError

NUM_ROWS = 300_000


@pytest.fixture(scope="module")
def world() -> PlantedWorld:
    return oracle_of("aliccp-raw", NUM_ROWS)


@pytest.fixture(scope="module")
def sets() -> tuple[pl.DataFrame, pl.DataFrame]:
    train, valid = generate_data("aliccp-raw", NUM_ROWS, set_sizes=(0.7, 0.3))
    return train.compute(), valid.compute()


def clicks(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("click") == 1).select("user_id", "item_id").unique()


def recall_at_10(best: np.ndarray, user_ids: np.ndarray, held_out: pl.DataFrame) -> float:
    """Mean over users of the share of their distinct held-out items that the ten best hold."""
    lists = pl.DataFrame({"user_id": np.repeat(user_ids, 10), "item_id": best.ravel()})
    found = held_out.join(lists.with_columns(hit=1), on=["user_id", "item_id"], how="left")
    return found.group_by("user_id").agg(pl.col("hit").fill_null(0).mean())["hit"].mean()


def test_ids_of_the_rows_are_the_world_s(world: PlantedWorld, sets: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows = pl.concat(sets)
    assert set(rows["user_id"]) <= set(world.user_ids) and set(rows["item_id"]) <= set(world.item_ids)
    assert (np.diff(world.user_ids) > 0).all() and (np.diff(world.item_ids) > 0).all()
    assert (len(world.user_ids), len(world.item_ids)) == (10_000, 4_930)


def test_clicks_come_as_often_as_the_oracle_says(world: PlantedWorld, sets: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows = pl.concat(sets)
    columns = [rows[name].to_numpy() for name in ("user_id", "item_id", "position")]
    rows = rows.with_columns(
        p=pl.Series(world.click_probability(*columns)), any_place=pl.Series(world.click_probability(*columns[:2]))
    )
    assert rows["click"].mean() == pytest.approx(0.4, abs=0.01)
    assert rows["any_place"].mean() == pytest.approx(rows["p"].mean(), abs=0.002)
    by_chance = rows.group_by(step=(pl.col("p") * 20).floor()).agg(pl.len(), pl.col("p", "click").mean())
    errors = (by_chance["click"] - by_chance["p"]) / (by_chance["p"] * (1 - by_chance["p"]) / by_chance["len"]).sqrt()
    assert len(by_chance) > 12 and errors.abs().max() < 4
    by_place = rows.group_by("position").agg(pl.col("click", "p").mean()).sort("position")
    assert by_place["click"].is_sorted(descending=True) and by_place["click"].to_list() == pytest.approx(
        by_place["p"].to_list(), abs=0.01
    )


def test_items_come_as_often_as_the_oracle_says() -> None:
    """Few users and items, so that each pair comes up often."""
    schema = named_schema("aliccp-raw")
    schema = schema + _small(schema, "user_id", 4)
    schema = schema + _small(schema, "item_id", 30)
    rows = generate_data(schema, NUM_ROWS)
    small = oracle_of(schema, NUM_ROWS)
    clicked = rows.compute().filter(pl.col("click") == 1)
    for row, user in enumerate(small.user_ids):
        expected = np.exp(small.next_item_log_prob(small.user_ids)[row])
        items = clicked.filter(pl.col("user_id") == user)["item_id"]
        counts = np.array([(items == item).sum() for item in small.item_ids])
        deviation = (counts - len(items) * expected) / np.sqrt(len(items) * expected * (1 - expected))
        assert expected.sum() == pytest.approx(1)
        assert np.abs(deviation).max() < 4


def _small(schema, name, largest):
    return schema[name].with_domain(largest)


def test_the_truth_ranks_far_better_than_popularity_and_popularity_matters(
    world: PlantedWorld, sets: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    train, valid = map(clicks, sets)
    held_out = valid.join(train, on=["user_id", "item_id"], how="anti")
    users = held_out["user_id"].unique().sort().to_numpy()
    possible = recall_at_10(world.best_items(users, 10), users, valid)
    unseen = recall_at_10(world.best_items(users, 10, seen=train), users, held_out)
    popular = train["item_id"].value_counts(sort=True)["item_id"].head(10).to_numpy()
    popularity = recall_at_10(np.tile(popular, (len(users), 1)), users, valid)
    assert 0.25 < possible < 0.35
    assert 0.2 < unseen < possible
    assert 1 / 3 < popularity / possible < 1 / 2


def test_repeats_are_rare(sets: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    train, valid = map(clicks, sets)
    again = valid.join(train, on=["user_id", "item_id"], how="semi")
    assert len(again) / len(valid) < 0.15


def test_features_tell_what_a_user_likes(sets: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows = sets[0]
    share = rows["click"].mean()
    for kind in ("categories", "shops", "brands", "intentions"):
        agreeing = rows.filter(pl.col(f"user_item_{kind}") != 0)
        assert 0 < len(agreeing) < len(rows) / 10
        assert agreeing["click"].mean() > 1.3 * share
    by_user = rows.group_by("user_id").agg(pl.col("user_age", "user_profile", "user_shops").n_unique())
    assert (by_user.drop("user_id").max_horizontal() == 1).all()


def test_conversions_need_a_click(sets: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows = sets[0]
    assert rows.filter((pl.col("conversion") == 1) & (pl.col("click") == 0)).is_empty()
    assert rows.filter(pl.col("click") == 1)["conversion"].mean() == pytest.approx(0.12, abs=0.01)


def test_the_order_of_ids_tells_nothing(world: PlantedWorld) -> None:
    popularity, number = world.popularity, np.arange(len(world.item_ids))
    assert abs(np.corrcoef(np.log(popularity), number)[0, 1]) < 0.05
    assert abs(np.corrcoef(world._truth.cluster[world._item_order], number)[0, 1]) < 0.05


def test_a_weak_signal_is_closer_to_popularity_than_a_strong_one() -> None:
    def focus(signal: float) -> float:
        world = oracle_of("aliccp-raw", 20_000, signal=signal)
        return float(np.sort(world.next_item_log_prob(world.user_ids[:200]), axis=1)[:, -10:].mean())

    assert focus(0.1) < focus(1.0) < focus(2.0)


def test_without_a_binary_target_every_row_is_an_interaction() -> None:
    world = oracle_of("movielens-1m", 10_000)
    users, items = world.user_ids[:3], world.item_ids[:3]
    assert world.click_probability(users, items).tolist() == [1.0, 1.0, 1.0]
    assert np.exp(world.next_item_log_prob(users)).sum(axis=1) == pytest.approx(1)


def test_the_best_items_are_the_most_probable_ones_not_yet_seen() -> None:
    world = oracle_of("aliccp-raw", 1_000)
    users = world.user_ids[[3, 0, 3]]
    scores = world.next_item_log_prob(users)
    best = world.best_items(users, 5)
    assert best.tolist() == [world.item_ids[np.argsort(-row)[:5]].tolist() for row in scores]
    seen = pl.DataFrame({"user_id": [users[0], users[0]], "item_id": best[0, [0, 2]]})
    assert world.best_items(users, 3, seen=seen)[0].tolist() == best[0, [1, 3, 4]].tolist()
    assert world.best_items(users, 3, seen=seen)[1].tolist() == best[1, :3].tolist()
    assert world.best_items(users[:0], 3).shape == (0, 3)


def test_strangers_and_impossible_lengths_are_refused() -> None:
    world = oracle_of("aliccp-raw", 1_000)
    with pytest.raises(DataError, match=r"there is no user -5\. Ask with the arguments that the rows came from"):
        world.next_item_log_prob(np.array([-5]))
    with pytest.raises(DataError, match="there is no item 0"):
        world.click_probability(world.user_ids[:1], np.array([0]))
    with pytest.raises(DataError, match="there is no item -1"):
        seen = pl.DataFrame({"user_id": world.user_ids[:1], "item_id": [-1]})
        world.best_items(world.user_ids[:1], 1, seen=seen)
    with pytest.raises(SettingError, match=r"k is 286, but the world has 285 items"):
        world.best_items(world.user_ids[:1], 286)
    with pytest.raises(SettingError, match="signal is 0"):
        PlantedWorld(named_schema("aliccp-raw"), 100, signal=0)


def test_a_place_on_the_line_finds_its_interval() -> None:
    line = _Line(np.array([0.5, 0.0, 0.25, 0.25]))
    assert line.at(np.array([0.0, 0.49, 0.5, 0.74, 0.75, 1.0])).tolist() == [0, 0, 2, 2, 3, 3]


def test_interests_are_weights_in_steps_of_a_slot() -> None:
    slots = _in_slots(np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 2.0]]))
    assert np.bincount(slots[0], minlength=3).tolist() == [16, 48, 0]
    assert np.bincount(slots[1], minlength=3).tolist() == [0, 0, 64]


def test_equal_scores_go_in_the_order_of_place() -> None:
    scores = np.array([[1.0, 2.0, 2.0, 2.0, 0.0], [3.0, 1.0, 4.0, 1.0, 5.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert _best(scores, 2).tolist() == [[1, 2], [4, 2], [0, 1]]
    assert _best(scores, 5)[1].tolist() == [4, 2, 0, 1, 3]
