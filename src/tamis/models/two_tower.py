"""The two-tower model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

from tamis.errors import SettingError
from tamis.models.retrieval import RetrievalModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.mlp import MLPBlock
from tamis.schema import Schema
from tamis.training.negatives import InBatchSampler, Sampler, describe_samplers, described_samplers


class TwoTowerModel(RetrievalModel):
    """A tower of dense layers over the query's features, one over the item's, trained to meet.

    Args:
        schema: columns tagged USER, SESSION or CONTEXT make the query, those tagged ITEM the candidate.
        query_tower: layers of the query tower.
        item_tower: layers of the item tower; by default like the query tower's.
        samplers: where negatives come from; by default the batch's other items.
        embedding_options: widths and start of the embeddings.
        logits_temperature: divides the scores in the softmax.
        l2_normalization: vectors of length 1, so scores are cosines; wants a temperature near 0.1.
        logq_correction: correct the scores for how often an item is sampled as a negative.
        seed: of the first weights.

    Raises:
        SettingError: the towers end at different dimensions.

    Source: Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations, RecSys 2019.
    """

    def __init__(
        self,
        schema: Schema,
        query_tower: MLPBlock,
        item_tower: MLPBlock | None = None,
        *,
        samplers: Sequence[Sampler] | None = None,
        embedding_options: EmbeddingOptions | None = None,
        logits_temperature: float = 1.0,
        l2_normalization: bool = False,
        logq_correction: bool = True,
        seed: int = 0,
    ) -> None:
        item_tower = item_tower or query_tower
        if query_tower.dimensions[-1] != item_tower.dimensions[-1]:
            raise SettingError(
                f"TwoTowerModel: the query tower ends at {query_tower.dimensions[-1]} dimensions and the item tower at "
                f"{item_tower.dimensions[-1]}, so their vectors cannot meet. End both at the same."
            )
        super().__init__(
            schema,
            query_mlp=query_tower,
            item_mlp=item_tower,
            options=embedding_options or EmbeddingOptions(),
            samplers=[InBatchSampler()] if samplers is None else samplers,
            logits_temperature=logits_temperature,
            l2_normalization=l2_normalization,
            logq_correction=logq_correction,
            seed=seed,
        )

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        assert self.query_mlp is not None and self.item_mlp is not None
        return {
            "query_tower": asdict(self.query_mlp),
            "item_tower": asdict(self.item_mlp),
            "samplers": describe_samplers(self.samplers),
            "embedding_options": asdict(self.options),
            "logits_temperature": self.logits_temperature,
            "l2_normalization": self.l2_normalization,
            "logq_correction": self.logq_correction,
        }

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        return cls(
            schema,
            MLPBlock(**settings["query_tower"]),
            MLPBlock(**settings["item_tower"]),
            samplers=described_samplers(settings["samplers"]),
            embedding_options=EmbeddingOptions(**settings["embedding_options"]),
            logits_temperature=settings["logits_temperature"],
            l2_normalization=settings["l2_normalization"],
            logq_correction=settings["logq_correction"],
        )
