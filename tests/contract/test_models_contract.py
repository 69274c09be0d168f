"""What every retrieval model promises, whatever its towers look like."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import tamis
from retrieval_world import IDS, SCHEMA, interactions
from tamis import (
    Adagrad,
    Adam,
    Checkpoint,
    EarlyStopping,
    EmbeddingOptions,
    InBatchSampler,
    MatrixFactorizationModel,
    MLPBlock,
    NDCGAt,
    PopularityBasedSampler,
    RecallAt,
    Tags,
    TwoTowerModel,
    UniformSampler,
    load_model,
)
from tamis.errors import FormatError, NotFittedError
from tamis.models.encoder import Encoder
from tamis.models.retrieval import RetrievalModel
from tamis.models.top_k_encoder import TopKEncoder
from tamis.training.callbacks import Callback
from tamis.training.trainer import Trainer

TRAIN, VALID = interactions(1500, seed=1), interactions(300, seed=2)


def two_tower(**settings: object) -> TwoTowerModel:
    options = EmbeddingOptions(embedding_dim_default=6, embedding_dims={"user_id": 8})
    layers = MLPBlock([12, 8], no_activation_last_layer=True, dropout=0.2)
    return TwoTowerModel(SCHEMA, layers, MLPBlock([8]), embedding_options=options, **settings)  # type: ignore[arg-type]


MODELS: dict[str, Callable[[], RetrievalModel]] = {
    "two towers": two_tower,
    "two towers, all negatives, cosine": lambda: two_tower(
        samplers=[InBatchSampler(), UniformSampler(8), PopularityBasedSampler(8, power=0.5)],
        l2_normalization=True,
        logits_temperature=0.2,
    ),
    "matrix factorization": lambda: MatrixFactorizationModel(SCHEMA, dim=8),
    "matrix factorization, popularity": lambda: MatrixFactorizationModel(
        IDS, dim=4, popularity_weight=0.7, l2_normalization=True, logits_temperature=0.2
    ),
    "matrix factorization, uniform": lambda: MatrixFactorizationModel(
        IDS, dim=4, samplers=[UniformSampler(16)], logq_correction=False, init_std=0.1
    ),
}
each = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
METRICS = ["recall_at_5", RecallAt(5, capped=True), NDCGAt(5), "novelty_at_5"]


def fitted(make: Callable[[], RetrievalModel], **settings: object) -> RetrievalModel:
    model = make()
    model.compile(learning_rate=0.02, metrics=METRICS)
    model.fit(TRAIN, batch_size=256, **{"epochs": 2, "verbose": False, **settings})  # type: ignore[arg-type]
    return model


def state(model: RetrievalModel) -> dict[str, torch.Tensor]:
    return model.towers.state_dict()


def same_weights(one: RetrievalModel, other: RetrievalModel) -> bool:
    return all(torch.equal(tensor, state(other)[name]) for name, tensor in state(one).items())


@each
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(make: Callable[[], RetrievalModel]) -> None:
    torch.manual_seed(1)
    one = fitted(make)
    torch.manual_seed(2)
    again, other = fitted(make), fitted(make, seed=1)
    assert same_weights(one, again) and not same_weights(one, other)
    assert one.evaluate(VALID) == again.evaluate(VALID)


@each
def test_fitting_moves_every_part(make: Callable[[], RetrievalModel]) -> None:
    before = {name: tensor.clone() for name, tensor in state(make()).items()}
    after = state(fitted(make))
    assert all(not torch.equal(tensor, after[name]) for name, tensor in before.items())


@each
def test_a_saved_model_comes_back_with_the_same_vectors_and_metrics(
    make: Callable[[], RetrievalModel], tmp_path: Path
) -> None:
    model = fitted(make)
    model.save(tmp_path / "m")
    loaded = load_model(str(tmp_path / "m"))
    assert type(loaded) is type(model) and repr(loaded) == repr(model)
    assert same_weights(model, loaded) and loaded.settings() == model.settings()
    assert loaded.evaluate(VALID, exclude=TRAIN) == model.evaluate(VALID, exclude=TRAIN)
    assert_frame_equal(loaded.query_embeddings(VALID).compute(), model.query_embeddings(VALID).compute())
    assert_frame_equal(loaded.item_embeddings().compute(), model.item_embeddings().compute())
    assert_frame_equal(loaded.predict(VALID).compute(), model.predict(VALID).compute())


def test_what_compile_chose_is_saved_with_the_model(tmp_path: Path) -> None:
    model = MatrixFactorizationModel(IDS, 4, samplers=[UniformSampler(8)])
    model.compile(Adagrad(0.2, epsilon=1e-6), loss="bpr", metrics=METRICS, precision="float32")
    model.fit(TRAIN, verbose=False)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.plan.optimizer == Adagrad(0.2, epsilon=1e-6)
    assert (loaded.loss, loaded.plan.precision) == ("bpr", "float32")
    assert list(loaded.evaluate(VALID)) == list(model.evaluate(VALID))


@each
def test_a_loaded_model_trains_on(make: Callable[[], RetrievalModel], tmp_path: Path) -> None:
    model = fitted(make)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    for one in (model, loaded):
        one.fit(TRAIN, batch_size=256, verbose=False, seed=5)
    assert same_weights(model, loaded)


@each
def test_a_resumed_training_ends_at_the_same_bits(make: Callable[[], RetrievalModel], tmp_path: Path) -> None:
    """Dropout and drawn negatives included; the checkpoint is from amid the second epoch."""

    class Interrupted(Exception):
        pass

    class Interrupt(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            if trainer.optimizer.num_steps == 9:
                raise Interrupted

    straight, broken, resumed = make(), make(), make()
    callbacks = [Checkpoint(tmp_path / "c", every_steps=8), Interrupt()]
    settings = {"batch_size": 256, "epochs": 3, "verbose": False, "validation_data": VALID}
    history = straight.fit(TRAIN, **settings)  # type: ignore[arg-type]
    with pytest.raises(Interrupted):
        broken.fit(TRAIN, callbacks=callbacks, **settings)  # type: ignore[arg-type]
    found = resumed.fit(TRAIN, resume_from=tmp_path / "c", **settings)  # type: ignore[arg-type]
    assert same_weights(straight, resumed)
    assert {**found.history, "rows_per_s": []} == {**history.history, "rows_per_s": []}


@each
def test_encoders_stand_on_their_own(make: Callable[[], RetrievalModel], tmp_path: Path) -> None:
    model = fitted(make)
    model.query_encoder.save(tmp_path / "query")
    model.candidate_encoder.save(tmp_path / "item")
    queries = model.query_embeddings(VALID)
    dims = [name for name in queries.column_names if name.isdigit()]
    found = Encoder.load(tmp_path / "query").encode(queries.select(model.query_schema.column_names))
    assert np.array_equal(found.numpy(), queries.compute().select(dims).to_numpy())
    items = model.item_embeddings()
    found = Encoder.load(tmp_path / "item").encode(items.compute())  # a bare frame does as well
    assert np.array_equal(found.numpy(), items.compute().select(dims).to_numpy())


@each
def test_an_encoder_is_a_copy_that_no_training_moves(make: Callable[[], RetrievalModel]) -> None:
    model = fitted(make)
    encoder = model.query_encoder
    before = encoder.encode(VALID)
    model.fit(TRAIN, batch_size=256, verbose=False)
    assert torch.equal(encoder.encode(VALID), before)
    assert not torch.equal(model.query_encoder.encode(VALID), before)


@each
def test_asking_for_vectors_moves_no_random_numbers(make: Callable[[], RetrievalModel], tmp_path: Path) -> None:
    model = fitted(make)
    model.save(tmp_path / "m")
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    model.query_encoder.encode(VALID)
    model.evaluate(VALID)
    load_model(tmp_path / "m")
    make().fit(TRAIN, batch_size=512, verbose=False)
    assert torch.equal(torch.rand(2), expected)


@each
def test_list_of_ten_equals_brute_force(make: Callable[[], RetrievalModel], tmp_path: Path) -> None:
    model = fitted(make)
    top = model.to_top_k_encoder(k=7)
    queries = model.query_embeddings(VALID)
    dims = [name for name in queries.column_names if name.isdigit()]
    items = model.item_embeddings().compute()
    scores = queries.compute().select(dims).to_numpy() @ items.select(dims).to_numpy().T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    ids = items["item_id"].to_numpy()
    found = top.predict(queries).compute()
    assert found["ids"].to_list() == ids[best].tolist()
    assert np.allclose(found["scores"].to_numpy().tolist(), np.take_along_axis(scores, best, 1), atol=1e-5)
    seen = [ids[row[:3]] for row in best]
    left = top.predict(queries, k=4, exclude=seen).compute()
    assert left["ids"].to_list() == ids[best[:, 3:]].tolist()
    top.save(tmp_path / "top")
    assert_frame_equal(TopKEncoder.load(tmp_path / "top").predict(queries).compute(), found)


@each
def test_metrics_are_those_of_brute_force(make: Callable[[], RetrievalModel]) -> None:
    model = fitted(make)
    model.compile(metrics=["recall_at_5", "ndcg_at_5"])
    for exclude in (None, TRAIN):
        assert model.evaluate(VALID, exclude=exclude) == pytest.approx(by_brute_force(model, exclude), abs=1e-6)


def by_brute_force(model: RetrievalModel, exclude: tamis.Dataset | None) -> dict[str, float]:
    """Recall and NDCG at 5 in numpy, over the items of TRAIN, one query per user; the popularity list beside them."""
    held_out, train = VALID.compute(), TRAIN.compute()
    items = model.item_embeddings().compute().sort("item_id")
    dims = [name for name in items.columns if name.isdigit()]
    ids = items["item_id"].to_list()
    assert ids == sorted(train["item_id"].unique().to_list())
    vectors = items.select(dims).to_numpy()
    queries = model.query_encoder.encode(VALID).numpy()
    counts = np.array([(train["item_id"] == i).sum() for i in ids], dtype=np.float64)
    values: dict[str, list[float]] = {name: [] for name in ("recall", "ndcg", "p recall", "p ndcg")}
    for user in held_out["user_id"].unique(maintain_order=True):
        rows = np.flatnonzero(held_out["user_id"].to_numpy() == user)
        relevant = set(held_out["item_id"].to_numpy()[rows].tolist())
        seen = set(train.filter(pl.col("user_id") == user)["item_id"].to_list()) if exclude is not None else set()
        relevant -= seen
        if not relevant:
            continue
        for prefix, scores in (("", vectors @ queries[rows[0]]), ("p ", counts)):
            allowed = [(-score, i) for score, i in zip(scores.tolist(), ids, strict=True) if i not in seen]
            hits = [i in relevant for _, i in sorted(allowed)[:5]]
            gain = sum(1 / np.log2(2 + rank) for rank, hit in enumerate(hits) if hit)
            ideal = sum(1 / np.log2(2 + rank) for rank in range(min(5, len(relevant))))
            values[prefix + "recall"].append(sum(hits) / len(relevant))
            values[prefix + "ndcg"].append(gain / ideal)
    names = ["recall_at_5", "ndcg_at_5", "popularity_recall_at_5", "popularity_ndcg_at_5"]
    return {name: float(np.mean(found)) for name, found in zip(names, values.values(), strict=True)}


@each
def test_an_unfitted_model_says_so(make: Callable[[], RetrievalModel], tmp_path: Path) -> None:
    model = make()
    assert "not fitted" in repr(model)
    for ask in (
        lambda: model.evaluate(VALID),
        lambda: model.candidate_embeddings(),
        lambda: model.to_top_k_encoder(),
        lambda: model.save(tmp_path / "m"),
    ):
        with pytest.raises(NotFittedError, match=r"it knows no items yet\. Call fit, or load a fitted model"):
            ask()
    assert not (tmp_path / "m").exists()


@each
def test_changed_newer_and_other_folders_are_refused(make: Callable[[], RetrievalModel], tmp_path: Path) -> None:
    model = fitted(make)
    folder = tmp_path / "m"
    with pytest.raises(FormatError, match="there is no such folder, so it is not a saved model"):
        load_model(folder)
    model.query_encoder.save(folder)
    with pytest.raises(FormatError, match=r"it holds 'encoder', not 'model'"):
        load_model(folder)
    model.save(folder)
    with pytest.raises(FormatError, match=r"it holds 'model', not 'encoder'"):
        Encoder.load(folder)
    with pytest.raises(FormatError, match=r"it holds 'model', not 'top_k_encoder'"):
        TopKEncoder.load(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(FormatError, match=r"format version 99 is newer than the 1 .*Upgrade Tamis"):
        load_model(folder)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "model": "ThreeTowerModel"}))
    with pytest.raises(FormatError, match=r"it holds a 'ThreeTowerModel', which this Tamis does not know"):
        load_model(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(FormatError, match=r"weights.safetensors: its content changed"):
        load_model(folder)


def test_early_stopping_ends_with_the_weights_of_the_best_epoch() -> None:
    model = two_tower()
    model.compile(Adam(0.05), metrics=["recall_at_5"])
    stopping = EarlyStopping("val_recall_at_5", patience=1)
    history = model.fit(TRAIN, VALID, batch_size=128, epochs=8, callbacks=[stopping], exclude=TRAIN, verbose=False)
    best = max(history.history["val_recall_at_5"])
    assert model.evaluate(VALID, exclude=TRAIN)["recall_at_5"] == best
    assert history.num_epochs == 8 or history.num_epochs == stopping.best_epoch + 2


@each
def test_embeddings_come_with_their_features_first_or_with_the_id_alone(make: Callable[[], RetrievalModel]) -> None:
    model = fitted(make)
    dims = [str(i) for i in range(model.towers.candidate(tensors(model)).shape[1])]
    assert model.item_embeddings().column_names == [*model.item_schema.column_names, *dims]
    assert model.candidate_embeddings(TRAIN, index=Tags.ITEM_ID).column_names == ["item_id", *dims]
    assert model.query_embeddings(TRAIN).column_names == [*model.query_schema.column_names, *dims]
    found = model.query_embeddings(TRAIN, index=Tags.USER_ID, batch_size=7)
    assert found.column_names == ["user_id", *dims]
    assert found.compute()["user_id"].to_list() == TRAIN.compute()["user_id"].unique(maintain_order=True).to_list()
    assert found.schema["user_id"] == model.schema["user_id"]


def tensors(model: RetrievalModel) -> dict[str, torch.Tensor]:
    assert model.items is not None
    return model.items.features()
