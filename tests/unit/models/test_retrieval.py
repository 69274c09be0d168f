"""Settings, borders and messages of the retrieval models."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

from retrieval_world import AGE, FIRST, HOUR, IDS, ITEM, NUM_ITEMS, PRICE, SCHEMA, USER, categorical, interactions
from tamis import (
    SGD,
    Dataset,
    EmbeddingOptions,
    MatrixFactorizationModel,
    MLPBlock,
    NDCGAt,
    RecallAt,
    Tags,
    TwoTowerModel,
    UniformSampler,
)
from tamis.errors import (
    DataError,
    NonFiniteLossError,
    SchemaError,
    SettingError,
    UnknownColumnError,
    UnknownNameError,
)
from tamis.models.encoder import Encoder
from tamis.schema import ColumnSchema, Schema
from tamis.training.callbacks import Callback
from tamis.training.trainer import Trainer

TRAIN = interactions(800)
LAYERS = MLPBlock([6], no_activation_last_layer=True)
NARROW = EmbeddingOptions(embedding_dim_default=4)


def two_tower(schema: Schema = SCHEMA, **settings: object) -> TwoTowerModel:
    return TwoTowerModel(schema, LAYERS, **{"embedding_options": NARROW, **settings})  # type: ignore[arg-type]


def replaced(column: str, values: object) -> Dataset:
    return Dataset(TRAIN.compute().with_columns(pl.Series(column, values)), schema=SCHEMA)


def test_columns_find_their_side_by_tag() -> None:
    model = two_tower()
    assert model.query_schema.column_names == ["user_id", "age", "history", "hour"]
    assert model.item_schema.column_names == ["item_id", "genres", "price"]
    assert sorted(model.towers.tables.tables) == ["genres", "hour", "item_id", "user_id"]
    assert repr(model).startswith("TwoTowerModel(not fitted, query=['user_id',")


def test_a_users_history_is_looked_up_in_the_items_own_table() -> None:
    model = two_tower()
    before = model.towers.tables.vectors_of("item_id").clone()
    only_history = {
        "user_id": torch.tensor([5]),
        "age": torch.tensor([0.0]),
        "hour": torch.tensor([3]),
        "history__values": torch.tensor([9]),
        "history__offsets": torch.tensor([0, 1]),
    }
    model.towers.train()
    model.towers.query(only_history).sum().backward()
    gradients = model.towers.tables.row_gradients()["4"][0]
    assert model.towers.tables.tables["item_id"].first + 9 in gradients.tolist()
    assert torch.equal(model.towers.tables.vectors_of("item_id"), before)


def test_matrix_factorization_takes_the_ids_alone() -> None:
    model = MatrixFactorizationModel(SCHEMA, dim=5)
    assert model.schema == IDS
    model.fit(TRAIN, verbose=False)
    vectors = model.query_embeddings(TRAIN, index=Tags.USER_ID).compute()
    table = model.towers.tables.vectors_of("user_id")
    assert np.array_equal(vectors.drop("user_id").to_numpy(), table.numpy()[vectors["user_id"].to_numpy()])


def test_predict_adds_each_rows_score() -> None:
    model = MatrixFactorizationModel(SCHEMA, dim=5)
    model.fit(TRAIN, verbose=False)
    rows = TRAIN.compute().head(50)
    scored = model.predict(Dataset(rows, schema=SCHEMA))
    tables = {name: model.towers.tables.vectors_of(name).numpy() for name in ("user_id", "item_id")}
    expected = [(tables["user_id"][u] * tables["item_id"][i]).sum() for u, i in rows["user_id", "item_id"].rows()]
    assert scored.compute()["score"].to_list() == pytest.approx(expected, abs=1e-6)
    assert scored.schema == SCHEMA + ColumnSchema("score", "float32")


def test_popularity_enters_the_scores_as_the_logarithm_of_the_counts() -> None:
    model = MatrixFactorizationModel(IDS, 5, popularity_weight=0.7, l2_normalization=True, logits_temperature=0.2)
    model.fit(TRAIN, verbose=False)
    assert model.catalogue().vectors.shape == (NUM_ITEMS, 5)  # the bias is one of the 5
    tables = {name: F.normalize(model.towers.tables.vectors_of(name)).numpy() for name in ("user_id", "item_id")}
    count = dict(TRAIN.compute()["item_id"].value_counts().rows())
    rows = TRAIN.compute().head(50)
    expected = [
        tables["user_id"][u] @ tables["item_id"][i] + 0.2 * 0.7 * math.log(count[i] / max(count.values()))
        for u, i in rows["user_id", "item_id"].rows()
    ]
    scores = model.predict(Dataset(rows, schema=SCHEMA)).compute()["score"].to_list()
    assert scores == pytest.approx(expected, abs=1e-5)


def test_with_vectors_that_know_nothing_the_list_is_that_of_popularity() -> None:
    model = MatrixFactorizationModel(IDS, dim=3, popularity_weight=1.0, init_std=0.0)
    model.compile(SGD(1e-9), metrics=[NDCGAt(10)])
    model.fit(TRAIN, verbose=False)
    found = model.evaluate(TRAIN)
    assert found["ndcg_at_10"] == found["popularity_ndcg_at_10"]


def test_an_encoder_keeps_the_bias_alone_and_in_its_folder(tmp_path: Path) -> None:
    model = MatrixFactorizationModel(IDS, 5, popularity_weight=0.7)
    model.fit(TRAIN, verbose=False)
    for encoder, vectors in (
        (model.candidate_encoder, model.item_embeddings()),
        (model.query_encoder, model.query_embeddings(TRAIN)),
    ):
        encoder.save(tmp_path / "e")
        loaded = Encoder.load(tmp_path / "e").encode(vectors)
        assert np.array_equal(loaded.numpy(), vectors.compute().select(map(str, range(5))).to_numpy())
        assert torch.equal(loaded, encoder.encode(vectors))


def test_items_outside_the_catalogue_count_as_missed() -> None:
    model = MatrixFactorizationModel(IDS, dim=5)
    known = TRAIN.filter(pl.col("item_id") < FIRST + 30)
    model.fit(known, verbose=False)
    half = Dataset(
        pl.DataFrame(
            {"user_id": [5, 5], "item_id": [5, FIRST + 35]}, schema={"user_id": pl.Int32, "item_id": pl.Int32}
        ),
        schema=IDS,
    )
    everything = model.evaluate(half, metrics=["recall_at_30"])
    assert everything == {"recall_at_30": 0.5, "popularity_recall_at_30": 0.5}


def test_values_per_query_are_to_be_had() -> None:
    model = MatrixFactorizationModel(IDS, dim=5)
    model.fit(TRAIN, verbose=False)
    judgement = model.judge(TRAIN, metrics=[RecallAt(5)])
    assert judgement.num_candidates == NUM_ITEMS
    assert judgement.per_query["recall_at_5"].mean().item() == pytest.approx(judgement["recall_at_5"])
    assert judgement["recall_at_5"] == model.evaluate(TRAIN, metrics=["recall_at_5"])["recall_at_5"]


def test_a_query_without_a_user_id_is_one_row() -> None:
    schema = Schema([HOUR, AGE, ITEM])
    model = two_tower(schema)
    model.fit(TRAIN, verbose=False)
    assert model.judge(TRAIN, metrics=["recall_at_5"]).num_queries == 800
    assert model.query_embeddings(TRAIN).num_rows == 800
    with pytest.raises(SchemaError, match=r"embeddings: no column of \['hour', 'age'\] is tagged 'user_id'"):
        model.query_embeddings(TRAIN, index=Tags.USER_ID)


def test_validation_is_measured_each_epoch_without_what_was_seen() -> None:
    model = MatrixFactorizationModel(IDS, dim=5)
    model.compile(metrics=["recall_at_5"])
    held_out = interactions(200, seed=9)
    history = model.fit(TRAIN, held_out, exclude=TRAIN, epochs=2, verbose=False).history
    assert list(history) == ["loss", "rows_per_s", "val_recall_at_5", "val_popularity_recall_at_5"]
    assert history["val_recall_at_5"][-1] == model.evaluate(held_out, exclude=TRAIN)["recall_at_5"]


def test_fit_is_silent_when_asked(capfd: pytest.CaptureFixture[str]) -> None:
    MatrixFactorizationModel(IDS, dim=2).fit(TRAIN, TRAIN, verbose=False)
    assert capfd.readouterr() == ("", "")


# what the schema must hold


def test_a_schema_without_an_item_id_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"has 0 item id columns \[\], but needs one\. Tag one column with"):
        two_tower(SCHEMA.without("item_id"))
    with pytest.raises(SchemaError, match="has 0 item id columns"):
        MatrixFactorizationModel(SCHEMA.without("item_id"))


def test_two_item_ids_are_refused() -> None:
    second = categorical("asin", 9, Tags.ITEM_ID)
    with pytest.raises(SchemaError, match=r"has 2 item id columns \['item_id', 'asin'\], but needs one"):
        two_tower(SCHEMA + second)


def test_a_schema_without_query_columns_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"has no query columns\. Tag some with USER, SESSION or CONTEXT"):
        two_tower(Schema([ITEM, PRICE]))
    with pytest.raises(SchemaError, match=r"MatrixFactorizationModel: no column is a user id\. Tag one with"):
        MatrixFactorizationModel(Schema([ITEM, HOUR]))


def test_a_column_that_no_tower_can_take_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"column 'name': a string is neither categorical nor continuous"):
        two_tower(SCHEMA + ColumnSchema("name", "string", Tags.USER))
    with pytest.raises(SchemaError, match=r"column 'zip': its number of categories is not known"):
        two_tower(SCHEMA + ColumnSchema("zip", "int64", [Tags.USER, Tags.CATEGORICAL]))


def test_towers_that_end_apart_are_refused() -> None:
    with pytest.raises(SettingError, match=r"the query tower ends at 6 dimensions and the item tower at 7"):
        TwoTowerModel(SCHEMA, LAYERS, MLPBlock([7]))


# what compile must get


def test_unknown_names_are_answered_with_the_nearest() -> None:
    model = two_tower()
    with pytest.raises(UnknownNameError, match=r"no optimizer 'adm'\. Did you mean 'adam'"):
        model.compile("adm")
    with pytest.raises(UnknownNameError, match=r"no loss 'softmx'\. Did you mean 'softmax'"):
        model.compile(loss="softmx")
    with pytest.raises(UnknownNameError, match=r"no precision 'float23'\. Did you mean 'float32'"):
        model.compile(precision="float23")
    with pytest.raises(UnknownNameError, match=r"no metric 'recal_at_10'\. Did you mean 'recall_at_10'"):
        model.compile(metrics=["recal_at_10"])
    with pytest.raises(UnknownNameError, match=r"no kind of index 'hnws'\. Did you mean 'hnsw'"):
        model.fit(TRAIN, verbose=False)
        model.to_top_k_encoder(index="hnws")


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="the learning rate is 0"):
        two_tower().compile(learning_rate=0.0)
    with pytest.raises(SettingError, match="metrics: none is given"):
        two_tower().compile(metrics=[])
    with pytest.raises(SettingError, match="logits_temperature: it is 0"):
        two_tower(logits_temperature=0)
    with pytest.raises(SettingError, match="samplers: none is given"):
        two_tower(samplers=[])
    with pytest.raises(SettingError, match="fit: epochs is 0"):
        two_tower().fit(TRAIN, epochs=0)
    with pytest.raises(SettingError, match="batch_size is 0"):
        two_tower().fit(TRAIN, batch_size=0)
    with pytest.raises(SettingError, match="device: 'gpu' is none that torch knows"):
        two_tower().fit(TRAIN, device="gpu")


# what the data must hold


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_a_batch_of_one_item_teaches_nothing_and_breaks_nothing(loss: str) -> None:
    model = MatrixFactorizationModel(IDS, dim=3)
    model.compile(loss=loss)
    one = TRAIN.filter(pl.col("item_id") == 5)
    assert model.fit(one, batch_size=1, verbose=False).history["loss"] == pytest.approx([0.0], abs=1e-6)


def test_a_missing_column_is_answered_with_the_nearest() -> None:
    renamed = Dataset(TRAIN.compute().rename({"item_id": "itemid"}))
    with pytest.raises(UnknownColumnError, match=r"no column 'item_id'\. Did you mean 'itemid'"):
        two_tower().fit(renamed)


def test_ids_with_nulls_or_fractions_are_refused() -> None:
    ids = TRAIN.compute()["item_id"]
    with pytest.raises(DataError, match=r"fit: the id column 'item_id' has 1 nulls"):
        two_tower().fit(replaced("item_id", [None, *ids[1:]]))
    with pytest.raises(DataError, match=r"fit: the id column 'user_id' holds fractional numbers \(float64\)"):
        two_tower().fit(replaced("user_id", TRAIN.compute()["user_id"].cast(pl.Float64)))


def test_features_with_nulls_are_refused() -> None:
    with pytest.raises(DataError, match=r"'age'.*null"):
        two_tower().fit(replaced("age", [None, *TRAIN.compute()["age"][1:]]), verbose=False)


def test_fractional_codes_of_a_feature_are_refused() -> None:
    with pytest.raises(SettingError, match=r"column 'hour': its codes are float32, but must be whole numbers"):
        two_tower().fit(replaced("hour", TRAIN.compute()["hour"].cast(pl.Float32)), verbose=False)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"fit: the dataset has no rows"):
        two_tower().fit(TRAIN.filter(pl.col("item_id") < 0))
    model = MatrixFactorizationModel(IDS, dim=3)
    model.fit(TRAIN, verbose=False)
    with pytest.raises(DataError, match=r"evaluate: the dataset has no rows"):
        model.evaluate(TRAIN.filter(pl.col("item_id") < 0))


@pytest.mark.parametrize("code", [-1, FIRST + NUM_ITEMS, 2**31 - 1])
@pytest.mark.parametrize("samplers", [None, [UniformSampler(4)]], ids=str)
def test_ids_outside_their_categories_are_refused(code: int, samplers: list[UniformSampler] | None) -> None:
    ids = TRAIN.compute()["item_id"].to_list()
    with pytest.raises(SettingError, match=rf"column 'item_id': the code {code} is outside its 43 categories"):
        two_tower(samplers=samplers).fit(
            replaced("item_id", pl.Series([code, *ids[1:]], dtype=pl.Int32)), verbose=False
        )


def test_a_list_longer_than_the_catalogue_is_refused_before_training() -> None:
    model = MatrixFactorizationModel(IDS, dim=3)
    model.compile(metrics=["recall_at_41"])
    before = model.towers.tables.vectors_of("item_id").clone()
    with pytest.raises(SettingError, match=r"fit: k is 41, but the catalogue has only 40 candidates"):
        model.fit(TRAIN, TRAIN, verbose=False)
    assert torch.equal(before, model.towers.tables.vectors_of("item_id"))


def test_a_top_k_of_none_or_more_than_all_items_is_refused() -> None:
    model = MatrixFactorizationModel(IDS, dim=3)
    model.fit(TRAIN, verbose=False)
    for k in (0, 41):
        with pytest.raises(
            SettingError, match=rf"to_top_k_encoder: k is {k}, but there are 40 candidates\. Choose 1 to"
        ):
            model.to_top_k_encoder(k=k)
    top = model.to_top_k_encoder(k=3)
    with pytest.raises(SettingError, match="k is 0"):
        top.predict(TRAIN, k=0)
    assert top.predict(TRAIN.compute().head(2), k=50).compute()["ids"].list.len().to_list() == [40, 40]


def test_nan_in_a_number_stops_at_its_step() -> None:
    broken = replaced("price", [float("nan")] * 800)
    with pytest.raises(NonFiniteLossError, match=r"fit: the loss is nan at step 1, epoch 1"):
        two_tower().fit(broken, verbose=False)


def test_an_encoder_names_the_column_it_misses() -> None:
    encoder = two_tower().query_encoder
    with pytest.raises(UnknownColumnError, match=r"no column 'hour'"):
        encoder.encode(TRAIN.compute().drop("hour"))
    with pytest.raises(SettingError, match=r"column 'hour': the code 8 is outside its 8 categories"):
        encoder.encode(TRAIN.compute().with_columns(hour=pl.lit(8)))


def test_an_encoder_keeps_its_order_and_batch_size_changes_nothing(tmp_path: Path) -> None:
    encoder = two_tower(l2_normalization=True).query_encoder
    encoder.save(tmp_path / "e")
    whole = Encoder.load(tmp_path / "e").encode(TRAIN)
    torch.testing.assert_close(encoder.encode(TRAIN, batch_size=7), whole, rtol=1e-5, atol=1e-6)
    last = Dataset(TRAIN.compute().tail(1), schema=SCHEMA)
    torch.testing.assert_close(encoder.encode(last)[0], whole[-1], rtol=1e-5, atol=1e-6)


def test_users_are_told_apart_by_their_table() -> None:
    assert USER.cardinality == len(two_tower().towers.tables.vectors_of("user_id"))


def test_a_training_that_broke_off_leaves_no_dropout_in_the_answers() -> None:
    class Break(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            raise KeyboardInterrupt

    model = TwoTowerModel(SCHEMA, MLPBlock([16, 6], dropout=0.5), MLPBlock([6]), embedding_options=NARROW)
    with pytest.raises(KeyboardInterrupt):
        model.fit(TRAIN, callbacks=[Break()], verbose=False)
    found, again = (model.query_embeddings(TRAIN).compute() for _ in range(2))
    assert found.equals(again)
    dims = [name for name in found.columns if name.isdigit()]
    assert np.array_equal(model.query_encoder.encode(found).numpy(), found.select(dims).to_numpy())


def test_an_index_over_biased_vectors_tells_its_recall_on_users() -> None:
    """The items' own vectors as queries would turn the bias against itself, and the recall told would be wrong."""
    from tamis.data.dataset import Dataset
    from tamis.index import ExactIndex
    from tamis.models.tower_rows import encode_rows

    generator = np.random.default_rng(0)
    frame = pl.DataFrame({"user_id": generator.integers(3, 63, 6000), "item_id": (generator.pareto(0.7, 6000) * 3 + 3)})
    frame = frame.select(pl.col("user_id").cast(pl.Int32), pl.col("item_id").clip(3, 2002).cast(pl.Int32))
    schema = Schema([IDS["user_id"], IDS["item_id"].with_domain(2002)])
    model = MatrixFactorizationModel(schema, 16, popularity_weight=0.7)
    model.fit(Dataset(frame, schema=schema), batch_size=500, epochs=3, verbose=False)
    built = model.to_top_k_encoder(k=10, index="hnsw", target_recall=0.5)
    users = Dataset(pl.DataFrame({"user_id": pl.Series(range(3, 63), dtype=pl.Int32)}), schema=model.query_schema)
    queries = encode_rows(model.towers.query, users).numpy()
    items = model.catalogue()
    exact = ExactIndex().build(items.vectors, items.ids).search(queries, 10).ids
    found = built.index.search(queries, 10).ids
    real = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert built.index.recall == pytest.approx(real, abs=0.1)
