"""A ranker may start from the embeddings of the first stage: tables of the same name, size and width."""

import pytest
import torch

from tamis import ColumnSchema, DeepFMModel, EmbeddingOptions, MLPBlock, Schema, Tags, TwoTowerModel
from tamis.errors import SettingError

USER = ColumnSchema("user_id", "int32", {Tags.USER_ID, Tags.CATEGORICAL}).with_domain(4)
ITEM = ColumnSchema("item_id", "int32", {Tags.ITEM_ID, Tags.CATEGORICAL}).with_domain(6)
PLACE = ColumnSchema("place", "int32", {Tags.CONTEXT, Tags.CATEGORICAL}).with_domain(2)
TARGET = ColumnSchema("taken", "float32", {Tags.TARGET, Tags.BINARY_CLASSIFICATION})


def towers(dim: int) -> TwoTowerModel:
    options = EmbeddingOptions(embedding_dim_default=dim)
    return TwoTowerModel(Schema([USER, ITEM]), MLPBlock([3], no_activation_last_layer=True), embedding_options=options)


def ranker(dim: int) -> DeepFMModel:
    schema = Schema([USER, ITEM.with_domain(9), PLACE, TARGET])
    return DeepFMModel(schema, MLPBlock([3]), embedding_options=EmbeddingOptions(embedding_dim_default=dim), seed=1)


def test_tables_of_the_same_size_are_taken_over_and_the_others_stay() -> None:
    model, second = towers(4), ranker(4)
    place, item = (second.network.tables.vectors_of(name).clone() for name in ("place", "item_id"))
    assert second.start_from(model) == ["user_id"]
    assert torch.equal(second.network.tables.vectors_of("user_id"), model.network.tables.vectors_of("user_id"))
    assert torch.equal(second.network.tables.vectors_of("place"), place)
    assert torch.equal(second.network.tables.vectors_of("item_id"), item)


def test_the_vectors_are_copies() -> None:
    model, second = towers(4), ranker(4)
    second.start_from(model)
    second.network.tables.vectors_of("user_id").zero_()
    assert model.network.tables.vectors_of("user_id").abs().sum() > 0


def test_another_width_gives_nothing_to_start_from() -> None:
    message = (
        r"DeepFMModel.start_from: no table of TwoTowerModel has the name, rows and width of one of "
        r"\['user_id', 'item_id', 'place'\] here"
    )
    with pytest.raises(SettingError, match=message):
        ranker(5).start_from(towers(4))
