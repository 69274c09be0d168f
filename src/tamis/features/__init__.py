"""Dataset to Workflow (a graph of ops) to Dataset and Schema."""

from tamis.features.node import Node
from tamis.features.subgraph import Subgraph
from tamis.features.workflow import Workflow

__all__ = ["Node", "Subgraph", "Workflow"]
