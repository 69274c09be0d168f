"""Two towers over shared embedding tables: the network of a retrieval model."""

from __future__ import annotations

from torch import nn

from tamis.nn.embeddings import EmbeddingTables
from tamis.nn.tower import Tower


class TwoTowers(nn.Module):
    """A query tower and a candidate tower whose vectors meet in an inner product.

    Source: Covington et al., Deep Neural Networks for YouTube Recommendations, RecSys 2016; Yi et al., RecSys 2019.
    """

    def __init__(self, tables: EmbeddingTables, query: Tower, candidate: Tower) -> None:
        super().__init__()
        self.tables = tables
        self.query = query
        self.candidate = candidate
