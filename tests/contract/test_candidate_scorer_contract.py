"""A candidate scorer says exactly what `predict` says about repeated rows, whatever the model."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch

from ranking_world import INPUTS, NUM_ITEMS, SCHEMA, TWO_TARGETS, impressions
from tamis import EmbeddingOptions, MLPBlock
from tamis.data.dataset import Dataset
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError
from tamis.models.auto_int import AutoIntModel
from tamis.models.candidate_scorer import CandidateScorer
from tamis.models.dcn import DCNModel
from tamis.models.deep_fm import DeepFMModel, FMModel
from tamis.models.din import DINModel
from tamis.models.dlrm import DLRMModel
from tamis.models.final_mlp import FinalMLPModel
from tamis.models.logistic_regression import LogisticRegressionModel
from tamis.models.mlp_model import MLPModel
from tamis.models.ranking import RankingModel
from tamis.models.scoring import ScoringModel
from tamis.models.wide_and_deep import WideAndDeepModel
from tamis.nn.experts import ESMM, PLE, MMoE, SharedBottom
from tamis.nn.inputs import Inputs
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import ColumnSchema, Schema, Tags

# The world's columns, with a history and a number of the item's, so that each side has every kind of column.
SEEN = ColumnSchema("seen", "int32", is_list=True).with_tags([Tags.CATEGORICAL]).with_domain(22, name="item_id")
PRICE = ColumnSchema("price", "float32").with_tags([Tags.CONTINUOUS, Tags.ITEM])
MOOD = ColumnSchema("mood", pl.Array(pl.Float32, 3)).with_tags([Tags.CONTEXT, Tags.EMBEDDING])
MORE = Schema([SEEN, PRICE, MOOD])
OPTIONS = EmbeddingOptions(embedding_dim_default=4)
MIXED = EmbeddingOptions(embedding_dims={"user_id": 6, "genres": 3}, embedding_dim_default=4)

MODELS: dict[str, Callable[[Schema], RankingModel]] = {
    "logistic regression": LogisticRegressionModel,
    "factorization machine": lambda schema: FMModel(schema, embedding_options=OPTIONS),
    "DeepFM": lambda schema: DeepFMModel(schema, MLPBlock([8, 4], dropout=0.1), embedding_options=OPTIONS),
    "MLP": lambda schema: MLPModel(schema, MLPBlock([16, 8]), embedding_options=MIXED),
    "MLP of one layer": lambda schema: MLPModel(schema, MLPBlock([8], activation="gelu")),
    "Wide & Deep": lambda schema: WideAndDeepModel(schema, MLPBlock([16, 8]), wide=["user_id", "age", "price"]),
    "Wide & Deep, wide of the query alone": lambda schema: WideAndDeepModel(schema, MLPBlock([8]), wide=["age"]),
    "DCN-v2": lambda schema: DCNModel(schema, 2, MLPBlock([8]), embedding_options=MIXED),
    "DCN-v2, parallel, low rank": lambda schema: DCNModel(schema, 2, MLPBlock([8]), stacked=False, low_rank=4),
    "DCN-v2, mixture": lambda schema: DCNModel(schema, 2, MLPBlock([8]), low_rank=4, num_experts=2),
    "DLRM": lambda schema: DLRMModel(schema, MLPBlock([8, 4]), MLPBlock([8]), embedding_options=OPTIONS),
    "AutoInt": lambda schema: AutoIntModel(schema, 2, head_dim=4, embedding_options=OPTIONS),
    "AutoInt+": lambda schema: AutoIntModel(schema, 1, deep_block=MLPBlock([8]), embedding_options=OPTIONS),
    "DIN": lambda schema: DINModel(schema, MLPBlock([16, 8]), embedding_options=OPTIONS),
    "FinalMLP": lambda schema: FinalMLPModel(schema, MLPBlock([16, 8]), num_heads=2, embedding_options=OPTIONS),
    "FinalMLP with contexts": lambda schema: FinalMLPModel(
        schema, MLPBlock([16, 8]), first_context=["user_id", "age"], second_context=["item_id"]
    ),
    "MLP, shared bottom": lambda schema: MLPModel(schema, MLPBlock([8]), heads=SharedBottom(MLPBlock([4]))),
    "DCN-v2, MMoE": lambda schema: DCNModel(schema, 1, MLPBlock([16]), heads=MMoE(2, MLPBlock([8]), MLPBlock([4]))),
    "MLP, PLE": lambda schema: MLPModel(schema, heads=PLE(1, 1, 2, MLPBlock([8]), MLPBlock([4]))),
}
each = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
QUERY = ["user_id", "age", "seen", "mood"]
ITEM = ["item_id", "genres", "photo", "price"]
SPLITS = {"users and items": QUERY, "numbers of items alone": [*QUERY, "price", "photo"], "items alone": []}
SPLITS |= {"numbers of queries alone": ["user_id", "seen"], "queries with genres": [*QUERY, "genres"]}
LIMITS = {"all kept": 100.0, "inputs kept": 0.0015, "nothing kept": 0.0}


def rows(num_rows: int, seed: int = 3) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    seen = [generator.integers(3, 3 + NUM_ITEMS, length).tolist() for length in generator.integers(0, 5, num_rows)]
    return (
        impressions(num_rows, seed=seed)
        .compute()
        .with_columns(
            seen=pl.Series(seen, dtype=pl.List(pl.Int32)),
            price=pl.Series(generator.normal(size=num_rows), dtype=pl.Float32),
            mood=pl.Series(generator.normal(size=(num_rows, 3)), dtype=pl.Array(pl.Float32, 3)),
        )
    )


ITEMS, QUERIES = rows(NUM_ITEMS, seed=4), rows(6, seed=5)


def untrained(make: Callable[[Schema], RankingModel], schema: Schema = SCHEMA) -> RankingModel:
    """With weights that are all different from 0, and larger than at the start."""
    model = make(schema + MORE)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            weight.copy_(torch.randn_like(weight) * (0.5 if "tables" in name else weight.shape[-1] ** -0.5))
    return model


def predicted(model: ScoringModel, query: pl.DataFrame, items: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """What predict says about one query's row repeated beside each item."""
    repeated = pl.concat([query.select(columns)] * len(items)) if columns else pl.DataFrame()
    rows = items.select(pl.exclude(columns)).hstack(repeated.get_columns())
    names = [f"{target}_score" for target in model.targets]
    return model.predict(Dataset(rows, schema=model.input_schema)).compute().select(names).to_numpy()


def row_of(frame: pl.DataFrame, columns: list[str]) -> dict[str, object]:
    return {name: frame[name].to_list()[0] for name in columns}


@each
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_scores_of_candidates_are_those_of_repeated_rows(make: Callable[[Schema], RankingModel], limit: float) -> None:
    model = untrained(make)
    scorer = CandidateScorer(model, ITEMS.select(ITEM), max_table_mb=limit)
    assert scorer.query_columns == [name for name in model.input_schema.column_names if name in QUERY]
    assert scorer.table_mb <= limit
    candidates = np.array([4, 0, 4, 19, 7])
    for number in range(3):
        query = QUERIES[number]
        found = scorer.score(row_of(query, QUERY), candidates)
        assert found.dtype == np.float32
        assert np.ptp(found) > 0
        np.testing.assert_allclose(found, predicted(model, query, ITEMS[candidates], QUERY), atol=1e-5, rtol=1e-5)


@each
@pytest.mark.parametrize("columns", SPLITS.values(), ids=SPLITS)
def test_it_does_not_matter_which_columns_are_the_query_s(
    make: Callable[[Schema], RankingModel], columns: list[str]
) -> None:
    model = untrained(make)
    scorer = CandidateScorer(model, ITEMS, columns)
    for candidates in (np.array([3]), np.array([1, 18])):
        found = scorer.score(row_of(QUERIES, columns), candidates)
        expected = predicted(model, QUERIES[0], ITEMS[candidates], columns)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


@each
def test_many_queries_at_once_get_what_each_gets_alone(
    make: Callable[[Schema], RankingModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.models.candidate_scorer._PAIRS_AT_ONCE", 10)  # two or three queries at once
    scorer = CandidateScorer(untrained(make), ITEMS.select(ITEM))
    candidates = np.random.default_rng(0).integers(0, NUM_ITEMS, (len(QUERIES), 4))
    candidates[1, 2:] = candidates[2] = candidates[3, 3:] = -1
    found = scorer.score_many(Dataset(QUERIES, schema=TWO_TARGETS + MORE), candidates)
    assert found.shape == (len(QUERIES), 4, 1)
    assert np.isneginf(found[candidates < 0]).all()
    for number, row in enumerate(candidates):
        alone = scorer.score(row_of(QUERIES[number], QUERY), row[row >= 0])
        np.testing.assert_allclose(found[number][row >= 0], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"DIN"}))
def test_recorded_widths_change_no_score(name: str) -> None:
    """Fewer candidates are filled up; numbers may come as whole ones."""
    model = untrained(MODELS[name])
    columns = ["user_id", "age", "mood"]
    scorer = CandidateScorer(model, ITEMS, columns, widths=(6, 1, 12))
    assert list(scorer._recorded) == [6, 12]
    for num_candidates in (3, 4, 6, 8, 11, 12, 13):
        candidates = np.random.default_rng(num_candidates).integers(0, NUM_ITEMS, num_candidates)
        for number, age in ((0, 0.5), (1, 2)):
            query = QUERIES[number].with_columns(age=pl.lit(age, pl.Float32))
            found = scorer.score({**row_of(query, columns), "age": age}, candidates)
            expected = predicted(model, query, ITEMS[candidates], columns)
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_queries_with_lists_and_networks_that_look_into_tensors_are_not_recorded() -> None:
    assert not CandidateScorer(untrained(MODELS["MLP"]), ITEMS.select(ITEM), widths=(4,))._recorded
    scorer = CandidateScorer(untrained(MODELS["DIN"]), ITEMS, ["user_id", "age"], widths=(4,))
    assert not scorer._recorded
    assert np.isfinite(scorer.score({"user_id": 4, "age": 0.1}, np.arange(4))).all()


@pytest.mark.parametrize("name", ["MLP", "DCN-v2", "DeepFM", "MLP, PLE"])
def test_several_targets_come_side_by_side(name: str) -> None:
    model = untrained(MODELS[name], TWO_TARGETS)
    found = CandidateScorer(model, ITEMS.select(ITEM)).score(row_of(QUERIES, QUERY), np.arange(4))
    assert found.shape == (4, 2)
    np.testing.assert_allclose(found, predicted(model, QUERIES[0], ITEMS[:4], QUERY), atol=1e-5, rtol=1e-5)


def test_a_click_and_what_follows_it_come_side_by_side() -> None:
    chain = SCHEMA + Schema([ColumnSchema("buy", "float32").with_tags([Tags.TARGET])])
    model = untrained(lambda schema: MLPModel(schema, MLPBlock([8]), heads=ESMM(MLPBlock([4]))), chain)
    found = CandidateScorer(model, ITEMS.select(ITEM)).score(row_of(QUERIES, QUERY), np.arange(4))
    np.testing.assert_allclose(found, predicted(model, QUERIES[0], ITEMS[:4], QUERY), atol=1e-5, rtol=1e-5)


class OwnModel(RankingModel):
    """A user's own: it reads columns by itself, and does with tensors what no rule knows."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, embedding_options=OPTIONS, heads=None, seed=0)

    def body(self, inputs: Inputs) -> Body:
        return OwnBody(inputs)


class OwnBody(Body):
    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs, self.width = inputs, len(inputs.fields) * 4

    def forward(self, features: object) -> Reading:
        fields = self.inputs.embeddings(features)  # type: ignore[arg-type]
        age = features["age"] * features["price"]  # type: ignore[index]
        turned = (1 - fields / 2.0 - 0.5 * fields + (-fields)).roll(1, dims=2) * fields.abs().max()
        return Reading(turned.reshape(len(fields), -1) + fields.mean(), age)


def test_a_model_of_ones_own_is_scored_too() -> None:
    model = untrained(OwnModel)
    found = CandidateScorer(model, ITEMS.select(ITEM)).score(row_of(QUERIES, QUERY), np.arange(4))
    np.testing.assert_allclose(found, predicted(model, QUERIES[0], ITEMS[:4], QUERY), atol=1e-5, rtol=1e-5)


def test_scores_are_calibrated_where_the_model_is() -> None:
    model = untrained(MODELS["MLP"])
    raw = predicted(model, QUERIES[0], ITEMS, QUERY)
    model.calibrate(Dataset(rows(500, seed=9), schema=TWO_TARGETS + MORE), "platt")
    scorer = CandidateScorer(model, ITEMS.select(ITEM))
    found = scorer.score(row_of(QUERIES, QUERY), np.arange(NUM_ITEMS))
    np.testing.assert_allclose(found, predicted(model, QUERIES[0], ITEMS, QUERY), atol=1e-5)
    assert not np.allclose(found, raw)
    many = scorer.score_many(QUERIES[:1], np.array([[3, -1]]))
    assert many[0, 0] == pytest.approx(found[3], abs=1e-6)
    assert np.isneginf(many[0, 1])


class Trees(ScoringModel):
    """Stands for a model that is no network: its score is the item's place beside the user's."""

    def __init__(self) -> None:
        self.input_schema, self.target_schema = (
            Schema([INPUTS["user_id"], INPUTS["item_id"]]),
            Schema([SCHEMA["click"]]),
        )
        self.calibrators = {}
        self.seen: list[dict[str, torch.Tensor]] = []

    def _probabilities(self, features: object) -> torch.Tensor:
        assert isinstance(features, dict)
        self.seen.append(features)
        return (features["user_id"] * 100 + features["item_id"]).float()[:, None]


Trees.__abstractmethods__ = frozenset()  # type: ignore[attr-defined] # saving and compiling are not asked for here


def test_a_model_of_trees_gets_the_repeated_rows() -> None:
    scorer = CandidateScorer(Trees(), ITEMS.select("item_id"))
    assert scorer.table_mb == 0
    items = ITEMS["item_id"].to_numpy()
    assert scorer.score({"user_id": 5}, np.array([2, 0])).tolist() == [[500 + items[2]], [500 + items[0]]]
    many = scorer.score_many(pl.DataFrame({"user_id": [5, 6]}), np.array([[2, 0], [1, -1]]))
    assert many[:, :, 0].tolist() == [[500 + items[2], 500 + items[0]], [600 + items[1], -np.inf]]


def test_no_candidates_have_no_scores() -> None:
    scorer = CandidateScorer(untrained(MODELS["MLP"]), ITEMS.select(ITEM))
    assert scorer.score(row_of(QUERIES, QUERY), np.array([], np.int64)).shape == (0, 1)
    assert scorer.score_many(QUERIES, np.empty((6, 0), np.int64)).shape == (6, 0, 1)
    assert scorer.score_many(QUERIES[:0], np.empty((0, 3), np.int64)).shape == (0, 3, 1)
    assert np.isneginf(scorer.score_many(QUERIES, np.full((6, 2), -1))).all()


def test_values_of_a_query_may_be_numbers_or_arrays_of_one() -> None:
    scorer = CandidateScorer(untrained(MODELS["MLP"]), ITEMS.select(ITEM))
    plain = {"user_id": 4, "age": 0.5, "seen": [3, 4], "mood": [1.0, 2.0, 3.0]}
    arrays = {"user_id": np.array([4], np.uint32), "age": np.float32(0.5), "seen": np.array([3, 4])}
    arrays |= {"mood": torch.tensor([[1.0, 2.0, 3.0]])}  # type: ignore[dict-item]
    once = scorer.score(plain, np.arange(3))
    np.testing.assert_array_equal(once, scorer.score(arrays, np.arange(3)))
    assert np.isfinite(scorer.score({**plain, "seen": []}, np.arange(3))).all()


def test_item_rows_that_are_not_there_are_refused() -> None:
    scorer = CandidateScorer(untrained(MODELS["MLP"]), ITEMS.select(ITEM))
    message = (
        r"CandidateScorer: item row {} is not among the 20 rows of its item_features\. Give rows that count from 0"
    )
    for wrong in (-1, 20):
        with pytest.raises(SettingError, match=message.format(wrong)):
            scorer.score(row_of(QUERIES, QUERY), np.array([0, wrong]))
    with pytest.raises(SettingError, match=message.format(-2)):
        scorer.score_many(QUERIES[:1], np.array([[0, -2]]))
    with pytest.raises(SettingError, match=r"score_many: item_rows has the shape \[2, 1\] beside 1 queries\. Give one"):
        scorer.score_many(QUERIES[:1], np.array([[0], [1]]))


def test_columns_that_neither_side_brings_are_named() -> None:
    model = untrained(MODELS["MLP"])
    with pytest.raises(
        SchemaError, match=r"the model's inputs \['price'\] are neither in item_features nor in query_c"
    ):
        CandidateScorer(model, ITEMS.select(["item_id", "genres", "photo"]), QUERY)
    with pytest.raises(UnknownColumnError, match=r"CandidateScorer: .*'usr_id'\. Did you mean 'user_id'\?"):
        CandidateScorer(model, ITEMS, ["usr_id"])
    scorer = CandidateScorer(model, ITEMS.select(ITEM))
    with pytest.raises(UnknownColumnError, match=r"CandidateScorer: the data has no column 'age'"):
        scorer.score({"user_id": 4, "seen": [], "mood": [0, 0, 0]}, np.arange(2))
    with pytest.raises(UnknownColumnError, match=r"CandidateScorer: the data has no column 'age'"):
        scorer.score_many(QUERIES.drop("age"), np.zeros((6, 1), np.int64))
    with pytest.raises(SchemaError, match=r"CandidateScorer: item_features has no rows\. Give one per item"):
        CandidateScorer(model, ITEMS.select(ITEM)[:0])


def test_values_that_no_model_can_read_are_refused() -> None:
    model = untrained(MODELS["MLP"])
    with pytest.raises(SettingError, match=r"column 'item_id': the code 99 is outside its 23 categories"):
        CandidateScorer(model, ITEMS.select(ITEM).with_columns(item_id=pl.lit(99, pl.Int32)))
    scorer = CandidateScorer(model, ITEMS.select(ITEM))
    query = row_of(QUERIES, QUERY)
    with pytest.raises(SettingError, match=r"column 'user_id': the code 999 is outside its 33 categories"):
        scorer.score({**query, "user_id": 999}, np.arange(2))
    with pytest.raises(DataError, match=r"the query's 'age' is None, which is no number\. Encode it with the workflow"):
        scorer.score({**query, "age": None}, np.arange(2))
    with pytest.raises(DataError, match=r"'user_id' has 2 values, but one row has 1\. Give the features of one query"):
        scorer.score({**query, "user_id": [4, 5]}, np.arange(2))


def test_training_goes_on_as_if_no_scorer_had_been_made() -> None:
    train = Dataset(rows(400, seed=8), schema=TWO_TARGETS + MORE)
    plain, scored = MODELS["DeepFM"](SCHEMA + MORE), MODELS["DeepFM"](SCHEMA + MORE)
    CandidateScorer(scored, ITEMS.select(ITEM)).score(row_of(QUERIES, QUERY), np.arange(3))
    for model in (plain, scored):
        model.fit(train, batch_size=100, verbose=False)
    first, second = plain.network.state_dict(), scored.network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
