"""Boosted trees: what they learn, by hand and in the made-up world, and what they refuse."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ranking_world import CLICK, DWELL, INPUTS, SCHEMA, TWO_TARGETS, impressions
from tamis import EarlyStopping, LightGBMModel, LogisticRegressionModel, XGBoostModel, load_model
from tamis.data.dataset import Dataset
from tamis.errors import (
    DataError,
    FormatError,
    MissingExtraError,
    NotFittedError,
    SchemaError,
    SettingError,
    UnknownColumnError,
    UnknownNameError,
)
from tamis.models.tree_model import TreeModel
from tamis.schema import ColumnSchema, Schema, Tags

TRAIN, VALID = impressions(2000, seed=1), impressions(1000, seed=2)
FLAT, FLAT_TWO = SCHEMA.without(["genres"]), TWO_TARGETS.without(["genres"])
FREE: dict[type[TreeModel], dict[str, Any]] = {  # what a handful of rows can be split with
    XGBoostModel: {"lambda": 0, "min_child_weight": 0, "max_depth": 1},
    LightGBMModel: {
        "num_leaves": 2, "min_data_in_leaf": 1, "min_data_in_bin": 1, "min_sum_hessian_in_leaf": 0,
        "min_data_per_group": 1, "cat_smooth": 0, "cat_l2": 0,
    },
}  # fmt: skip
each = pytest.mark.parametrize("kind", FREE)
NUMBER = ColumnSchema("x", "float32").with_tags(Tags.CONTINUOUS)
CODE = ColumnSchema("c", "int64").with_tags(Tags.CATEGORICAL).with_domain(9)
AMOUNT = ColumnSchema("y", "float32").with_tags([Tags.TARGET, Tags.REGRESSION])
GRADE = ColumnSchema("grade", "int64").with_tags(Tags.TARGET)


def fitted(kind: type[TreeModel], schema: Schema = FLAT, **settings: Any) -> TreeModel:
    model = kind(schema, **settings)
    model.fit(TRAIN, num_trees=30, num_threads=1, verbose=False)
    return model


def scores(model: TreeModel, rows: Dataset = VALID) -> pl.DataFrame:
    return model.predict(rows).compute().select(f"{target}_score" for target in model.targets)


def one_tree(kind: type[TreeModel], column: ColumnSchema, values: list[Any], labels: list[float]) -> list[float]:
    """What a single split of the rows, believed at once, says of them."""
    dtype = pl.Int64 if column is CODE else pl.Float32
    frame = pl.DataFrame({column.name: pl.Series(values, dtype=dtype), "y": pl.Series(labels, dtype=pl.Float32)})
    model = kind(Schema([column, AMOUNT]), params=FREE[kind])
    model.compile(learning_rate=1.0)
    model.fit(Dataset(frame, schema=model.schema), num_trees=1, verbose=False)
    found = model.predict(Dataset(frame, schema=model.schema)).compute()["y_score"]
    return [pytest.approx(score, abs=1e-5) for score in found]


@each
def test_one_split_says_the_mean_of_each_side(kind: type[TreeModel]) -> None:
    assert one_tree(kind, NUMBER, [0.0, 0.0, 1.0, 1.0], [1.0, 3.0, 5.0, 7.0]) == [2.0, 2.0, 6.0, 6.0]


@each
def test_a_missing_number_takes_the_side_that_suits_it(kind: type[TreeModel]) -> None:
    """Once nulls belong to the large side, once to the small one."""
    assert one_tree(kind, NUMBER, [0.0, 0.0, 1.0, None], [1.0, 3.0, 5.0, 7.0]) == [2.0, 2.0, 6.0, 6.0]
    assert one_tree(kind, NUMBER, [0.0, None, 1.0, 1.0], [1.0, 3.0, 5.0, 7.0]) == [2.0, 2.0, 6.0, 6.0]


@each
def test_codes_are_names_and_no_numbers(kind: type[TreeModel]) -> None:
    """No threshold sets 3 apart from 2 and 4; and a null is the code 1."""
    assert one_tree(kind, CODE, [2, 3, 4, 3], [0.0, 9.0, 0.0, 9.0]) == [0.0, 9.0, 0.0, 9.0]
    assert one_tree(kind, CODE, [2, 1, 4, None], [0.0, 9.0, 0.0, 9.0]) == [0.0, 9.0, 0.0, 9.0]


@each
def test_what_only_a_pair_of_features_tells_is_learned(kind: type[TreeModel]) -> None:
    """The best possible AUC is .9, and always saying the rate has a log loss of .69; logistic regression is as bad."""
    linear = LogisticRegressionModel(SCHEMA)
    linear.compile(learning_rate=0.02)
    linear.fit(TRAIN, batch_size=100, epochs=3, verbose=False)
    found, baseline = fitted(kind).evaluate(VALID), linear.evaluate(VALID)
    assert found["auc"] > 0.87 > 0.6 > baseline["auc"]
    assert found["log_loss"] < 0.48 < 0.65 < baseline["log_loss"]


def ordered(num_rows: int, seed: int) -> Dataset:
    """What a user sees is clicked where `x` is large for that user; how large x is at all differs much more by user."""
    generator = np.random.default_rng(seed)
    user = generator.integers(0, num_rows // 10, num_rows)
    level = generator.normal(0, 5, num_rows)[user]
    taste = generator.random(num_rows)
    # the label compares taste with the user's own level, so the share of clicks is all about the user
    click = taste * 4 + level + generator.logistic(0, 0.5, num_rows) > 2
    frame = pl.DataFrame({"user": user, "x": taste.astype(np.float32), "click": click.astype(np.float32)})
    return Dataset(frame, schema=Schema([ColumnSchema("user"), NUMBER, CLICK]))


@each
def test_the_order_within_queries_is_learned_from_a_column_outside_the_schema(kind: type[TreeModel]) -> None:
    model = kind(Schema([NUMBER, CLICK]), objective="ranking", group="user", params={"max_depth": 3})
    model.fit(ordered(3000, 1), num_trees=20, verbose=False)
    held_out = ordered(2000, 2)
    found = model.evaluate(held_out, metrics=["gauc"])["gauc"]
    best = held_out.compute().with_columns(x_score=pl.col("x"))
    assert found > gauc(best) - 0.02 > 0.7


def gauc(rows: pl.DataFrame) -> float:
    """The mean over users, by rows, of the share of pairs in order."""
    total = weight = 0.0
    for _, group in rows.group_by("user"):
        positive = group.filter(pl.col("click") == 1)["x"].to_numpy()
        negative = group.filter(pl.col("click") == 0)["x"].to_numpy()
        if len(positive) and len(negative):
            total += (positive[:, None] > negative[None, :]).mean() * len(group)
            weight += len(group)
    return total / weight


@each
def test_an_order_is_learned_the_same_whatever_order_the_rows_come_in(kind: type[TreeModel]) -> None:
    rows = TRAIN.compute()
    orders = [rows, rows.sort("user_id", maintain_order=True), rows.sample(fraction=1, shuffle=True, seed=3)]
    found = []
    for frame in orders:
        model = kind(FLAT, objective="ranking")
        model.fit(Dataset(frame, schema=TWO_TARGETS), num_trees=20, num_threads=1, verbose=False)
        found.append(scores(model))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


@each
def test_grades_are_learned_and_judged_as_gains(kind: type[TreeModel]) -> None:
    """One query whose grades rise with x: its best order has a gain of 1."""
    frame = pl.DataFrame({"user": [7] * 4 + [8] * 4, "x": [0.0, 1.0, 2.0, 3.0] * 2, "grade": [0, 1, 2, 30, 0, 0, 1, 2]})
    schema = Schema([ColumnSchema("user"), NUMBER, GRADE])
    rows = Dataset(frame.cast({"x": pl.Float32}), schema=schema)
    model = kind(Schema([NUMBER, GRADE]), objective="ranking", group="user", params=FREE[kind])
    history = model.fit(rows, rows, num_trees=20, verbose=False)
    assert model.evaluate(rows)["ndcg_by_group_at_10"] == pytest.approx(1)
    assert history.last()["loss"] == pytest.approx(0, abs=1e-6)
    assert history.last()["val_ndcg_by_group_at_10"] == pytest.approx(1)
    with pytest.raises(DataError, match=r"'grade' holds grades from 0 to 30, but 'auc' is about 0 and 1\. Choose 'ndc"):
        model.evaluate(rows, metrics=["auc"])


@each
@pytest.mark.parametrize("objective", ["auto", "ranking"])
def test_a_saved_model_gives_exactly_the_same_scores(kind: type[TreeModel], objective: str, tmp_path: Path) -> None:
    model = fitted(kind, objective=objective)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, kind)
    assert scores(loaded).equals(scores(model))
    assert (loaded.compiled(), loaded.settings()) == (model.compiled(), model.settings())
    loaded.save(tmp_path / "again")
    assert scores(kind.load(tmp_path / "again")).equals(scores(model))
    assert {file.suffix for file in (tmp_path / "m").iterdir()} <= {".json", ".txt"}
    trees = next((tmp_path / "m").glob("trees_0.*"))
    trees.write_text(trees.read_text().replace("1", "2"))
    with pytest.raises(FormatError, match="its content changed since it was saved"):
        load_model(tmp_path / "m")


@each
def test_settings_calibration_and_metrics_come_back(kind: type[TreeModel], tmp_path: Path) -> None:
    model = kind(FLAT_TWO, params={"max_depth": 3})
    model.compile(learning_rate=0.2, metrics=["auc", "rmse"], positive_weight=2.0)
    model.fit(TRAIN, num_trees=5, verbose=False)
    model.calibrate(VALID)
    model.save(tmp_path / "m")
    loaded = kind.load(tmp_path / "m")
    assert loaded.compiled() == model.compiled()
    assert loaded.params == {"max_depth": 3}
    assert scores(loaded).equals(scores(model))
    assert loaded.evaluate(VALID, metrics=["ece"])["click_ece"] < 0.02 < 0.1
    model.fit(TRAIN, num_trees=5, verbose=False)
    assert model.calibrators == {}


@each
def test_several_targets_are_as_good_as_a_model_each(kind: type[TreeModel]) -> None:
    both, click, dwell = fitted(kind, FLAT_TWO), fitted(kind), fitted(kind, INPUTS.without(["genres"]) + DWELL)
    assert scores(both).equals(pl.concat([scores(click), scores(dwell)], how="horizontal"))
    assert set(both.evaluate(VALID)) == {"click_auc", "click_log_loss", "dwell_rmse"}


@each
def test_the_history_says_what_evaluate_says(kind: type[TreeModel]) -> None:
    model = kind(FLAT_TWO)
    history = model.fit(TRAIN, VALID, num_trees=7, verbose=False)
    assert history.num_epochs == 7
    for name, value in model.evaluate(VALID).items():
        assert history.last()[f"val_{name}"] == pytest.approx(value, abs=1e-6)
    squares = [(model.evaluate(TRAIN)["click_log_loss"]), model.evaluate(TRAIN)["dwell_rmse"] ** 2]
    assert history.last()["loss"] == pytest.approx(sum(squares), rel=1e-3)


@each
def test_early_stopping_keeps_the_trees_up_to_the_best(kind: type[TreeModel]) -> None:
    model, stopping = kind(FLAT), EarlyStopping("val_log_loss", patience=5, mode="min")
    history = model.fit(TRAIN, VALID, num_trees=400, early_stopping=stopping, num_threads=1, verbose=False)
    figures = history.history["val_log_loss"]
    assert stopping.best_epoch == 1 + int(np.argmin(figures)) == history.num_epochs - 6 < 300
    assert model.evaluate(VALID)["log_loss"] == pytest.approx(min(figures), abs=1e-6)
    last = EarlyStopping("val_log_loss", patience=5, mode="min", restore_best=False)
    model.fit(TRAIN, VALID, num_trees=400, early_stopping=last, num_threads=1, verbose=False)
    assert model.evaluate(VALID)["log_loss"] == pytest.approx(figures[-1], abs=1e-6)
    with pytest.raises(UnknownNameError, match=r"no figure to monitor 'val_acu'\. Did you mean 'val_auc'"):
        model.fit(TRAIN, VALID, num_trees=2, early_stopping=EarlyStopping("val_acu"), verbose=False)


@each
def test_an_order_is_validated_by_its_queries(kind: type[TreeModel]) -> None:
    model = kind(FLAT, objective="ranking")
    model.compile(metrics=["gauc", "auc", "ndcg_by_group_at_3"])
    history = model.fit(TRAIN, VALID, num_trees=5, verbose=False)
    for name, value in model.evaluate(VALID).items():
        assert history.last()[f"val_{name}"] == pytest.approx(value, abs=1e-6)


@each
@pytest.mark.parametrize("objective", ["auto", "ranking"])
def test_row_weights_of_zero_take_rows_out(kind: type[TreeModel], objective: str) -> None:
    right = TRAIN.compute().with_columns(weight=pl.lit(2.0, pl.Float32))
    wrong = right.with_columns(click=1 - pl.col("click"), weight=pl.lit(0.0, pl.Float32))
    both = Dataset(pl.concat([wrong, right]), schema=TWO_TARGETS + ColumnSchema("weight", "float32"))
    model = kind(FLAT, objective=objective)
    model.compile(sample_weight="weight")
    model.fit(both, num_trees=30, num_threads=1, verbose=False)
    metric = "gauc" if objective == "ranking" else "auc"
    plain = fitted(kind, objective=objective).evaluate(VALID, metrics=[metric])[metric]
    assert model.evaluate(VALID, metrics=[metric])[metric] == pytest.approx(plain, abs=0.06)


@each
def test_row_weights_decide_between_rows_that_disagree(kind: type[TreeModel]) -> None:
    """A leaf says the weighted mean: (1 * 0 + 3 * 8) / 4 = 6."""
    frame = pl.DataFrame({"x": [0.0, 0.0], "y": [0.0, 8.0], "w": [1.0, 3.0]}).cast(pl.Float32)
    rows = Dataset(frame, schema=Schema([NUMBER, AMOUNT, ColumnSchema("w", "float32")]))
    model = kind(Schema([NUMBER, AMOUNT]), params=FREE[kind])
    model.compile(learning_rate=1.0, sample_weight="w")
    model.fit(rows, num_trees=2, verbose=False)
    assert model.predict(rows).compute()["y_score"].to_list() == pytest.approx([6, 6])


@each
def test_heavier_positives_raise_the_scores(kind: type[TreeModel]) -> None:
    heavy = kind(FLAT)
    heavy.compile(positive_weight=9.0)
    heavy.fit(TRAIN, num_trees=30, verbose=False)
    assert float(scores(heavy)["click_score"].mean()) > 0.65 > 0.6 > float(scores(fitted(kind))["click_score"].mean())  # type: ignore[arg-type]


@each
def test_vectors_are_spread_and_their_nulls_are_missing(kind: type[TreeModel]) -> None:
    vectors = [[0.0, 1.0], [5.0, 2.0], [0.0, 3.0], None]
    frame = pl.DataFrame(
        {"v": vectors, "y": [0.0, 0.0, 8.0, 8.0]}, schema={"v": pl.Array(pl.Float32, 2), "y": pl.Float32}
    )
    column = ColumnSchema("v", pl.Array(pl.Float32, 2)).with_tags(Tags.EMBEDDING)
    rows = Dataset(frame, schema=Schema([column, AMOUNT]))
    model = kind(rows.schema, params=FREE[kind])
    model.compile(learning_rate=1.0)
    model.fit(rows, num_trees=1, verbose=False)
    assert model.predict(rows).compute()["y_score"].to_list() == pytest.approx([0, 0, 8, 8], abs=1e-5)


@each
def test_the_same_seed_gives_the_same_scores_and_another_seed_others(kind: type[TreeModel]) -> None:
    draws = {"subsample": 0.5} if kind is XGBoostModel else {"bagging_fraction": 0.5, "bagging_freq": 1}
    found = []
    for seed in (0, 0, 1):
        model = kind(FLAT, params=draws)
        model.fit(TRAIN, num_trees=5, seed=seed, num_threads=1, verbose=False)
        found.append(scores(model))
    assert found[0].equals(found[1])
    assert not found[0].equals(found[2])


@each
def test_scores_do_not_depend_on_the_batches(kind: type[TreeModel]) -> None:
    model = fitted(kind)
    small = model.predict(VALID, batch_size=7).compute()
    assert small.equals(model.predict(VALID).compute())


@each
def test_inputs_that_trees_cannot_read_are_refused(kind: type[TreeModel]) -> None:
    name = kind.__name__
    with pytest.raises(
        SchemaError, match=rf"{name}: trees take single values, but 'genres' holds lists .* Leave it ou"
    ):
        kind(SCHEMA)
    with pytest.raises(SchemaError, match=r"column 'name': a string is neither categorical nor continuous"):
        kind(FLAT + ColumnSchema("name", "string"))
    with pytest.raises(SchemaError, match=r"'c' has 20,000,001 categories, and trees take up to 16,777,216"):
        kind(FLAT + CODE.with_domain(20_000_000))
    with pytest.raises(SchemaError, match=rf"{name}: the schema has no target\. Tag one"):
        kind(INPUTS)
    with pytest.raises(SchemaError, match="the schema has no input column"):
        kind(Schema([CLICK]))


@each
def test_orders_that_cannot_be_learned_are_refused(kind: type[TreeModel]) -> None:
    with pytest.raises(SchemaError, match=r"rows have one order, but here are the targets \['click', 'dwell'\]"):
        kind(FLAT_TWO, objective="ranking")
    with pytest.raises(SettingError, match=r"an order is learned within queries, and no input is tagged USER_ID"):
        kind(Schema([NUMBER, CLICK]), objective="ranking")
    with pytest.raises(UnknownNameError, match=r"there is no objective 'rankin'\. Did you mean 'ranking'"):
        kind(FLAT, objective="rankin")
    rows = TRAIN.compute()
    model = kind(FLAT, objective="ranking")
    alike = rows.with_columns(click=(pl.col("user_id") % 2).cast(pl.Float32))
    with pytest.raises(DataError, match=r"no query of 'user_id' has rows of different 'click', so there is no order"):
        model.fit(Dataset(alike, schema=TWO_TARGETS), verbose=False)
    for wrong in (0.5, -1.0, 31.0):
        odd = rows.with_columns(
            click=pl.when(pl.int_range(pl.len()) == 7).then(wrong).otherwise("click").cast(pl.Float32)
        )
        with pytest.raises(DataError, match=rf"'click' holds {wrong:g}, but an order is learned from grades: whole"):
            model.fit(Dataset(odd, schema=TWO_TARGETS), verbose=False)
    asked = kind(Schema([NUMBER, CLICK]), objective="ranking", group="user")
    unknown = ordered(50, 1).compute().with_columns(user=pl.when(pl.col("x") < 0.5).then("user"))
    with pytest.raises(DataError, match=r"the column 'user' has \d+ nulls, but is no input"):
        asked.fit(Dataset(unknown, schema=ordered(50, 1).schema), verbose=False)
    with pytest.raises(UnknownColumnError, match="no column 'user'"):
        asked.fit(Dataset(unknown.drop("user"), schema=Schema([NUMBER, CLICK])), verbose=False)


@each
def test_what_an_order_does_not_tell_is_refused(kind: type[TreeModel]) -> None:
    model = fitted(kind, objective="ranking")
    for metric in ("log_loss", "ece", "rmse"):
        with pytest.raises(
            SettingError, match=rf"evaluate: the metric '{metric}' reads scores as probabilities or amo"
        ):
            model.evaluate(VALID, metrics=[metric])
    with pytest.raises(SettingError, match="compile: the metric 'brier' reads scores"):
        model.compile(metrics=["brier"])
    with pytest.raises(SettingError, match="positive_weight is 2, but no target is a probability"):
        model.compile(positive_weight=2)
    with pytest.raises(
        SchemaError, match=r"reliability: the targets \['click'\] are learned as an order, and .* Call calibrate first"
    ):
        model.reliability(VALID)
    assert set(model.evaluate(VALID)) == {"ndcg_by_group_at_10", "ndcg_by_group_at_10_groups_left_out"}


@each
def test_settings_that_cannot_be_are_refused(kind: type[TreeModel]) -> None:
    rate = "learning_rate"
    with pytest.raises(
        SettingError, match=r"params holds 'learning_rate', which is given by compile\(learning_rate=\)"
    ):
        kind(FLAT, params={rate: 1})
    model = kind(FLAT)
    with pytest.raises(SettingError, match="compile: learning_rate is 0"):
        model.compile(learning_rate=0)
    with pytest.raises(SettingError, match="compile: positive_weight is 0"):
        model.compile(positive_weight=0)
    with pytest.raises(SettingError, match="fit: num_trees is 0"):
        model.fit(TRAIN, num_trees=0)
    with pytest.raises(SettingError, match="fit: num_threads is -1"):
        model.fit(TRAIN, num_threads=-1)
    with pytest.raises((SettingError, UnknownNameError), match="max_dept"):
        kind(FLAT, params={"max_dept": 3}).fit(TRAIN, num_trees=1, verbose=False)
    with pytest.raises(SettingError, match=r"fit: \w+ refuses: .*max_depth.* Look at `params`"):
        kind(FLAT, params={"max_depth": "deep"}).fit(TRAIN, num_trees=1, verbose=False)


def changed(column: pl.Expr, rows: Dataset = TRAIN) -> Dataset:
    return Dataset(rows.compute().with_columns(column), schema=TWO_TARGETS)


@each
def test_rows_that_cannot_be_learned_from_are_refused(kind: type[TreeModel]) -> None:
    model = kind(FLAT)
    first = pl.int_range(pl.len()) == 0
    with pytest.raises(DataError, match=r"column 'age': it holds infinite numbers"):
        model.fit(
            changed(pl.when(first).then(float("inf")).otherwise("age").cast(pl.Float32).alias("age")), verbose=False
        )
    with pytest.raises(SettingError, match=r"column 'item_id': the code 23 is outside its 23 categories"):
        model.fit(changed(pl.when(first).then(23).otherwise("item_id").cast(pl.Int32).alias("item_id")), verbose=False)
    with pytest.raises(SettingError, match=r"column 'item_id': its codes are float32, but must be whole"):
        model.fit(changed(pl.col("item_id").cast(pl.Float32)), verbose=False)
    with pytest.raises(DataError, match="the target 'click' is 1 in every row"):
        model.fit(changed(pl.lit(1.0).cast(pl.Float32).alias("click")), verbose=False)
    with pytest.raises(DataError, match="the target 'click' has 1 nulls"):
        model.fit(changed(pl.when(~first).then("click").alias("click")), verbose=False)
    with pytest.raises(DataError, match="holds string, which no tensor can hold"):
        model.fit(changed(pl.col("age").cast(pl.String)), verbose=False)
    weighted = Dataset(TRAIN.compute().with_columns(w=pl.lit(-1.0)), schema=TWO_TARGETS + ColumnSchema("w"))
    model.compile(sample_weight="w")
    with pytest.raises(DataError, match="the sample_weight 'w' has 2,000 rows that are null, below 0"):
        model.fit(weighted, verbose=False)


@each
def test_rows_that_cannot_be_judged_are_refused(kind: type[TreeModel]) -> None:
    model = fitted(kind)
    with pytest.raises(DataError, match=r"the column 'click' has 1,000 nulls"):
        model.evaluate(changed(pl.lit(None, pl.Float32).alias("click"), VALID))
    with pytest.raises(DataError, match=r"evaluate: the target 'click' holds values from 0 to 2, but is a probability"):
        model.evaluate(changed(pl.col("click") * 2, VALID))
    with pytest.raises(DataError, match="the dataset has no rows"):
        model.predict(Dataset(VALID.head(0), schema=TWO_TARGETS))


@each
def test_without_trees_nothing_is_said_or_saved(kind: type[TreeModel], tmp_path: Path) -> None:
    model = kind(FLAT)
    with pytest.raises(NotFittedError, match=rf"{kind.__name__}: it has no trees yet\. Call fit first"):
        model.predict(VALID)
    with pytest.raises(NotFittedError, match="no trees yet"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


@each
def test_a_missing_library_is_told_with_its_extra(
    kind: type[TreeModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, library = fitted(kind), kind.__name__.removesuffix("Model").lower()
    model.save(tmp_path / "m")
    monkeypatch.setitem(sys.modules, library, None)
    message = rf"{kind.__name__}: needs '{library}', which is not installed\. Run: pip install 'tamis\[trees\]'"
    with pytest.raises(MissingExtraError, match=message):
        kind(FLAT)
    with pytest.raises(MissingExtraError, match=message):
        load_model(tmp_path / "m")


@each
def test_a_fit_tells_its_last_figures(kind: type[TreeModel], capsys: pytest.CaptureFixture[str]) -> None:
    kind(FLAT).fit(TRAIN, VALID, num_trees=3)
    out, err = capsys.readouterr()
    assert err.startswith("3 trees  loss ")
    assert "val_auc" in err
    assert out == ""
