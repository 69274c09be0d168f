"""FinalMLP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tamis.errors import SettingError
from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import HeadSettings
from tamis.nn.inputs import Inputs, input_width
from tamis.nn.mlp import MLPBlock
from tamis.nn.positive import need_positive
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class FinalMLPModel(RankingModel):
    """Two stacks of dense layers that see the inputs through gates of their own, and meet in a bilinear product.

    Args:
        schema: inputs and targets.
        first_block: layers of one stack.
        second_block: of the other; by default the same.
        num_heads: pieces that the stacks' ends are cut into, each with a product of its own.
        first_context: columns that the first stack's gate looks at; none makes its gate a learned constant.
        second_context: the same of the second.
        gate_hidden: width of the gates' hidden layer.
        embedding_options: widths and start of the embeddings.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Raises:
        SettingError: a stack's end that `num_heads` does not divide.
        UnknownColumnError: a context column that is no input.

    Source: Mao et al., FinalMLP, AAAI 2023, eq. 3 to 9.
    """

    def __init__(
        self,
        schema: Schema,
        first_block: MLPBlock | None = None,
        second_block: MLPBlock | None = None,
        *,
        num_heads: int = 1,
        first_context: Sequence[str] = (),
        second_context: Sequence[str] = (),
        gate_hidden: int = 64,
        embedding_options: EmbeddingOptions | None = None,
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.first_block = first_block or MLPBlock([256, 128])
        self.second_block, self.num_heads = second_block or self.first_block, num_heads
        self.first_context, self.second_context = tuple(first_context), tuple(second_context)
        self.gate_hidden = gate_hidden
        need_positive("FinalMLPModel", num_heads=num_heads, gate_hidden=gate_hidden)
        for block in (self.first_block, self.second_block):
            if block.dimensions[-1] % num_heads:
                raise SettingError(
                    f"FinalMLPModel: num_heads={num_heads} does not divide a stack that ends at "
                    f"{block.dimensions[-1]}. Choose a divisor of both ends."
                )
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Gates, stacks and their product."""
        width = input_width(self.input_schema, self.embedding_options)
        streams = [
            _Stream(self._gate(context, inputs, width), block.build(width), block.dimensions[-1])
            for context, block in (
                (self.first_context, self.first_block),
                (self.second_context, self.second_block),
            )
        ]
        return _FinalMLP(inputs, streams, self.num_heads)

    def _gate(self, context: tuple[str, ...], inputs: Inputs, width: int) -> _Gate:
        if not context:
            return _Gate(None, 1, self.gate_hidden, width)
        schema = self.input_schema.select_by_name(context)
        looked_at = Inputs(schema, inputs.tables, combiner=inputs.combiner)
        return _Gate(looked_at, input_width(schema, self.embedding_options), self.gate_hidden, width)


class _Gate(nn.Module):
    """Factors from 0 to 2 for every input: 1 leaves it as it is."""

    def __init__(self, inputs: Inputs | None, context_width: int, hidden: int, width: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.constant = nn.Parameter(torch.ones(1, 1)) if inputs is None else None
        self.layers = nn.Sequential(nn.Linear(context_width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        context = self.constant if self.inputs is None else self.inputs(features)
        return 2.0 * torch.sigmoid(self.layers(context))


class _Stream(nn.Module):
    def __init__(self, gate: _Gate, layers: nn.Module, width: int) -> None:
        super().__init__()
        self.gate, self.layers, self.width = gate, layers, width

    def forward(self, x: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = self.layers(x * self.gate(features))
        return out


class _FinalMLP(Body):
    def __init__(self, inputs: Inputs, streams: list[_Stream], num_heads: int) -> None:
        super().__init__()
        self.inputs, self.streams, self.num_heads = inputs, nn.ModuleList(streams), num_heads
        first, second = streams[0].width, streams[1].width
        self.width = first + second  # the heads add the linear part of the bilinear fusion
        self.bilinear = nn.Parameter(torch.empty(num_heads, first // num_heads, second // num_heads))
        for head in self.bilinear:  # one by one: of three dimensions the initialiser takes the wrong two
            nn.init.xavier_normal_(head)

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        x = self.inputs(features)
        first, second = (stream(x, features) for stream in self.streams)
        heads = (x.shape[0], self.num_heads, -1)
        product = torch.einsum("bhi,hij,bhj->b", first.view(heads), self.bilinear, second.view(heads))
        return Reading(torch.cat([first, second], dim=1), product)
