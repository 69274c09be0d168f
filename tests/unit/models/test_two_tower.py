"""Settings of the two-tower model that cannot be."""

import pytest

import tamis
from retrieval_world import SCHEMA


def test_a_width_for_a_column_that_is_not_there_is_answered_with_the_nearest() -> None:
    options = tamis.EmbeddingOptions(embedding_dims={"itm_id": 8})
    with pytest.raises(LookupError, match=r"embedding_dims: the data has no column 'itm_id'. Did you mean 'item_id'\?"):
        tamis.TwoTowerModel(SCHEMA, tamis.MLPBlock([4]), embedding_options=options)
