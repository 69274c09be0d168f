"""What is left of a workflow without some inputs, on small tables and with ops of every family."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.errors import NotFittedError, SettingError, UnknownColumnError
from tamis.features.ops import (
    AddProperties,
    Categorify,
    Dropna,
    FillMissing,
    Filter,
    GroupOp,
    Normalize,
    Op,
    Rename,
    TableOp,
)
from tamis.features.subgraph import Subgraph
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

LOG = pl.DataFrame({"a": [1, 2, 2], "b": [2, 3, 3], "c": [1.0, 2.0, 3.0], "click": [1, 0, 1]})


@dataclass(frozen=True)
class Sum(GroupOp):
    """The sum of a group and of what it reads, over the target's mean."""

    beside: tuple[str, ...] = ()
    target: tuple[str, ...] = ()

    @property
    def reads(self):
        return self.beside

    @property
    def learns_from(self):
        return self.target

    def learn(self, columns):
        return {"mean": columns[-1].values.mean()} if self.target else {}

    def apply(self, columns, learned):
        total = pl.sum_horizontal(column.values for column in columns)
        return total / learned["mean"] if self.target else total

    def describe(self, columns: Sequence[ColumnSchema], learned):
        return ColumnSchema("_".join(column.name for column in columns), "float64")


@dataclass(frozen=True)
class Total(TableOp):
    """One row: the sum of a column."""

    of: str

    def change(self, frame, columns):
        return frame.select(pl.col(self.of).sum())

    def describe_all(self, columns):
        return Schema([columns[self.of]])


@pytest.fixture(autouse=True, scope="module")
def forget_these_ops():
    yield
    for name in ("Sum", "Total"):
        Op.kinds.pop(name, None)


def without(nodes, *names, data=LOG):
    return Workflow(nodes).fit(data).remove_inputs(names)


def test_a_target_goes_with_its_filter_and_the_rest_stays_as_it_learned() -> None:
    workflow = Workflow(((["a"] >> Categorify()) + ["click"]) >> Filter(lambda df: df["click"] == 1)).fit(LOG)
    serving = workflow.remove_inputs("click")
    assert serving.input_schema.column_names == ["a"]
    assert serving.output_schema == workflow.output_schema.select_by_name("a")
    assert serving.transform(pl.DataFrame({"a": [2, 1, 9]}))["a"].to_list() == [3, 4, 2]  # no row is left out
    assert workflow.output_schema.column_names == ["a", "click"]  # the workflow itself did not change
    assert workflow.transform(LOG).height == 2


def test_all_that_is_made_of_a_removed_column_goes() -> None:
    filled = ["a", "c"] >> FillMissing()
    later = filled + (filled["c"] >> Rename(postfix="_x") >> Normalize())
    assert without(later, "c").output_schema.column_names == ["a"]
    assert without(later, "a").output_schema.column_names == ["c", "c_x"]


def test_nothing_takes_the_place_of_a_lost_column() -> None:
    """`a` on the right-hand side was made of `b`; the `a` that it covered must not show through."""
    nodes = ["a", "c"] + (["b"] >> Rename(name="a"))
    assert without(nodes, "b").output_schema.column_names == ["c"]
    assert without(nodes, "a").output_schema.column_names == ["a", "c"]


def test_patterns_tags_and_groups_keep_what_is_left_of_them() -> None:
    data = Dataset(LOG, schema=Schema([ColumnSchema(n, tags=[Tags.ITEM] if n in "ab" else []) for n in LOG.columns]))
    assert without(["*"], "b").transform(LOG.drop("b")).columns == ["a", "c", "click"]
    assert without([Tags.ITEM, "c"], "b", data=data).output_schema.column_names == ["a", "c"]
    assert without((["*"] >> FillMissing()) - ["c"], "b").output_schema.column_names == ["a", "click"]
    assert without((["*"] >> FillMissing()) - ["c"], "c").output_schema.column_names == ["a", "b", "click"]
    assert without((["*"] >> FillMissing())[["c", "b"]], "b").output_schema.column_names == ["c"]


def test_a_column_encoded_jointly_with_a_removed_one_keeps_its_codes() -> None:
    # 2 comes three times, 3 twice, 1 once.
    workflow = Workflow([["a", "b"], "click"] >> Categorify(num_buckets={"a_b": 2, "click": 1})).fit(LOG)
    left = workflow.remove_inputs(["b", "click"])
    assert left.transform(pl.DataFrame({"a": [2, 3, 1]}))["a"].to_list() == [4, 5, 6]
    assert left.output_schema["a"] == workflow.output_schema["a"]
    assert left.output_schema["a"].domain.name == "a_b"


def test_an_op_over_a_group_goes_when_one_of_its_columns_does() -> None:
    nodes = [["a", "b"], "c"] >> Sum()
    assert without(nodes, "b").output_schema.column_names == ["c"]
    assert without(nodes, "c").output_schema.column_names == ["a_b"]
    with pytest.raises(SettingError, match="no column is left"):
        without([["a", "b"]] >> Sum(), "a")


def test_an_op_goes_with_what_it_reads_and_stays_without_what_it_learned_from() -> None:
    reading = ["a", "b", "click"] >> Sum(beside=("click",))
    assert without(reading, "b").output_schema.column_names == ["a_click", "click"]
    assert without(reading + "c", "click").output_schema.column_names == ["c"]
    assert without((["a"] >> Sum(beside=("click",))) + ["c"], "click").output_schema.column_names == ["c"]
    learning = without(["a"] >> Sum(target=("click",)), "click")
    assert learning.transform(pl.DataFrame({"a": [2]}))["a"].to_list() == [3.0]  # the mean of click is 2/3
    passing = without(["a", "click"] >> Sum(target=("click",)), "click")
    assert passing.output_schema.column_names == ["a"]


def test_row_filters_stay_where_they_can() -> None:
    frame = pl.DataFrame({"a": [1, None], "click": [1, 1]})
    rows = without(["a", "click"] >> Dropna() >> Filter(lambda df: df["click"] == 1), "click", data=frame)
    assert rows.transform(frame.select("a"))["a"].to_list() == [1]
    assert without(["a", "click"] >> Dropna(["click"]), "click", data=frame).transform(frame).height == 2
    shared = ["a", "b", "click"] >> Filter(lambda df: df["click"] == 1)
    both = without((shared["a"] >> FillMissing()) + shared[["b", "click"]], "click")
    assert both.transform(LOG).shape == (3, 2)


def test_other_rows_go_with_the_column_that_they_are_made_of() -> None:
    assert without(["a", "c"] >> Total("c"), "a").transform(LOG)["c"].to_list() == [6.0]
    with pytest.raises(SettingError, match=r"remove_inputs: no column is left that can do without 'c'. Keep one more"):
        without(["a", "c"] >> Total("c"), "c")


def test_subgraphs_lose_inputs_too_and_what_is_left_saves(tmp_path) -> None:
    nodes = Subgraph("x", ["a", "click"] >> Categorify()) + Subgraph("y", ["click"] >> Rename(postfix="_y"))
    left = without(nodes, "click")
    assert left.subworkflows == ["x"]
    groups = without((nodes + ([["b", "c"], "click"] >> Sum())) + [["b"]], "click")
    for number, workflow in enumerate((left, groups)):
        workflow.save(tmp_path / str(number))
        loaded = Workflow.load(tmp_path / str(number))
        assert loaded.transform(LOG).equals(workflow.transform(LOG))
        assert loaded.fit(LOG).transform(LOG).columns == workflow.output_schema.column_names


def test_removing_nothing_changes_nothing() -> None:
    workflow = Workflow([["a", "b"]] >> Categorify()).fit(LOG)
    same = workflow.remove_inputs([])
    assert repr(same) == repr(workflow)
    assert same.transform(LOG).equals(workflow.transform(LOG))


def test_what_cannot_be_removed_is_named() -> None:
    with pytest.raises(
        UnknownColumnError, match=r"remove_inputs: the data has no input column 'clik'. Did you mean 'cl"
    ):
        without(["a", "click"], "clik")
    with pytest.raises(UnknownColumnError, match="no input column 'c'"):
        without(["a", "click"], "c")  # in the data, but not read
    with pytest.raises(SettingError, match=r"no column is left that can do without 'a', 'click'. Keep one more input"):
        without(["a", "click"] >> Categorify(), "a", "click")
    with pytest.raises(NotFittedError, match=r"Workflow.remove_inputs: .* Call fit first"):
        Workflow(["a", "click"]).remove_inputs(["click"])


def test_settings_that_are_no_dicts_by_column_stay_whole() -> None:
    frame = pl.DataFrame({"user": [1], "unit": [2]})
    workflow = Workflow(["user", "unit"] >> AddProperties(properties={"unit": "s"})).fit(frame)
    assert workflow.remove_inputs("unit").output_schema["user"].properties["unit"] == "s"
