import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis.errors import SettingError, UnknownNameError
from tamis.features.node import Node, Selection, as_node, walk
from tamis.features.ops import AddTags, Categorify, Filter, Normalize, TagAsUserID
from tamis.features.subgraph import Subgraph
from tamis.features.workflow import Workflow

LOG = pl.DataFrame(
    {
        "user_id": [7, 8, 7],
        "age": [10.0, 20.0, 30.0],
        "item_id": ["b", "a", "a"],
        "click": [1, 0, 1],
        "other": [0, 0, 0],
    }
)


def a_workflow() -> Workflow:
    ids = Subgraph("ids", ["user_id"] >> Categorify() >> TagAsUserID())
    user = Subgraph("user", ids + (["age"] >> Normalize("float64")))
    item = Subgraph("item", ["item_id"] >> Categorify())
    return Workflow((user + item + ["click"]) >> Filter(lambda df: df["click"] == 1))


def test_a_subgraph_is_a_node_like_any_other() -> None:
    part = Subgraph("user", ["user_id"])
    assert Workflow(part >> Categorify()).fit(LOG).transform(LOG)["user_id"].to_list() == [3, 4, 3]
    assert Workflow(["click"] + (part + "age")).fit(LOG).output_schema.column_names == ["click", "user_id", "age"]
    assert Workflow(Subgraph("s", ["user_id", "age"])["age"] - []).fit(LOG).output_schema.column_names == ["age"]
    assert repr(part) == "Subgraph('user', ['user_id'])"


def test_a_part_is_a_fitted_workflow_that_reads_its_own_inputs_only() -> None:
    workflow = a_workflow().fit(LOG)
    assert workflow.subworkflows == ["ids", "user", "item"]
    user = workflow.get_subworkflow("user")
    assert user.is_fitted
    assert user.input_schema.column_names == ["user_id", "age"]
    assert user.output_schema == workflow.output_schema.select_by_name(["user_id", "age"])
    # All rows come out: the Filter is after the part. The statistics are of all three rows: 10, 20, 30.
    out = user.transform(LOG.select("age", "user_id"))
    assert out["user_id"].to_list() == [3, 4, 3]
    assert out["age"].to_list() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5])
    assert user.subworkflows == ["ids"]
    assert user.get_subworkflow("ids").output_schema.column_names == ["user_id"]
    assert user.decode("user_id", [3]).to_list() == [7]


def test_parts_are_there_before_fit_and_after_load(tmp_path) -> None:
    item = a_workflow().get_subworkflow("item")
    assert not item.is_fitted
    assert item.fit(LOG).transform(LOG)["item_id"].to_list() == [4, 3, 3]
    workflow = a_workflow().fit(LOG)
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert loaded.subworkflows == workflow.subworkflows
    assert repr(loaded) == repr(workflow)
    for name in workflow.subworkflows:
        part, same = workflow.get_subworkflow(name), loaded.get_subworkflow(name)
        assert_frame_equal(part.transform(LOG), same.transform(LOG))
        assert part.output_schema == same.output_schema
        part.save(tmp_path / name)
        assert Workflow.load(tmp_path / name).transform(LOG).equals(part.transform(LOG))


def test_a_part_of_a_folder_without_the_inputs_dtypes_can_still_be_taken_out(tmp_path) -> None:
    workflow = a_workflow().fit(LOG)
    workflow._empty = None  # as a folder of an early version has it
    workflow.save(tmp_path / "w")
    assert not (tmp_path / "w/input.parquet").exists()
    user = Workflow.load(tmp_path / "w").get_subworkflow("user")
    assert user.output_schema == a_workflow().fit(LOG).get_subworkflow("user").output_schema


def test_an_unknown_part_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"get_subworkflow: there is no subgraph 'users'. Did you mean 'user'\?"):
        a_workflow().get_subworkflow("users")
    with pytest.raises(UnknownNameError, match=r"there is no subgraph 'user'. There are none"):
        Workflow(["click"]).get_subworkflow("user")


def test_names_of_parts_must_make_sense() -> None:
    with pytest.raises(SettingError, match="Subgraph: '' is not a name"):
        Subgraph("", ["a"])
    with pytest.raises(SettingError, match=r"Subgraph: \['a'\] is not a name"):
        Subgraph(["a"], "user")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="7 is not a set of columns"):
        Subgraph("user", 7)
    with pytest.raises(SettingError, match=r"Workflow: two subgraphs are called 'user'. Rename one of them"):
        Workflow(Subgraph("user", ["a"]) + Subgraph("user", ["b"]))
    part = Subgraph("user", ["user_id"])
    assert Workflow((part >> AddTags("x")) + part).subworkflows == ["user"]


def test_a_cycle_cannot_be_written_and_is_refused_when_made_by_hand() -> None:
    """`>>`, `+` and `-` only ever put a new node after old ones, so no cycle comes of them."""
    first = ["user_id"] >> Categorify()
    last = (first >> AddTags("x")) + ["click"]
    order = walk(last)
    assert all(order.index(parent) < order.index(node) for node in order for parent in node.parents)
    first.parents = (last,)
    with pytest.raises(SettingError, match=r"Workflow: the graph has a cycle: a Union comes after itself. Leave `pare"):
        Workflow(last)


def test_a_stranger_in_the_graph_is_refused() -> None:
    node = ["user_id"] >> Categorify()
    node.parents = ("user_id",)  # type: ignore[assignment]
    with pytest.raises(SettingError, match=r"Workflow: 'user_id' before a Step is no node. Leave `parents` as"):
        Workflow(node)

    class Stranger(Node):
        pass

    with pytest.raises(SettingError, match=r"a Stranger in the graph does not say which columns it gives. Build"):
        Workflow(Stranger() + "click")


def test_a_deep_graph_is_walked() -> None:
    node: Node = as_node(["user_id"])
    for _ in range(5000):
        node = Subgraph(f"s{id(node)}", node)
    assert isinstance(walk(node)[0], Selection)
    assert len(walk(node)) == 5001
