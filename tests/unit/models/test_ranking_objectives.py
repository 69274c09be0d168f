"""Ranking models that learn an order within slates, or from positives alone: what they reach, say, refuse and save."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from ranking_world import DWELL, INPUTS, ITEM, NUM_ITEMS, NUM_USERS, SCHEMA, TWO_TARGETS, USER, impressions
from tamis import SGD, Checkpoint, EmbeddingOptions, MLPBlock, RandomNegatives, load_model
from tamis.data.dataset import Dataset
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError, UnknownNameError
from tamis.evaluation.ranking_metrics import AUC
from tamis.models.deep_fm import DeepFMModel, FMModel
from tamis.models.logistic_regression import LogisticRegressionModel
from tamis.models.mlp_model import MLPModel
from tamis.models.ranking import RankingModel
from tamis.nn.experts import ESMM
from tamis.schema import ColumnSchema, Schema, Tags

TRAIN, VALID = impressions(3000, seed=1), impressions(1500, seed=2)
OPTIONS = EmbeddingOptions(embedding_dim_default=4)
LOSSES = ("bpr", "softmax")
each = pytest.mark.parametrize("loss", LOSSES)
every_way = pytest.mark.parametrize("by", ["uniform", "popularity", "in_batch"])
# Users take items of their own parity and nothing else; popular items are taken more often.
PAIRS = Schema([USER, ITEM, SCHEMA["click"]])
QUERY = ColumnSchema("query", "int32")


def choices(num_rows: int = 3000, *, seed: int = 0) -> Dataset:
    """Only what was taken: each item by users of its parity, the small ids of either parity more often."""
    generator = np.random.default_rng(seed)
    user = generator.integers(0, NUM_USERS, num_rows)
    half = (generator.random(num_rows) ** 2 * NUM_ITEMS / 2).astype(int)
    frame = pl.DataFrame({"user_id": user + 3, "item_id": 2 * half + user % 2 + 3})
    return Dataset(frame.cast(pl.Int32).with_columns(click=pl.lit(1.0, pl.Float32)), schema=PAIRS)


def all_pairs() -> Dataset:
    user, item = np.divmod(np.arange(NUM_USERS * NUM_ITEMS), NUM_ITEMS)
    click = (user % 2 == item % 2).astype(np.float32)
    frame = pl.DataFrame({"user_id": user + 3, "item_id": item + 3}).cast(pl.Int32)
    return Dataset(frame.with_columns(click=pl.Series(click)), schema=PAIRS)


def fitted(train: Dataset = TRAIN, *, schema: Schema = SCHEMA, epochs: int = 8, **compiled: object) -> RankingModel:
    model = DeepFMModel(schema, MLPBlock([8]), embedding_options=OPTIONS)
    model.compile(**{"learning_rate": 0.03, **compiled})  # type: ignore[arg-type]
    model.fit(train, batch_size=200, epochs=epochs, verbose=False)
    return model


def scores(model: RankingModel, dataset: Dataset = VALID) -> np.ndarray:
    return model.predict(dataset).compute()["click_score"].to_numpy()


def test_an_order_is_learned_as_well_as_by_probabilities() -> None:
    """The best possible value is .9 here: of a user's rows, one in ten is turned."""
    pointwise = fitted().evaluate(VALID, metrics=["gauc"])["gauc"]
    for loss in LOSSES:
        found = fitted(loss=loss).evaluate(VALID)
        assert found["gauc"] > max(0.84, pointwise - 0.03)
        assert set(found) >= {"auc", "gauc", "ndcg_by_group_at_10"}


def with_queries(dataset: Dataset, *, column: str = "query") -> Dataset:
    """The rows in queries of ten, of which everything that matters to all rows alike is one number."""
    frame = dataset.compute().with_columns((pl.int_range(pl.len(), dtype=pl.Int32) // 10).alias(column))
    return Dataset(frame, schema=dataset.schema + QUERY.with_name(column))


@each
def test_what_lifts_a_whole_slate_is_not_taken_for_a_reason(loss: str) -> None:
    """Queries differ in their rate of clicks, which `age` tells; within a query only the item's price counts, little.

    A probability follows the age; an order has only the price to go by. (Adam would blow rounding up to steps.)
    """
    generator = np.random.default_rng(0)
    query = np.repeat(np.arange(400), 10)
    lift = generator.random(400)[query]
    price = generator.random(4000)
    click = (generator.random(4000) < 0.1 + 0.6 * lift + 0.2 * price).astype(np.float32)
    schema = Schema(
        [
            ColumnSchema("age", "float32", tags=[Tags.CONTINUOUS, Tags.USER]),
            ColumnSchema("price", "float32", tags=[Tags.CONTINUOUS, Tags.ITEM]),
            SCHEMA["click"],
        ]
    )
    frame = pl.DataFrame({"age": lift, "price": price, "click": click}).cast(pl.Float32).with_columns(query=query)
    model = LogisticRegressionModel(schema)
    model.compile(SGD(learning_rate=0.5), loss=loss, group="query")
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    model.fit(Dataset(frame, schema=schema + QUERY), batch_size=300, epochs=10, verbose=False)
    weight = next(name for name, tensor in before.items() if tensor.numel() == 2)
    moved = model.network.state_dict()[weight] - before[weight]
    assert moved.flatten()[0].abs() < 1e-3 < 0.3 < moved.flatten()[1]


@each
def test_the_slate_is_a_column_outside_the_schema_and_metrics_take_it(loss: str) -> None:
    train, valid = with_queries(TRAIN), with_queries(VALID)
    model = fitted(train, loss=loss, group="query")
    assert "query" not in model.input_schema.column_names
    found = model.evaluate(valid)
    assert found["gauc"] > 0.84
    assert found["gauc"] == model.evaluate(valid, group="query")["gauc"]
    assert found["gauc"] != model.evaluate(valid, group="user_id")["gauc"]
    with pytest.raises(UnknownColumnError, match="no column 'query'"):
        model.evaluate(VALID)


@each
def test_the_same_seed_gives_the_same_scores_and_so_does_a_resumed_training(loss: str, tmp_path: Path) -> None:
    def run(epochs: int, seed: int = 0, **more: object) -> RankingModel:
        model = FMModel(SCHEMA, embedding_options=OPTIONS)
        model.compile(loss=loss, learning_rate=0.03)
        model.fit(TRAIN, batch_size=150, epochs=epochs, seed=seed, verbose=False, **more)  # type: ignore[arg-type]
        return model

    whole = scores(run(3))
    assert np.array_equal(whole, scores(run(3)))
    assert not np.array_equal(whole, scores(run(3, seed=1)))
    run(2, callbacks=[Checkpoint(tmp_path / "c", every_steps=7)])
    assert np.array_equal(whole, scores(run(3, resume_from=tmp_path / "c")))


@every_way
def test_draws_go_on_where_a_checkpoint_stopped(by: str, tmp_path: Path) -> None:
    def run(epochs: int, **more: object) -> np.ndarray:
        model = FMModel(PAIRS, embedding_options=OPTIONS)
        model.compile(negatives=RandomNegatives(2, by), learning_rate=0.03)
        model.fit(choices(), batch_size=300, epochs=epochs, verbose=False, **more)  # type: ignore[arg-type]
        return scores(model, all_pairs())

    class Broken(Exception):
        pass

    class Breaking(Checkpoint):
        def on_step_end(self, trainer: object) -> None:
            super().on_step_end(trainer)  # type: ignore[arg-type]
            if trainer.optimizer.num_steps == 14:  # type: ignore[attr-defined]
                raise Broken

    whole = run(3)
    with pytest.raises(Broken):
        run(3, callbacks=[Breaking(tmp_path / "c", every_steps=7)])
    assert np.array_equal(whole, run(3, resume_from=tmp_path / "c"))


@every_way
@pytest.mark.parametrize("loss", ["pointwise", *LOSSES])
def test_positives_alone_teach_what_was_never_taken(loss: str, by: str) -> None:
    """Each user takes half of the items; drawn rows of the other half are all the model learns that from."""
    model = fitted(choices(), schema=PAIRS, loss=loss, negatives=RandomNegatives(4, by), epochs=10)
    found = model.evaluate(all_pairs(), metrics=["gauc"])
    assert found["gauc"] > 0.97


@every_way
def test_corrected_scores_put_popular_items_first_however_negatives_are_drawn(by: str) -> None:
    truth = np.bincount(choices().compute()["item_id"].to_numpy(), minlength=3 + NUM_ITEMS)[3:]
    mine = all_pairs().compute()["click"].to_numpy().reshape(NUM_USERS, NUM_ITEMS) > 0
    model = fitted(choices(), schema=PAIRS, negatives=RandomNegatives(4, by), epochs=10)
    by_user = scores(model, all_pairs()).reshape(NUM_USERS, NUM_ITEMS)
    agreed = [np.corrcoef(np.argsort(np.argsort(by_user[u][mine[u]])), truth[mine[u]])[0, 1] for u in range(NUM_USERS)]
    assert np.mean(agreed) > 0.6


def test_weights_of_positives_are_those_of_their_draws() -> None:
    """Rows that weigh nothing, of users who take the other parity, teach nothing, and neither do their draws."""
    right = choices().compute().with_columns(weight=pl.lit(1.0, pl.Float32))
    wrong = right.with_columns((7 - pl.col("item_id") % 2 * 2 + pl.col("item_id") - 6).cast(pl.Int32).alias("item_id"))
    wrong = wrong.with_columns(weight=pl.lit(0.0, pl.Float32)).filter(pl.col("item_id").is_between(3, 2 + NUM_ITEMS))
    assert (wrong["item_id"] % 2 != wrong["user_id"] % 2).all()
    both = Dataset(pl.concat([right, wrong]), schema=PAIRS + ColumnSchema("weight", "float32"))
    negatives = RandomNegatives(4)
    model = fitted(both, schema=PAIRS, negatives=negatives, sample_weight="weight", epochs=10)
    assert model.evaluate(all_pairs(), metrics=["gauc"])["gauc"] > 0.97


def test_heavier_positives_raise_the_scores_of_drawn_data() -> None:
    plain = fitted(choices(), schema=PAIRS, negatives=RandomNegatives(4))
    heavy = fitted(choices(), schema=PAIRS, negatives=RandomNegatives(4), positive_weight=8.0)
    assert scores(heavy, all_pairs()).mean() > 1.3 * scores(plain, all_pairs()).mean()


@each
def test_everything_comes_back_from_a_folder(loss: str, tmp_path: Path) -> None:
    negatives = RandomNegatives(2, "popularity", power=0.5, logq_correction=False)
    model = DeepFMModel(SCHEMA, MLPBlock([8]), embedding_options=OPTIONS)
    model.compile(loss=loss, group="user_id", negatives=negatives, metrics=["gauc", "auc"], sample_weight="age")
    model.fit(TRAIN, batch_size=200, verbose=False)
    model.calibrate(VALID)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, DeepFMModel) and loaded.compiled() == model.compiled()
    assert loaded.objective == model.objective and loaded.objective.negatives == negatives
    assert np.array_equal(scores(loaded), scores(model))
    assert loaded.evaluate(VALID) == model.evaluate(VALID)


def test_a_folder_of_before_is_pointwise() -> None:
    model = FMModel(SCHEMA)
    compiled = {k: v for k, v in model.compiled().items() if k not in ("loss", "group", "negatives")}
    model.compile(loss="bpr")
    model.compile_as(compiled)
    assert model.objective.loss == "pointwise" and model.objectives == {"click": "binary"}


@each
def test_scores_of_an_order_are_no_probabilities_until_they_are_calibrated(loss: str) -> None:
    model = fitted(loss=loss)
    assert model.objectives == {"click": "ranking"}
    raw = scores(model)
    assert raw.min() < 0 and raw.max() > 1
    for name in ("log_loss", "ece", "brier", "normalized_entropy"):
        with pytest.raises(SettingError, match=rf"evaluate: the metric '{name}' reads scores .* with calibrate"):
            model.evaluate(VALID, metrics=[name])
    with pytest.raises(SchemaError, match=r"reliability: .* learned as an order, .* Call calibrate first"):
        model.reliability(VALID)
    for method in ("isotonic", "platt"):
        model.calibrate(impressions(3000, seed=5), method)
        found = model.evaluate(VALID)
        assert found.keys() == {"auc", "log_loss"} and found["log_loss"] < 0.45  # .325 is the best, .693 is luck
        assert method == "platt" or model.evaluate(VALID, metrics=["ece"])["ece"] < 0.04
        assert np.array_equal(np.argsort(scores(model)), np.argsort(raw)) or method == "isotonic"
        assert 0 < scores(model).min() < scores(model).max() < 1 and len(model.reliability(VALID))
        assert model.evaluate(VALID, calibrated=False).keys() >= {"auc", "gauc", "ndcg_by_group_at_10"}
    model.fit(TRAIN, batch_size=200, verbose=False)
    assert not model.calibrators


def test_scores_stay_what_the_last_fit_made_them(tmp_path: Path) -> None:
    """Compiling anew says what the next fit does; a loaded model that is compiled for its metrics is still an order."""
    model = fitted(loss="bpr", epochs=1)
    raw = scores(model)
    model.compile(metrics=["log_loss"])
    assert np.array_equal(scores(model), raw)
    with pytest.raises(SettingError, match="evaluate: the metric 'log_loss' reads scores as probabilities"):
        model.evaluate(VALID)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, RankingModel) and loaded.objective.loss == "pointwise"
    assert np.array_equal(scores(loaded), raw)
    loaded.fit(TRAIN, batch_size=200, verbose=False)
    assert loaded.evaluate(VALID).keys() == {"log_loss"}


def test_an_order_and_an_amount_are_learned_at_once() -> None:
    model = MLPModel(TWO_TARGETS, MLPBlock([16, 8]))
    model.compile(loss="softmax", learning_rate=0.02, target_weights={"dwell": 0.5})
    model.fit(TRAIN, batch_size=200, epochs=8, verbose=False)
    found = model.evaluate(VALID)
    assert found["click_gauc"] > 0.8 and found["dwell_rmse"] < 0.9
    assert not any(name.startswith("dwell_g") for name in found)
    assert model.evaluate(VALID, metrics=["gauc", "rmse"]).keys() == {
        "click_gauc",
        "click_gauc_groups_left_out",
        "dwell_rmse",
    }


def test_validation_after_each_epoch_reads_the_order() -> None:
    model = FMModel(SCHEMA, embedding_options=OPTIONS)
    model.compile(loss="bpr", metrics=[AUC(), "gauc"])
    history = model.fit(TRAIN, VALID, batch_size=200, epochs=2, verbose=False).history
    assert len(history["val_gauc"]) == 2 and len(history["val_auc"]) == 2


def test_slates_that_teach_nothing_or_are_cut_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.DataFrame(
        {"user_id": [3] * 6 + [4] * 2 + [5], "item_id": range(3, 12), "click": [1, 0, 0, 0, 1, 0, 1, 1, 0]}
    ).cast({"user_id": pl.Int32, "item_id": pl.Int32, "click": pl.Float32})
    model = FMModel(PAIRS, embedding_options=OPTIONS)
    model.compile(loss="bpr")
    model.fit(Dataset(frame, schema=PAIRS), batch_size=4)
    told = capsys.readouterr().err
    assert (
        "slates of 'user_id': 2 of 3 have one value of 'click' only and teach nothing; 1 have more rows than a batch"
        in told
    )
    alone = frame.filter(pl.col("user_id") > 3)
    with pytest.raises(DataError, match=r"fit: no slate of 'user_id' has both a positive and a negative 'click'"):
        model.fit(Dataset(alone, schema=PAIRS), verbose=False)


def test_positives_alone_are_refused_with_the_way_to_draw_negatives() -> None:
    model = FMModel(PAIRS, embedding_options=OPTIONS)
    with pytest.raises(DataError, match=r"'click' is 1 in every row, .* compile\(negatives=RandomNegatives\(\)\)"):
        model.fit(choices(), verbose=False)
    model.compile(negatives=RandomNegatives())
    with pytest.raises(DataError, match=r"fit, validation_data: the target 'click' is 1 in every row, .* ranking_rows"):
        model.fit(choices(), choices(seed=1), verbose=False)
    nothing = Dataset(choices().compute().with_columns(click=pl.lit(0.0, pl.Float32)), schema=PAIRS)
    with pytest.raises(DataError, match=r"'click' is 0 in every row"):
        model.fit(nothing, verbose=False)
    one = Dataset(choices().compute().filter(pl.col("item_id") == 3), schema=PAIRS)
    with pytest.raises(SettingError, match="fit: the training data holds one item only"):
        model.fit(one, verbose=False)
    model.fit(choices(), all_pairs(), verbose=False)


@pytest.mark.parametrize(
    ("schema", "compiled", "kind", "message"),
    [
        (SCHEMA, {"loss": "bp"}, UnknownNameError, r"Did you mean 'bpr'\?"),
        (SCHEMA.without("user_id"), {"loss": "bpr"}, SettingError, r"no input is tagged USER_ID\. Tag one, or name"),
        (INPUTS + DWELL, {"loss": "bpr"}, SettingError, r"loss='bpr' orders rows .* \['dwell'\] are amounts"),
        (SCHEMA, {"loss": "bpr", "positive_weight": 2.0}, SettingError, "so no class is heavier"),
        (SCHEMA, {"loss": "bpr", "metrics": ["ece"]}, SettingError, "compile: the metric 'ece' reads scores as"),
        (TWO_TARGETS, {"negatives": RandomNegatives()}, SchemaError, "what 'dwell' would have been is not known"),
        (SCHEMA.without("item_id"), {"negatives": RandomNegatives()}, SchemaError, "no single category tagged ITEM_ID"),
        (
            SCHEMA + SCHEMA["genres"].with_tags([Tags.USER]),
            {"negatives": RandomNegatives()},
            SchemaError,
            "'genres' is tagged as the item's and the query's",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused_and_change_nothing(
    schema: Schema, compiled: dict[str, object], kind: type[Exception], message: str
) -> None:
    model = MLPModel(schema, MLPBlock([8]))
    before = model.compiled()
    with pytest.raises(kind, match=message):
        model.compile(**compiled)  # type: ignore[arg-type]
    assert model.compiled() == before


def test_a_chain_of_chances_has_no_order() -> None:
    buy = ColumnSchema("buy", "float32").with_tags(Tags.TARGET)
    model = MLPModel(SCHEMA + buy, heads=ESMM())
    with pytest.raises(SettingError, match="learns an order, and ESMM multiplies chances"):
        model.compile(loss="softmax")


def test_without_draws_or_slates_a_step_is_what_it_was() -> None:
    """Log loss of the rows as they come, to the bit."""
    model = FMModel(SCHEMA, embedding_options=OPTIONS)
    other = FMModel(SCHEMA, embedding_options=OPTIONS)
    other.compile(loss="pointwise")
    for one in (model, other):
        one.fit(TRAIN, batch_size=200, verbose=False)
    assert np.array_equal(scores(model), scores(other))
    assert all(torch.equal(a, b) for a, b in zip(model.network.parameters(), other.network.parameters(), strict=True))
