"""Matrix factorization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from tamis.errors import SchemaError
from tamis.models.retrieval import RetrievalModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.schema import Schema, Tags
from tamis.training.negatives import InBatchSampler, Sampler, describe_samplers, described_samplers


class MatrixFactorizationModel(RetrievalModel):
    """One vector per user and one per item, trained to meet; features play no part.

    Args:
        schema: with a user id and an item id; other columns are left aside.
        dim: length of the vectors.
        samplers: where negatives come from; by default the batch's other items.
        logits_temperature: divides the scores in the softmax.
        l2_normalization: vectors of length 1, so scores are cosines; wants a temperature near 0.1.
        logq_correction: correct the scores for how often an item is sampled as a negative.
        popularity_weight: each logit gets this times the logarithm of the item's frequency, in training and in lists,
            so that the vectors need to learn only who likes what others do not. It takes the last of the `dim`
            coordinates: a 1 in a user's vector, the bias in an item's. Wants 0 to 1; 0 leaves it out. See `ItemBias`.
        init_std: standard deviation of the first weights.
        seed: of the first weights.

    Raises:
        SchemaError: no user id or no item id.

    Source: Koren et al., Matrix Factorization Techniques for Recommender Systems, Computer 2009, eq. 4 (of its biases
    a query's own does not change its list, and the item's is the logarithm of its frequency); with the softmax loss
    of Yi et al., RecSys 2019, or of Rendle et al., BPR, UAI 2009.
    """

    def __init__(
        self,
        schema: Schema,
        dim: int = 64,
        *,
        samplers: Sequence[Sampler] | None = None,
        logits_temperature: float = 1.0,
        l2_normalization: bool = False,
        logq_correction: bool = True,
        popularity_weight: float = 0.0,
        init_std: float = 0.1,
        seed: int = 0,
    ) -> None:
        ids = schema.select_by_tag([Tags.USER_ID, Tags.ITEM_ID])
        if not len(ids.select_by_tag(Tags.USER_ID)):
            raise SchemaError("MatrixFactorizationModel: no column is a user id. Tag one with TagAsUserID.")
        self.dim = dim
        super().__init__(
            ids,
            query_mlp=None,
            item_mlp=None,
            options=EmbeddingOptions(embedding_dim_default=dim - (popularity_weight != 0), init_std=init_std),
            samplers=[InBatchSampler()] if samplers is None else samplers,
            logits_temperature=logits_temperature,
            l2_normalization=l2_normalization,
            logq_correction=logq_correction,
            popularity_weight=popularity_weight,
            seed=seed,
        )

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        return {
            "dim": self.dim,
            "samplers": describe_samplers(self.samplers),
            "logits_temperature": self.logits_temperature,
            "l2_normalization": self.l2_normalization,
            "logq_correction": self.logq_correction,
            "popularity_weight": self.popularity_weight,
            "init_std": self.options.init_std,
        }

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        return cls(schema, **{**settings, "samplers": described_samplers(settings["samplers"])})
