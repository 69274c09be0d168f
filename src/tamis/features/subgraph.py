"""A part of the graph with a name, to be taken out as a workflow of its own: the user's features, say."""

from __future__ import annotations

from typing import Any

from tamis.errors import SettingError, UnknownNameError
from tamis.features.node import Context, Node, as_node, walk
from tamis.features.rows import Columns


class Subgraph(Node):
    """The columns of a node, under a name: `Subgraph("user", ["user_id"] >> Categorify())`.

    It goes wherever a node goes. `workflow.get_subworkflow("user")` gives the workflow of that part alone.

    Args:
        name: how to ask for it; once in a workflow.
        node: the part: a node, or what stands for one.

    Raises:
        SettingError: the name is empty or no text.
    """

    def __init__(self, name: str, node: Any) -> None:
        if not isinstance(name, str) or not name:
            raise SettingError(f"Subgraph: {name!r} is not a name. Give a text that is not empty, then the node.")
        self.name, self.parents = name, (as_node(node),)

    def _resolve(self, context: Context, where: str) -> Columns:
        return self.parents[0].columns(context, where)

    def __repr__(self) -> str:
        return f"Subgraph({self.name!r}, {self.parents[0]!r})"


def subgraphs(node: Node) -> dict[str, Subgraph]:
    """The named parts of a graph, inner ones first.

    Raises:
        SettingError: two parts have one name.
    """
    found: dict[str, Subgraph] = {}
    for one in walk(node):
        if isinstance(one, Subgraph):
            if one.name in found:
                raise SettingError(f"Workflow: two subgraphs are called {one.name!r}. Rename one of them.")
            found[one.name] = one
    return found


def find_subgraph(node: Node, name: str) -> Subgraph:
    """The part of this name.

    Raises:
        UnknownNameError: there is none.
    """
    found = subgraphs(node)
    if name not in found:
        raise UnknownNameError(name, found, where="Workflow.get_subworkflow", what="subgraph")
    return found[name]


def check_graph(node: Node) -> None:
    """Refuse what is no graph of nodes: strangers among the parents, a cycle, two parts of one name.

    Raises:
        SettingError: names what is wrong.
    """
    for one in walk(node):
        if type(one)._resolve is Node._resolve:
            raise SettingError(
                f"Workflow: a {type(one).__name__} in the graph does not say which columns it gives. "
                "Build the graph with >>, + and - alone."
            )
    subgraphs(node)
