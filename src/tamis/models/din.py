"""Deep Interest Network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.data.batch import OFFSETS, VALUES
from tamis.errors import SchemaError
from tamis.models.ranking import RankingModel
from tamis.nn.attention import TargetAttention
from tamis.nn.embeddings import EmbeddingOptions, check_codes, check_whole, table_name
from tamis.nn.experts import HeadSettings
from tamis.nn.inputs import Inputs, input_width
from tamis.nn.mlp import MLPBlock
from tamis.nn.positive import need_positive
from tamis.nn.ranking_network import Body, Reading
from tamis.nn.sequences import padded
from tamis.schema import ColumnSchema, Schema


class DINModel(RankingModel):
    """Of what a user chose before, that which resembles the candidate counts.

    A history is a list column that shares its domain with a single-valued column, the candidate's: the items a user
    had before beside the item to rank, their categories beside its category. Every other list is combined as usual.

    Args:
        schema: inputs and targets.
        deep_block: the dense layers over everything.
        attention_hidden: width of the network that weighs a history.
        max_length: values of a history that are looked at, the last ones.
        embedding_options: widths and start of the embeddings.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Raises:
        SchemaError: no list column shares a domain with a single-valued one.

    Source: Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018, figure 2.
    """

    def __init__(
        self,
        schema: Schema,
        deep_block: MLPBlock | None = None,
        *,
        attention_hidden: int = 36,
        max_length: int = 50,
        embedding_options: EmbeddingOptions | None = None,
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.deep_block = deep_block or MLPBlock([200, 80])
        self.attention_hidden, self.max_length = attention_hidden, max_length
        need_positive("DINModel", max_length=max_length)
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Attention over the histories, dense layers over all."""
        pairs = _histories(inputs)
        if not pairs:
            raise SchemaError(
                "DINModel: no list column shares its domain with a single-valued column, so there is no history to "
                "attend to. Encode both together ([['item_id', 'item_history']] >> Categorify()), or make one with "
                "HistorySequence."
            )
        return _DIN(self, inputs, pairs)


def _histories(inputs: Inputs) -> list[tuple[ColumnSchema, ColumnSchema]]:
    """Each history with the candidate's column of its domain."""
    single = {table_name(column): column for column in inputs.fields if not column.is_list}
    return [(c, single[table_name(c)]) for c in inputs.lists if c.width is None and table_name(c) in single]


class _DIN(Body):
    def __init__(self, model: DINModel, inputs: Inputs, pairs: list[tuple[ColumnSchema, ColumnSchema]]) -> None:
        super().__init__()
        self.pairs, self.max_length = pairs, model.max_length
        names = {history.name for history, _ in pairs}
        plain = Schema(column for column in model.input_schema if column.name not in names)
        self.plain = Inputs(plain, inputs.tables, combiner=inputs.combiner)
        self.table_of = {history.name: inputs.tables.tables[table_name(history)] for history, _ in pairs}
        widths = [self.table_of[history.name].width for history, _ in pairs]
        self.attention = nn.ModuleList(TargetAttention(width, hidden=model.attention_hidden) for width in widths)
        self.deep = model.deep_block.build(input_width(plain, model.embedding_options) + sum(widths))
        self.width = model.deep_block.dimensions[-1]

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        parts = [self.plain(features)]
        for attention, (history, candidate) in zip(self.attention, self.pairs, strict=True):
            parts.append(self._interest(attention, history.name, candidate.name, features))
        return Reading(self.deep(torch.cat(parts, dim=1)))

    def _interest(self, attention: nn.Module, history: str, candidate: str, features: Mapping[str, Tensor]) -> Tensor:
        table, tables = self.table_of[history], self.plain.tables
        values = features[history + VALUES]
        check_whole(values, history)
        if not torch.compiler.is_exporting():
            check_codes(values, [table.num_rows], [history])
        codes = padded(values, features[history + OFFSETS], self.max_length).long()
        rows = torch.cat([features[candidate].long()[:, None], codes], dim=1) + table.first
        vectors = tables(table.width, rows.flatten()).view(*rows.shape, table.width)
        interest: Tensor = attention(vectors[:, 0], vectors[:, 1:], codes != 0)
        return interest
