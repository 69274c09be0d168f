"""What every ranking model promises, however its features meet."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from ranking_world import INPUTS, SCHEMA, TWO_TARGETS, impressions
from tamis import Checkpoint, EmbeddingOptions, LightGBMModel, MLPBlock, RandomNegatives, XGBoostModel, load_model
from tamis.data.dataset import Dataset
from tamis.errors import DataError, FormatError, SchemaError, SettingError, UnknownColumnError
from tamis.models.auto_int import AutoIntModel
from tamis.models.dcn import DCNModel
from tamis.models.deep_fm import DeepFMModel, FMModel
from tamis.models.din import DINModel
from tamis.models.dlrm import DLRMModel
from tamis.models.final_mlp import FinalMLPModel
from tamis.models.logistic_regression import LogisticRegressionModel
from tamis.models.mlp_model import MLPModel
from tamis.models.ranking import RankingModel
from tamis.models.retrieval import RetrievalModel
from tamis.models.wide_and_deep import WideAndDeepModel
from tamis.nn.experts import ESMM, PLE, MMoE, SharedBottom
from tamis.schema import ColumnSchema, Schema, Tags

TRAIN, VALID = impressions(2000, seed=1), impressions(1000, seed=2)
OPTIONS = EmbeddingOptions(embedding_dim_default=4)

MODELS: dict[str, Callable[[Schema], RankingModel]] = {
    "logistic regression": LogisticRegressionModel,
    "factorization machine": lambda schema: FMModel(schema, embedding_options=OPTIONS),
    "AutoInt": lambda schema: AutoIntModel(schema, 1, head_dim=4, embedding_options=OPTIONS),
    "AutoInt+": lambda schema: AutoIntModel(schema, 1, deep_block=MLPBlock([8]), embedding_options=OPTIONS),
    "DIN": lambda schema: DINModel(with_history(schema), MLPBlock([16, 8]), embedding_options=OPTIONS),
    "FinalMLP": lambda schema: FinalMLPModel(
        schema, MLPBlock([16, 8]), num_heads=2, first_context=["user_id"], embedding_options=OPTIONS
    ),
    "MLP": lambda schema: MLPModel(schema, MLPBlock([16, 8])),
    "DeepFM, shared bottom": lambda schema: DeepFMModel(
        schema, MLPBlock([8]), embedding_options=OPTIONS, heads=SharedBottom(MLPBlock([4]))
    ),
    "DCN-v2, MMoE": lambda schema: DCNModel(schema, 1, MLPBlock([16]), heads=MMoE(2, MLPBlock([8]), MLPBlock([4]))),
    "MLP, PLE": lambda schema: MLPModel(schema, heads=PLE(1, 1, 2, MLPBlock([8]), MLPBlock([4]))),
    "Wide & Deep": lambda schema: WideAndDeepModel(schema, MLPBlock([16, 8]), wide=["user_id", "age"]),
    "DCN-v2": lambda schema: DCNModel(schema, 1, MLPBlock([8])),
    "DCN-v2, parallel, low rank": lambda schema: DCNModel(schema, 2, MLPBlock([8]), stacked=False, low_rank=4),
    "DCN-v2, mixture": lambda schema: DCNModel(schema, 2, MLPBlock([8]), low_rank=4, num_experts=2),
    "DLRM": lambda schema: DLRMModel(schema, MLPBlock([8, 4]), MLPBlock([8]), embedding_options=OPTIONS),
    "DeepFM": lambda schema: DeepFMModel(schema, MLPBlock([8, 4], dropout=0.1), embedding_options=OPTIONS),
}


def with_history(schema: Schema) -> Schema:
    """The list column as one of the items' domain, which is what makes it a history."""
    return schema + schema["genres"].with_domain(schema["item_id"].cardinality - 1, name="item_id")


SEES_PAIRS = set(MODELS) - {"logistic regression"}
each = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def fitted(make: Callable[[Schema], RankingModel], schema: Schema = SCHEMA, **settings: object) -> RankingModel:
    model = make(schema)
    model.compile(learning_rate=0.02)
    model.fit(TRAIN, batch_size=100, **{"epochs": 2, "verbose": False, **settings})  # type: ignore[arg-type]
    return model


def scores(model: RankingModel) -> pl.DataFrame:
    names = [f"{target}_score" for target in model.targets]
    return model.predict(VALID).compute().select(names)


@each
def test_the_same_seed_gives_the_same_scores_and_another_seed_others(make: Callable[[Schema], RankingModel]) -> None:
    once = scores(fitted(make))
    assert once.equals(scores(fitted(make)))
    assert not once.equals(scores(fitted(make, seed=1)))


@each
def test_a_saved_model_gives_the_same_scores(make: Callable[[Schema], RankingModel], tmp_path: Path) -> None:
    model = fitted(make)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, type(model))
    assert scores(loaded).equals(scores(model))
    assert loaded.compiled() == model.compiled()
    with pytest.raises(FormatError, match=r"it holds a \w+, no RetrievalModel\. Use tamis\.load_model"):
        RetrievalModel.load(tmp_path / "m")


@each
def test_a_resumed_training_ends_at_the_same_scores(make: Callable[[Schema], RankingModel], tmp_path: Path) -> None:
    whole = fitted(make, epochs=3)
    fitted(make, epochs=1, callbacks=[Checkpoint(tmp_path / "c")])
    assert scores(fitted(make, epochs=3, resume_from=tmp_path / "c")).equals(scores(whole))


OBJECTIVES: dict[str, dict[str, object]] = {
    "pairs": {"loss": "bpr"},
    "slates": {"loss": "softmax"},
    "drawn negatives": {"negatives": RandomNegatives(2, "in_batch")},
    "slates of drawn negatives": {"loss": "softmax", "negatives": RandomNegatives(2)},
}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_learns_by_every_objective_and_keeps_it(
    name: str, objective: dict[str, object], tmp_path: Path
) -> None:
    model = MODELS[name](SCHEMA)
    model.compile(learning_rate=0.02, **objective)  # type: ignore[arg-type]
    model.fit(TRAIN, batch_size=500, verbose=False)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, RankingModel) and loaded.compiled() == model.compiled()
    assert scores(loaded).equals(scores(model))
    assert np.isfinite(scores(model)["click_score"].to_numpy()).all()


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"logistic regression", "factorization machine"}))
def test_several_targets_are_learned_at_once(name: str) -> None:
    model = fitted(MODELS[name], TWO_TARGETS)
    found = model.evaluate(VALID)
    assert set(found) == {"click_auc", "click_log_loss", "dwell_rmse"}
    assert scores(model)["click_score"].is_between(0, 1).all()


@pytest.mark.parametrize("name", sorted(SEES_PAIRS))
def test_what_only_a_pair_of_features_tells_is_learned(name: str) -> None:
    """The best possible AUC is .9 here; whoever sees users and items one by one stays at .5."""
    found = fitted(MODELS[name], epochs=12).evaluate(VALID)
    assert found["auc"] > 0.8


def test_what_only_a_pair_tells_is_beyond_logistic_regression() -> None:
    assert abs(fitted(LogisticRegressionModel, epochs=12).evaluate(VALID)["auc"] - 0.5) < 0.08


def test_the_scores_of_rows_do_not_depend_on_the_rows_beside_them() -> None:
    model = fitted(MODELS["DeepFM"])
    alone = [model.predict(Dataset(row, schema=TWO_TARGETS)).compute() for row in VALID.head(5).iter_slices(1)]
    together = model.predict(VALID).compute().head(5)["click_score"].to_numpy()
    assert np.allclose(pl.concat(alone)["click_score"].to_numpy(), together, atol=1e-6)


def test_row_weights_of_zero_take_rows_out() -> None:
    """Rows with turned labels weigh nothing, so they teach nothing."""
    right = TRAIN.compute().with_columns(weight=pl.lit(1.0, pl.Float32))
    wrong = right.with_columns(click=1 - pl.col("click"), weight=pl.lit(0.0, pl.Float32))
    both = Dataset(pl.concat([right, wrong]), schema=TWO_TARGETS + ColumnSchema("weight", "float32"))
    model = MODELS["factorization machine"](SCHEMA)
    model.compile(learning_rate=0.02, sample_weight="weight")
    model.fit(both, batch_size=100, epochs=12, verbose=False)
    assert model.evaluate(VALID)["auc"] > 0.8


def test_heavier_positives_raise_the_scores() -> None:
    plain, heavy = LogisticRegressionModel(SCHEMA), LogisticRegressionModel(SCHEMA)
    heavy.compile(positive_weight=9.0)
    for model in (plain, heavy):
        model.fit(TRAIN, batch_size=100, epochs=5, verbose=False)
    assert scores(heavy)["click_score"].mean() > 0.8 > 0.6 > scores(plain)["click_score"].mean()


def changed(column: pl.Expr) -> Dataset:
    return Dataset(TRAIN.compute().with_columns(column), schema=TWO_TARGETS)


def test_targets_that_teach_nothing_are_refused() -> None:
    model = LogisticRegressionModel(SCHEMA)
    with pytest.raises(DataError, match=r"fit: the target 'click' is 1 in every row, so there is nothing to learn"):
        model.fit(changed(pl.lit(1.0).cast(pl.Float32).alias("click")), verbose=False)
    with pytest.raises(DataError, match=r"fit: the target 'click' has 2,000 nulls"):
        model.fit(changed(pl.lit(None, pl.Float32).alias("click")), verbose=False)
    with pytest.raises(DataError, match=r"'click' holds values from 0 to 2, but a probability .* Tag it REGRESSION"):
        model.fit(changed(pl.col("click") * 2), verbose=False)
    with pytest.raises(UnknownColumnError, match=r"no column 'click'"):
        model.fit(TRAIN.select(INPUTS), verbose=False)
    with pytest.raises(DataError, match="has no rows"):
        model.fit(Dataset(TRAIN.head(0), schema=TWO_TARGETS), verbose=False)


def test_a_schema_without_target_or_input_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"LogisticRegressionModel: the schema has no target\. Tag one"):
        LogisticRegressionModel(INPUTS)
    with pytest.raises(SchemaError, match="the schema has no input column"):
        LogisticRegressionModel(SCHEMA.select_by_tag(Tags.TARGET))


@pytest.mark.parametrize("kind", [LogisticRegressionModel, FMModel])
def test_a_model_without_hidden_layer_refuses_a_second_target(kind: type[RankingModel]) -> None:
    with pytest.raises(SchemaError, match=r"it learns one target without heads, but here are \['click', 'dwell'\]"):
        kind(TWO_TARGETS)  # type: ignore[call-arg]


def test_din_without_a_history_says_how_to_get_one() -> None:
    with pytest.raises(SchemaError, match=r"DINModel: no list column shares its domain .* HistorySequence"):
        DINModel(SCHEMA)


def test_heads_that_do_not_divide_a_stack_are_refused() -> None:
    with pytest.raises(SettingError, match="FinalMLPModel: num_heads=3 does not divide a stack that ends at 8"):
        FinalMLPModel(SCHEMA, MLPBlock([8]), num_heads=3)


def test_a_model_does_not_touch_the_callers_random_numbers() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fitted(MODELS["DeepFM"])
    assert torch.equal(torch.rand(1), expected)


def weighted(weight: pl.Expr) -> Dataset:
    frame = TRAIN.compute().with_columns(weight=weight)
    return Dataset(frame, schema=TWO_TARGETS + ColumnSchema("weight", "float32"))


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), None])
def test_row_weights_that_are_no_weights_are_refused(wrong: float | None) -> None:
    model = LogisticRegressionModel(SCHEMA)
    model.compile(sample_weight="weight")
    one = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(wrong)).otherwise(1.0).cast(pl.Float32)
    with pytest.raises(DataError, match=r"the sample_weight 'weight' has 1 rows that are null, below 0 or not finite"):
        model.fit(weighted(one), verbose=False)
    with pytest.raises(DataError, match=r"the sample_weight 'weight' is 0 in every row"):
        model.fit(weighted(pl.lit(0.0, pl.Float32)), verbose=False)


def test_labels_and_scores_that_no_metric_can_be_about_are_refused() -> None:
    model = fitted(MODELS["DeepFM"])
    doubled = Dataset(VALID.compute().with_columns(pl.col("click") * 2), schema=TWO_TARGETS)
    with pytest.raises(DataError, match=r"evaluate: the target 'click' holds values from 0 to 2, but is a probability"):
        model.evaluate(doubled)
    age = pl.when(pl.int_range(pl.len()) < 3).then(float("nan")).otherwise(pl.col("age")).cast(pl.Float32).alias("age")
    with pytest.raises(DataError, match=r"evaluate: 3 rows have no finite score of 'click'"):
        model.evaluate(Dataset(VALID.compute().with_columns(age), schema=TWO_TARGETS))


@pytest.mark.parametrize("code", [-1, 23])
def test_a_history_code_outside_its_table_is_refused(code: int) -> None:
    model = fitted(MODELS["DIN"])
    wrong = VALID.compute().with_columns(genres=pl.concat_list(pl.lit(code, pl.Int32)))
    with pytest.raises(SettingError, match=rf"column 'genres': the code {code} is outside its 23 categories"):
        model.predict(Dataset(wrong, schema=TWO_TARGETS))


def test_a_chain_out_of_order_is_refused() -> None:
    """A conversion without its click, and a target that is no chance."""
    buy = ColumnSchema("buy", "float32").with_tags(Tags.TARGET)
    frame = TRAIN.compute().with_columns(buy=1 - pl.col("click"))
    model = MLPModel(SCHEMA + buy, heads=ESMM())
    with pytest.raises(DataError, match=r"rows 'buy' happened without 'click', but ESMM takes the first target"):
        model.fit(Dataset(frame, schema=TWO_TARGETS + buy), verbose=False)
    with pytest.raises(SchemaError, match=r"ESMM is about chances, but one of \['click', 'dwell'\] is an amount"):
        MLPModel(TWO_TARGETS, heads=ESMM())


def test_targets_of_any_name_keep_apart() -> None:
    """`group` is what metrics call the query, and `click_score` what `predict` calls a score."""
    names = {"click": "group", "dwell": "group_score"}
    renamed = Schema(column.with_name(names.get(column.name, column.name)) for column in TWO_TARGETS)
    rows = Dataset(VALID.compute().rename(names), schema=renamed)
    model, other = MLPModel(TWO_TARGETS), MLPModel(renamed)
    found = other.evaluate(rows, metrics=["auc", "gauc", "rmse"])
    expected = model.evaluate(VALID, metrics=["auc", "gauc", "rmse"])
    assert [found["group_auc"], found["group_gauc"], found["group_score_rmse"]] == pytest.approx(
        [expected["click_auc"], expected["click_gauc"], expected["dwell_rmse"]]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WideAndDeepModel(SCHEMA, wide=[]), "WideAndDeepModel: wide is empty"),
        (lambda: AutoIntModel(SCHEMA, 0), "AutoIntModel: depth is 0"),
        (lambda: AutoIntModel(SCHEMA, head_dim=0), "FieldAttention: head_dim is 0"),
        (lambda: FinalMLPModel(SCHEMA, gate_hidden=0), "FinalMLPModel: gate_hidden is 0"),
        (lambda: FinalMLPModel(SCHEMA, num_heads=0), "FinalMLPModel: num_heads is 0"),
        (lambda: DINModel(with_history(SCHEMA), max_length=-1), "DINModel: max_length is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], RankingModel], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()


def test_a_width_of_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownColumnError, match=r"embedding_dims: the data has no column 'usr_id'\. Did you mean"):
        MLPModel(SCHEMA, embedding_options=EmbeddingOptions({"usr_id": 4}))


@pytest.mark.parametrize("make", [XGBoostModel, LightGBMModel])
def test_trees_promise_the_same(make: type[XGBoostModel] | type[LightGBMModel], tmp_path: Path) -> None:
    """One seed, one model; a saved model's scores; every target at once; targets that teach nothing; pairs."""
    model, again = make(TWO_TARGETS.without(["genres"])), make(TWO_TARGETS.without(["genres"]))
    for one in (model, again):
        one.compile(learning_rate=0.2)
        one.fit(TRAIN, num_trees=20, num_threads=1, verbose=False)
    named = pl.selectors.ends_with("_score")
    found = model.predict(VALID).compute().select(named)
    assert found.equals(again.predict(VALID).compute().select(named))
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, make)
    assert loaded.predict(VALID).compute().select(named).equals(found)
    with pytest.raises(FormatError, match=rf"it holds a {make.__name__}, no RetrievalModel"):
        RetrievalModel.load(tmp_path / "m")
    measured = model.evaluate(VALID)
    assert set(measured) == {"click_auc", "click_log_loss", "dwell_rmse"}
    assert measured["click_auc"] > 0.8
    with pytest.raises(DataError, match=r"fit: the target 'click' is 1 in every row, so there is nothing to learn"):
        model.fit(changed(pl.lit(1.0).cast(pl.Float32).alias("click")), verbose=False)
